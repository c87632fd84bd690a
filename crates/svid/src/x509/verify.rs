//! Who a certificate chain speaks for, if anyone.

use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, SpiffeId, TrustDomain, X509Authority};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME};

use super::{parse, validity};
use crate::bundle::BundleSource;
use crate::crypto::provider;

/// Longer chains are refused before they are read: a chain comes from whoever opens a connection.
const MAX_CHAIN_LENGTH: usize = 16;

/// What the holder of the certificate is about to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsage {
    Client,
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509SvidError {
    #[error("there is no certificate")]
    EmptyChain,
    #[error("the chain has {0} certificates, at most {MAX_CHAIN_LENGTH} are accepted")]
    ChainTooLong(usize),
    #[error("certificate {position} of the chain is malformed: {reason}")]
    Malformed { position: usize, reason: String },
    #[error("the certificate has {0} URI names; an X.509-SVID has exactly one")]
    UriCount(usize),
    #[error("the URI name {uri:?} is no SPIFFE ID: {reason}")]
    NotASpiffeId { uri: String, reason: String },
    #[error("{0} names a trust domain and no workload; the SPIFFE ID of a leaf has a path")]
    NoPath(SpiffeId),
    #[error("the certificate of {0} is a certificate authority; an X.509-SVID leaf is not")]
    LeafIsAuthority(SpiffeId),
    #[error("the certificate of {spiffe_id} may not be used as an X.509-SVID: its key usage {reason}")]
    LeafKeyUsage { spiffe_id: SpiffeId, reason: &'static str },
    #[error("certificate {position} of the chain may not sign others: {reason}")]
    Intermediate { position: usize, reason: &'static str },
    #[error("no bundle of trust domain {trust_domain} is held, so {spiffe_id} cannot be verified; federate with {trust_domain} first")]
    UnknownTrustDomain { spiffe_id: SpiffeId, trust_domain: TrustDomain },
    #[error("the bundle of trust domain {trust_domain} has no authority that may be used now, so {spiffe_id} cannot be verified")]
    NoUsableAuthority { spiffe_id: SpiffeId, trust_domain: TrustDomain },
    #[error("the certificate of {spiffe_id} is not signed by an authority of trust domain {trust_domain}")]
    UntrustedIssuer { spiffe_id: SpiffeId, trust_domain: TrustDomain },
    #[error("the certificate of {spiffe_id} is signed by a tainted authority of trust domain {trust_domain}")]
    TaintedAuthority { spiffe_id: SpiffeId, trust_domain: TrustDomain },
    #[error("the certificate of {spiffe_id} expired at {}", crate::display_time(*not_after))]
    Expired { spiffe_id: SpiffeId, not_after: SystemTime },
    #[error("the certificate of {spiffe_id} is not valid before {}; are the clocks in step?", crate::display_time(*not_before))]
    NotYetValid { spiffe_id: SpiffeId, not_before: SystemTime },
    #[error("the certificate of {spiffe_id} is not valid: {reason}")]
    Path { spiffe_id: SpiffeId, reason: String },
    #[error("the private key cannot be used with the certificate: {0}")]
    Key(String),
}

/// Verifies a chain, leaf first, after SPIFFE X509-SVID, section 5, and answers whom the leaf speaks for.
///
/// The leaf names its trust domain, and the authorities of that domain alone are asked whether they vouch for it: a
/// certificate from another domain's authority is refused even where that domain is trusted, too. Authorities that are
/// tainted or outside of their own validity are not used.
pub fn verify(
    chain: &[CertificateDer<'_>],
    bundles: &dyn BundleSource,
    now: SystemTime,
    usage: KeyUsage,
) -> Result<SpiffeId, X509SvidError> {
    let (leaf, intermediates) = chain.split_first().ok_or(X509SvidError::EmptyChain)?;
    if chain.len() > MAX_CHAIN_LENGTH {
        return Err(X509SvidError::ChainTooLong(chain.len()));
    }
    let spiffe_id = leaf_spiffe_id(&parse(leaf, 0)?)?;
    for (certificate, position) in intermediates.iter().zip(1..) {
        check_may_sign(&parse(certificate, position)?, position)?;
    }

    let trust_domain = spiffe_id.trust_domain().clone();
    let Some(bundle) = bundles.bundle(&trust_domain) else {
        return Err(X509SvidError::UnknownTrustDomain { spiffe_id, trust_domain });
    };
    let usable = certificates(&bundle, now, |authority| !authority.tainted);
    if usable.is_empty() {
        return Err(X509SvidError::NoUsableAuthority { spiffe_id, trust_domain });
    }
    let Err(error) = build_path(leaf, intermediates, &usable, now, usage) else { return Ok(spiffe_id) };
    Err(match error {
        // A foreign authority under the name of one of ours shows as a wrong signature.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            let tainted = certificates(&bundle, now, |authority| authority.tainted);
            if build_path(leaf, intermediates, &tainted, now, usage).is_ok() {
                X509SvidError::TaintedAuthority { spiffe_id, trust_domain }
            } else {
                X509SvidError::UntrustedIssuer { spiffe_id, trust_domain }
            }
        }
        webpki::Error::CertExpired { not_after, .. } => X509SvidError::Expired { spiffe_id, not_after: system_time(not_after) },
        webpki::Error::CertNotValidYet { not_before, .. } => X509SvidError::NotYetValid { spiffe_id, not_before: system_time(not_before) },
        error => X509SvidError::Path { spiffe_id, reason: error.to_string() },
    })
}

/// The SPIFFE ID that a leaf carries. Reads the certificate and verifies nothing beyond the leaf's own rules.
pub fn spiffe_id(leaf: &CertificateDer<'_>) -> Result<SpiffeId, X509SvidError> {
    leaf_spiffe_id(&parse(leaf, 0)?)
}

/// The rules for a leaf: SPIFFE X509-SVID, sections 2, 3.1, 4.1, 4.3 and 5.2.
pub(super) fn leaf_spiffe_id(leaf: &X509Certificate<'_>) -> Result<SpiffeId, X509SvidError> {
    let malformed = |reason: &str| X509SvidError::Malformed { position: 0, reason: reason.into() };

    let names = match leaf.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME).map_err(|error| malformed(&error.to_string()))? {
        None => return Err(X509SvidError::UriCount(0)),
        Some(extension) => match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => &names.general_names,
            _ => return Err(malformed("the subject alternative name extension cannot be read")),
        },
    };
    // A name that cannot be read might be a second URI.
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(malformed("the subject alternative name extension holds a name that cannot be read"));
    }
    let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let uri = match (uris.next(), uris.count()) {
        (Some(uri), 0) => uri,
        (first, others) => return Err(X509SvidError::UriCount(usize::from(first.is_some()) + others)),
    };
    let spiffe_id = SpiffeId::new(uri).map_err(|error| X509SvidError::NotASpiffeId { uri: uri.into(), reason: error.to_string() })?;
    if spiffe_id.path().is_empty() {
        return Err(X509SvidError::NoPath(spiffe_id));
    }

    if let Some(extension) = leaf.get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS).map_err(|error| malformed(&error.to_string()))? {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) if !constraints.ca => {}
            ParsedExtension::BasicConstraints(_) => return Err(X509SvidError::LeafIsAuthority(spiffe_id)),
            _ => return Err(malformed("the basic constraints extension cannot be read")),
        }
    }
    if let Some(extension) = leaf.get_extension_unique(&OID_X509_EXT_KEY_USAGE).map_err(|error| malformed(&error.to_string()))? {
        let ParsedExtension::KeyUsage(usage) = extension.parsed_extension() else {
            return Err(malformed("the key usage extension cannot be read"));
        };
        let reason = match usage {
            usage if usage.key_cert_sign() => Some("includes keyCertSign"),
            usage if usage.crl_sign() => Some("includes cRLSign"),
            usage if !usage.digital_signature() => Some("lacks digitalSignature"),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(X509SvidError::LeafKeyUsage { spiffe_id, reason });
        }
    }
    Ok(spiffe_id)
}

