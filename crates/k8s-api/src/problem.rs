//! What is wrong with one field of an object.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The path of the field, as in `spec.gateways[1].ip`.
    pub path: String,
    pub reason: String,
    /// What to write instead, where that is known.
    pub remedy: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { path: path.into(), reason: reason.to_string(), remedy: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Whether this problem is about the other's field or about something inside of it.
    fn is_within(&self, outer: &Self) -> bool {
        match self.path.strip_prefix(&outer.path) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The problems of form and then those of meaning. Where a field could not be read at all, that its absence breaks a
/// rule too is no news.
pub(crate) fn merge(form: &[Problem], meaning: Vec<Problem>) -> Vec<Problem> {
    let news = meaning.into_iter().filter(|problem| !form.iter().any(|unreadable| problem.is_within(unreadable)));
    form.iter().cloned().chain(news).collect()
}
