//! How the system says what is wrong: a finding with a subject, a reason and a remedy.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Hostname;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    Waiting,
    Broken,
}

/// One checked fact. In an ordered list of findings the first that is not [`Severity::Ok`] is the broken link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub check: String,
    pub severity: Severity,
    pub message: String,
    /// The command or the edit that mends it, where one is known.
    pub remedy: Option<String>,
}

/// The conditions in the status of a FederatedService.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionKind {
    /// The specification is valid and does not conflict with an older service.
    Accepted,
    /// A gateway through which remote clients can enter is known.
    GatewayReady,
    /// At least one workload behind the labels is there.
    BackendsReady,
    /// Connect knows the service in its present form.
    Registered,
    /// All of the above, and each exported trust domain can import it.
    Ready,
}

impl ConditionKind {
    pub const ALL: [Self; 5] = [Self::Accepted, Self::GatewayReady, Self::BackendsReady, Self::Registered, Self::Ready];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::GatewayReady => "GatewayReady",
            Self::BackendsReady => "BackendsReady",
            Self::Registered => "Registered",
            Self::Ready => "Ready",
        }
    }
}

impl FromStr for ConditionKind {
    type Err = UnknownConditionKind;
    fn from_str(text: &str) -> Result<Self, UnknownConditionKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownConditionKind(text.to_owned()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no condition of a FederatedService")]
pub struct UnknownConditionKind(String);

/// The condition that keeps one service of a cluster from working, as its agent sees it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmetCondition {
    pub hostname: Hostname,
    pub kind: ConditionKind,
    /// A word for programs, as in the status of the FederatedService.
    pub reason: String,
    /// For a person to read, with what to do next.
    pub message: String,
}