/// The rules for a signing certificate, as far as path building leaves them to others: webpki reads no key usage.
fn check_may_sign(certificate: &X509Certificate<'_>, position: usize) -> Result<(), X509SvidError> {
    let malformed = |error: &dyn std::fmt::Display| X509SvidError::Malformed { position, reason: error.to_string() };
    let constraints = certificate.basic_constraints().map_err(|error| malformed(&error))?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(X509SvidError::Intermediate { position, reason: "it is no certificate authority" });
    }
    let usage = certificate.key_usage().map_err(|error| malformed(&error))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(X509SvidError::Intermediate { position, reason: "its key usage lacks keyCertSign" });
    }
    Ok(())
}

/// The chosen authorities that are valid now. One that cannot be read is passed over: it vouches for nobody.
fn certificates(bundle: &Bundle, now: SystemTime, choose: impl Fn(&X509Authority) -> bool) -> Vec<CertificateDer<'_>> {
    let is_valid_now = |certificate: &CertificateDer<'_>| match parse(certificate, 0) {
        Ok(parsed) => {
            let (not_before, not_after) = validity(&parsed);
            (not_before..=not_after).contains(&now)
        }
        Err(error) => {
            tracing::warn!(trust_domain = bundle.trust_domain.as_str(), %error, "ignoring an authority of the bundle");
            false
        }
    };
    let authorities = bundle.x509_authorities.iter().filter(|authority| choose(authority));
    authorities.map(|authority| CertificateDer::from(authority.der.as_slice())).filter(is_valid_now).collect()
}

fn build_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'_>],
    now: SystemTime,
    usage: KeyUsage,
) -> Result<(), webpki::Error> {
    let anchors: Vec<TrustAnchor<'_>> =
        authorities.iter().filter_map(|authority| webpki::anchor_from_trusted_cert(authority).ok()).collect();
    let usage = match usage {
        KeyUsage::Client => webpki::KeyUsage::client_auth(),
        KeyUsage::Server => webpki::KeyUsage::server_auth(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(crate::seconds_since_epoch(now)));
    let algorithms = provider().signature_verification_algorithms.all;
    EndEntityCert::try_from(leaf)?.verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None).map(|_| ())
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

#[cfg(test)]
mod tests;
