//! A program is ready when each of its named parts has said so.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The parts of a program and what each still waits for. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<RwLock<BTreeMap<String, Option<String>>>>,
}

/// One part; reports for itself.
#[derive(Clone, Debug)]
pub struct Component {
    name: String,
    readiness: Readiness,
}

impl Readiness {
    /// Adds a part, not ready until it says so.
    pub fn component(&self, name: &str, waiting_for: &str) -> Component {
        let component = Component { name: name.to_owned(), readiness: self.clone() };
        component.waiting(waiting_for);
        component
    }

    /// The parts that are not ready, each with what it waits for. Empty means ready.
    pub fn waiting(&self) -> BTreeMap<String, String> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter_map(|(name, waiting)| Some((name.clone(), waiting.clone()?))).collect()
    }

    pub fn is_ready(&self) -> bool {
        self.waiting().is_empty()
    }

    fn set(&self, name: &str, waiting: Option<String>) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), waiting);
    }
}

impl Component {
    pub fn ready(&self) {
        self.readiness.set(&self.name, None);
    }

    pub fn waiting(&self, waiting_for: &str) {
        self.readiness.set(&self.name, Some(waiting_for.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_nobody_waits() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let database = readiness.component("database", "migrations");
        assert_eq!(readiness.waiting(), BTreeMap::from([("database".to_owned(), "migrations".to_owned())]));
        database.ready();
        assert!(readiness.is_ready());
    }
}
