//! X.509-SVIDs: a SPIFFE ID in a certificate, with its key.

mod verify;

use std::fmt;
use std::time::SystemTime;

use cofide_core::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use crate::crypto::provider;
use crate::key::{PrivateKey, pem};

pub use verify::{KeyUsage, X509SvidError, spiffe_id, verify};

/// An X.509-SVID with its private key (SPIFFE X509-SVID, section 2).
#[derive(Clone)]
pub struct X509Svid {
    pub spiffe_id: SpiffeId,
    /// The leaf first, then the intermediates in order; never empty. The authorities of the bundle are not part of it.
    pub certificates: Vec<CertificateDer<'static>>,
    pub private_key: PrivateKey,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl X509Svid {
    /// From the form of the Workload API: certificates as concatenated DER, leaf first, and a PKCS#8 DER key
    /// (SPIFFE Workload API, section 5.2.1). Checks the leaf's own rules and that the key belongs to it; whether
    /// anybody trusts it is a matter of [`verify`].
    pub fn from_der(chain: &[u8], private_key: PrivateKey) -> Result<Self, X509SvidError> {
        Self::new(split_der(chain)?, private_key)
    }

    /// From PEM: one or more CERTIFICATE sections, leaf first, and a PRIVATE KEY section (PKCS#8).
    pub fn from_pem(certificates: &str, private_key: &str) -> Result<Self, X509SvidError> {
        let certificates = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| X509SvidError::Malformed { position: 0, reason: error.to_string() })?;
        let private_key = PrivateKey::from_pem(private_key).map_err(|error| X509SvidError::Key(error.to_string()))?;
        Self::new(certificates, private_key)
    }

    pub fn new(certificates: Vec<CertificateDer<'static>>, private_key: PrivateKey) -> Result<Self, X509SvidError> {
        let leaf = certificates.first().ok_or(X509SvidError::EmptyChain)?;
        let parsed = parse(leaf, 0)?;
        let spiffe_id = verify::leaf_spiffe_id(&parsed)?;
        let (not_before, not_after) = validity(&parsed);
        let svid = Self { spiffe_id, certificates, private_key, not_before, not_after };
        svid.certified_key()?;
        Ok(svid)
    }

    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    /// The certificates as the Workload API sends them: concatenated DER, leaf first.
    pub fn chain_der(&self) -> Vec<u8> {
        self.certificates.iter().flat_map(|certificate| certificate.as_ref()).copied().collect()
    }

    /// The certificates and the key, as PEM.
    pub fn to_pem(&self) -> (String, Zeroizing<String>) {
        let certificates = self.certificates.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        (certificates, self.private_key.to_pem())
    }

    /// When to ask for the next one: half of the life is over, so that a second attempt has as much time as the first.
    pub fn renew_at(&self) -> SystemTime {
        self.not_before + self.not_after.duration_since(self.not_before).unwrap_or_default() / 2
    }

    /// The form in which rustls presents it. Fails where the key does not belong to the leaf.
    pub fn certified_key(&self) -> Result<CertifiedKey, X509SvidError> {
        CertifiedKey::from_der(self.certificates.clone(), self.private_key.clone_key(), provider())
            .map_err(|error| X509SvidError::Key(error.to_string()))
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("spiffe_id", &self.spiffe_id.to_string())
            .field("certificates", &self.certificates.len())
            .field("private_key", &self.private_key)
            .field("not_after", &crate::display_time(self.not_after))
            .finish()
    }
}

/// Splits concatenated DER certificates, as the Workload API carries chains and bundles.
pub fn split_der(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>, X509SvidError> {
    let mut certificates = Vec::new();
    while !der.is_empty() {
        let (rest, _) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| X509SvidError::Malformed { position: certificates.len(), reason: error.to_string() })?;
        certificates.push(CertificateDer::from(der[..der.len() - rest.len()].to_vec()));
        der = rest;
    }
    Ok(certificates)
}

/// The PEM of one certificate.
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

/// One certificate and nothing after it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>, position: usize) -> Result<X509Certificate<'a>, X509SvidError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(X509SvidError::Malformed { position, reason: format!("{} bytes follow it", rest.len()) }),
        Err(error) => Err(X509SvidError::Malformed { position, reason: error.to_string() }),
    }
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    (crate::from_seconds_since_epoch(validity.not_before.timestamp()), crate::from_seconds_since_epoch(validity.not_after.timestamp()))
}
