//! How many connections one user may have open, so that no user can take all file descriptors from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::AttestationError;

/// Connections over the limit that are kept for a moment, so that their callers learn why.
const REFUSALS: usize = 16;

/// Clones count together.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    per_user: usize,
    open: Arc<Mutex<HashMap<u32, Open>>>,
}

#[derive(Debug, Default)]
struct Open {
    admitted: usize,
    refused: usize,
    /// Set when the log has told of this user, until there is room again.
    is_told: bool,
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Admission {
    Admitted(Slot),
    /// Too many; every call on it is answered with the reason.
    Refused(Slot, AttestationError),
    /// Far too many.
    Dropped,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    uid: u32,
    is_refusal: bool,
    limit: ConnectionLimit,
}

impl ConnectionLimit {
    pub fn new(per_user: usize) -> Self {
        Self { per_user, open: Arc::default() }
    }

    pub fn admit(&self, uid: u32) -> Admission {
        let mut open = self.lock();
        let user = open.entry(uid).or_default();
        let slot = |is_refusal| Slot { uid, is_refusal, limit: self.clone() };
        if user.admitted < self.per_user {
            user.admitted += 1;
            user.is_told = false;
            return Admission::Admitted(slot(false));
        }
        let reason = AttestationError::TooManyConnections { uid, limit: self.per_user };
        if !user.is_told {
            user.is_told = true;
            tracing::warn!(%reason, "refusing connections to the workload socket");
        }
        if user.refused < REFUSALS {
            user.refused += 1;
            return Admission::Refused(slot(true), reason);
        }
        Admission::Dropped
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.limit.lock();
        if let Some(user) = open.get_mut(&self.uid) {
            let count = if self.is_refusal { &mut user.refused } else { &mut user.admitted };
            *count -= 1;
            if user.admitted == 0 && user.refused == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_the_place_of_another_and_gives_back_its_own() {
        let limit = ConnectionLimit::new(2);
        let admitted = |uid| match limit.admit(uid) {
            Admission::Admitted(slot) => Some(slot),
            _ => None,
        };
        let (first, _second) = (admitted(1).unwrap(), admitted(1).unwrap());
        let refused: Vec<_> = (0..REFUSALS).map(|_| limit.admit(1)).collect();
        assert!(refused.iter().all(|admission| matches!(admission, Admission::Refused(_, reason) if reason.to_string().contains("uid 1"))));
        assert!(matches!(limit.admit(1), Admission::Dropped), "refusals have an end as well");
        assert!(admitted(2).is_some());
        drop(first);
        assert!(admitted(1).is_some());
        drop(refused);
        assert_eq!(limit.lock().len(), 1, "who has no connection is not remembered");
    }
}
