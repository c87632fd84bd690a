//! The other end of a connection: its address, its certificate, and how long it may stay unknown.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;

/// Who is at the other end of a connection, as far as the transport knows.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The chain that the client proved possession of in the handshake; `None` where it showed none. It was valid then;
    /// whether it still is must be asked again.
    pub certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// Shared by all requests of the connection.
    pub patience: Arc<Patience>,
}

/// How long a connection without a certificate may stay after a call that proved nobody.
pub const IDLE_STRANGER: Duration = Duration::from_secs(30);

/// Until when a connection may stay on which nobody is known yet.
///
/// Without it, a client that never says a word would hold its place for ever, and a few thousand of them those of
/// everybody at that address.
#[derive(Debug)]
pub struct Patience(Mutex<Option<Instant>>);

impl Patience {
    pub fn until(deadline: Instant) -> Self {
        Self(Mutex::new(Some(deadline)))
    }

    /// The client is known, as by its certificate; what ends the connection then is [`crate::connections`].
    pub fn endless() -> Self {
        Self(Mutex::new(None))
    }

    /// A request has come in, from nobody who is known.
    pub fn asked(&self, now: Instant) {
        if let Some(deadline) = self.lock().as_mut() {
            *deadline = now + IDLE_STRANGER;
        }
    }

    /// A request has come in with a credential that is good.
    pub fn authenticated(&self) {
        *self.lock() = None;
    }

    pub fn deadline(&self) -> Option<Instant> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_gets_more_time_and_whoever_is_known_all_of_it() {
        let start = Instant::now();
        let patience = Patience::until(start + Duration::from_secs(10));
        patience.asked(start + Duration::from_secs(9));
        assert_eq!(patience.deadline(), Some(start + Duration::from_secs(39)));
        patience.authenticated();
        patience.asked(start + Duration::from_secs(60));
        assert_eq!(patience.deadline(), None, "a later call without a credential takes nothing back");
    }
}
