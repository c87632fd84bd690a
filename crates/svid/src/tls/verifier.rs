//! Whom we believe: rustls' questions, answered by [`x509::verify`](crate::x509::verify).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Authorizer, ServerRefused};
use crate::bundle::BundleSource;
use crate::crypto::provider;
use crate::x509::{self, KeyUsage, X509SvidError};

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) bundles: Arc<dyn BundleSource>,
    pub(super) mandatory: bool,
}

/// Verifies the certificates of servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) bundles: Arc<dyn BundleSource>,
    pub(super) authorizer: Authorizer,
}

fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundles: &dyn BundleSource,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<cofide_core::SpiffeId, X509SvidError> {
    let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(intermediates).map(|der| CertificateDer::from(der.as_ref())).collect();
    x509::verify(&chain, bundles, SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs()), usage)
}

/// The alert that tells the peer most. rustls derives it from the kind of error and has no room for the reason, which
/// is therefore logged.
fn as_alert(error: X509SvidError) -> CertificateError {
    match error {
        X509SvidError::UnknownTrustDomain { .. }
        | X509SvidError::NoUsableAuthority { .. }
        | X509SvidError::UntrustedIssuer { .. }
        | X509SvidError::TaintedAuthority { .. } => CertificateError::UnknownIssuer,
        X509SvidError::Expired { .. } => CertificateError::Expired,
        X509SvidError::NotYetValid { .. } => CertificateError::NotValidYet,
        X509SvidError::Malformed { .. } => CertificateError::BadEncoding,
        error => CertificateError::Other(OtherError(Arc::new(error))),
    }
}

/// What both kinds of verifiers ask for in the same words: that whoever shows a certificate has its key. SPIFFE adds nothing.
macro_rules! handshake_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: a client has one SVID and sends that.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match verify(leaf, intermediates, self.bundles.as_ref(), now, KeyUsage::Client) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                tracing::info!(%error, "refusing a client's certificate");
                Err(Error::InvalidCertificate(as_alert(error)))
            }
        }
    }

    handshake_signatures!();
}

impl ServerCertVerifier for Servers {
    /// The client's own user reads this error, so it carries the whole reason; the alert to the server is the general one.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refuse = |reason: ServerRefused| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))));
        let found = verify(leaf, intermediates, self.bundles.as_ref(), now, KeyUsage::Server).map_err(|error| refuse(error.into()))?;
        if !self.authorizer.admits(&found) {
            return Err(refuse(ServerRefused::Unexpected { expected: self.authorizer.clone(), found }));
        }
        Ok(ServerCertVerified::assertion())
    }

    handshake_signatures!();
}
