//! The open connections of clients that showed a certificate, so that taking an identity away also ends what it holds.
//!
//! A stream of an agent lives for as long as its connection, and TLS asks for the certificate only once. Here every such
//! connection is looked at again: when something it depends on has changed, and every minute for what changes by
//! itself, which is time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::peer::Peer;

/// All open connections. Clones share the same list.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub peer: Peer,
    cut: CancellationToken,
}

impl Open {
    /// The chain that the client showed; only such connections are looked at again.
    pub fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.peer.certificates.as_deref().map(Vec::as_slice)
    }

    pub fn cut(&self) {
        self.cut.cancel();
    }
}

/// One entry of the list; taken out when dropped.
#[derive(Debug)]
pub struct Registration {
    pub cut: CancellationToken,
    id: u64,
    inner: Arc<Inner>,
}

impl Connections {
    pub fn register(&self, peer: &Peer) -> Registration {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let cut = CancellationToken::new();
        let open = Open { peer: peer.clone(), cut: cut.clone() };
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, open);
        Registration { cut, id, inner: self.inner.clone() }
    }

    pub fn open(&self) -> Vec<Open> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends every connection: the last step of a shutdown, because the streams of agents never end by themselves.
    pub fn cut_all(&self) {
        self.open().iter().for_each(Open::cut);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
