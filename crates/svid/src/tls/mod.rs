//! TLS between SPIFFE identities: rustls configurations whose certificate and trust are looked up anew in each handshake.
//!
//! A peer is its SPIFFE ID. Host names decide nothing: SNI is for routing (SPIFFE X509-SVID, section 5.1).
//!
//! Sessions are never resumed. A resumed session skips the certificates, and with them whatever changed since: an
//! authority that was tainted, a federation that was ended, an SVID that expired.

mod resolver;
mod verifier;

use std::sync::{Arc, PoisonError, RwLock};

use cofide_core::{SpiffeId, TrustDomain};
use cofide_runtime::Chain;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::bundle::BundleSource;
use crate::crypto::provider;
use crate::x509::{self, X509Svid, X509SvidError};

/// Who we are, at the moment of asking; `None` while there is no identity yet.
pub trait IdentitySource: Send + Sync + std::fmt::Debug {
    fn identity(&self) -> Option<Arc<X509Svid>>;
}

/// The current SVID of a program: one side sets it at each rotation, the TLS configurations read it.
#[derive(Debug, Default)]
pub struct IdentitySlot(RwLock<Option<Arc<X509Svid>>>);

impl IdentitySlot {
    pub fn new(svid: X509Svid) -> Self {
        Self(RwLock::new(Some(Arc::new(svid))))
    }

    pub fn set(&self, svid: X509Svid) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(svid));
    }

    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl IdentitySource for IdentitySlot {
    fn identity(&self) -> Option<Arc<X509Svid>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether a server asks its clients for a certificate. One that is presented is always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Optional,
    Required,
}

/// Which server a client is willing to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    AnyIn(TrustDomain),
    Exactly(SpiffeId),
}

impl Authorizer {
    pub fn admits(&self, id: &SpiffeId) -> bool {
        match self {
            Self::AnyIn(trust_domain) => id.trust_domain() == trust_domain,
            Self::Exactly(expected) => id == expected,
        }
    }
}

impl std::fmt::Display for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnyIn(trust_domain) => write!(f, "any workload of trust domain {trust_domain}"),
            Self::Exactly(id) => id.fmt(f),
        }
    }
}

/// Why a client refused a server.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerRefused {
    #[error(transparent)]
    NotVerified(#[from] X509SvidError),
    #[error("the server is {found}, expected {expected}")]
    Unexpected { expected: Authorizer, found: SpiffeId },
}

// rustls prints the reasons of others in their debug form, to people.
impl std::fmt::Debug for ServerRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl ServerRefused {
    /// Finds the refusal in what a connection attempt failed with: an error of rustls, possibly within I/O errors and
    /// those of other libraries.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        Chain(error).iter().find_map(|error| match error.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => other.0.downcast_ref(),
            _ => None,
        })
    }
}

/// A server configuration: TLS 1.2 and 1.3, no ALPN (the caller's matter), no resumption.
///
/// It authenticates clients and authorises none: read the peer with [`peer_spiffe_id`] after the handshake and decide.
pub fn server_config(identity: Arc<dyn IdentitySource>, bundles: Arc<dyn BundleSource>, client_auth: ClientAuth) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("the provider supports the default versions");
    let builder = match client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Optional => builder.with_client_cert_verifier(Arc::new(verifier::Clients { bundles, mandatory: false })),
        ClientAuth::Required => builder.with_client_cert_verifier(Arc::new(verifier::Clients { bundles, mandatory: true })),
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver::Identity::new(identity)));
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// A client configuration: TLS 1.2 and 1.3, no ALPN, no resumption. Without an identity, or while its source has none,
/// the client presents no certificate.
pub fn client_config(identity: Option<Arc<dyn IdentitySource>>, bundles: Arc<dyn BundleSource>, authorizer: Authorizer) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("the provider supports the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier::Servers { bundles, authorizer }));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(resolver::Identity::new(identity))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// Whom the certificates of a finished handshake speak for, as in `connection.peer_certificates()`. The handshake has
/// verified them; this only reads the name.
pub fn peer_spiffe_id(certificates: &[CertificateDer<'_>]) -> Result<SpiffeId, X509SvidError> {
    x509::spiffe_id(certificates.first().ok_or(X509SvidError::EmptyChain)?)
}

#[cfg(test)]
mod tests;
