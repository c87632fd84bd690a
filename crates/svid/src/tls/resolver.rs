//! What we present: the identity of this moment.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::IdentitySource;
use crate::x509::X509Svid;

/// Asks the source in every handshake; the parsed key is kept for as long as the source answers with the same SVID.
#[derive(Debug)]
pub(super) struct Identity {
    source: Arc<dyn IdentitySource>,
    parsed: Mutex<Option<(Arc<X509Svid>, Arc<CertifiedKey>)>>,
}

impl Identity {
    pub(super) fn new(source: Arc<dyn IdentitySource>) -> Self {
        Self { source, parsed: Mutex::new(None) }
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let svid = self.source.identity()?;
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, key)) = parsed.as_ref()
            && Arc::ptr_eq(known, &svid)
        {
            return Some(key.clone());
        }
        match svid.certified_key() {
            Ok(key) => {
                let key = Arc::new(key);
                *parsed = Some((svid, key.clone()));
                Some(key)
            }
            Err(error) => {
                tracing::error!(spiffe_id = %svid.spiffe_id, %error, "cannot present the current SVID");
                None
            }
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.current();
        if key.is_none() {
            tracing::warn!("refusing a TLS connection: there is no SVID to present yet");
        }
        key
    }
}

impl ResolvesClientCert for Identity {
    /// The server's hints are not looked at: in SPIFFE a client has one identity, and authorities of several trust
    /// domains share their subject names.
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
