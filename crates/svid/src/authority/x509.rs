//! The X.509 certificate authority of a trust domain.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{SpiffeId, TrustDomain, X509Authority};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::IssueError;
use super::generic::{Authority, Kind};
use super::rotation::{Rotating, Stored};
use crate::key::PrivateKey;
use crate::x509::{self, X509Svid};

/// The object identifier of the subject attribute serialNumber (X.520).
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Settings {
    /// Life of an authority's certificate.
    pub ttl: Duration,
    /// Longest life of an SVID; longer wishes are cut. Also how long a retired authority stays published.
    pub max_svid_ttl: Duration,
    /// How far `notBefore` lies in the past, so that a verifier whose clock is behind accepts a fresh certificate; of an SVID, a
    /// sixth of its life at most.
    pub backdate: Duration,
    pub country: String,
    pub organization: String,
}

impl Default for X509Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(7 * 24 * 3600),
            max_svid_ttl: Duration::from_secs(24 * 3600),
            backdate: Duration::from_mins(10),
            country: "US".into(),
            organization: "SPIFFE".into(),
        }
    }
}

/// A self-signed certificate authority with its rotation.
pub type X509CertificateAuthority = Authority<CertificateAndKey>;

/// One certificate authority.
#[derive(Clone)]
pub struct CertificateAndKey {
    id: String,
    certificate: CertificateDer<'static>,
    key: Arc<KeyPair>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl std::fmt::Debug for CertificateAndKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAndKey")
            .field("id", &self.id)
            .field("not_after", &crate::display_time(self.not_after))
            .finish_non_exhaustive()
    }
}

impl Rotating for CertificateAndKey {
    fn id(&self) -> &str {
        &self.id
    }
    fn not_before(&self) -> SystemTime {
        self.not_before
    }
    fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

impl X509CertificateAuthority {
    /// What verifiers need: the active certificate first, then the prepared one, then the retired ones.
    pub fn authorities(&self) -> Vec<X509Authority> {
        let authority = |held: &super::rotation::Held<CertificateAndKey>| X509Authority {
            der: held.authority.certificate.to_vec(),
            tainted: held.tainted,
        };
        self.rotation.all().map(|(held, _)| authority(held)).collect()
    }

    /// Issues an SVID with a fresh key (ECDSA on P-256), for servers and clients alike.
    ///
    /// Its life is the shortest of `ttl`, the longest life in the settings, and what is left of the authority's.
    pub fn issue(
        &self,
        spiffe_id: &SpiffeId,
        dns_names: &[String],
        ip_addresses: &[IpAddr],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<X509Svid, IssueError> {
        let active = self.signing_for(spiffe_id, now)?;
        if now < active.not_before {
            return Err(IssueError::AuthorityNotValid { trust_domain: self.trust_domain.clone() });
        }
        if spiffe_id.path().is_empty() {
            return Err(IssueError::NoPath(spiffe_id.clone()));
        }

        let mut names = vec![SanType::URI(ia5(&spiffe_id.to_string()).map_err(|reason| crypto(spiffe_id, reason))?)];
        for name in dns_names {
            let dns = |reason| IssueError::DnsName { name: name.clone(), reason };
            // A wildcard in a certificate that nobody verifies by name could only mislead.
            name.parse::<cofide_core::Hostname>().map_err(|error| dns(error.to_string()))?;
            names.push(SanType::DnsName(ia5(name).map_err(dns)?));
        }
        names.extend(ip_addresses.iter().copied().map(SanType::IpAddress));

        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = self.settings.subject();
        parameters.subject_alt_names = names;
        let ttl = ttl.min(self.settings.max_svid_ttl);
        // Renewal counts from the beginning: most of a life has to be ahead.
        let backdate = self.settings.backdate.min(ttl / 6);
        parameters.not_before = whole_seconds(now - backdate).max(whole_seconds(active.not_before)).into();
        parameters.not_after = whole_seconds((now + ttl).min(active.not_after)).into();
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;

        let signed = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let issuer = Issuer::from_ca_cert_der(&active.certificate, active.key.as_ref())?;
            Ok((parameters.signed_by(&key, &issuer)?, key))
        };
        let (certificate, key) = signed().map_err(|error| crypto(spiffe_id, error.to_string()))?;
        let private_key = PrivateKey::from_pkcs8_der(PrivatePkcs8KeyDer::from(key).secret_pkcs8_der().to_vec());
        X509Svid::new(vec![certificate.into()], private_key).map_err(|error| crypto(spiffe_id, error.to_string()))
    }
}

fn crypto(id: &SpiffeId, reason: String) -> IssueError {
    IssueError::Crypto { id: id.clone(), reason }
}

fn ia5(text: &str) -> Result<Ia5String, String> {
    Ia5String::try_from(text).map_err(|error| error.to_string())
}

/// Certificates count whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(crate::seconds_since_epoch(time))
}

impl Kind for CertificateAndKey {
    type Settings = X509Settings;

    fn create(trust_domain: &TrustDomain, settings: &X509Settings, now: SystemTime) -> Result<Self, rcgen::Error> {
        self_signed(trust_domain, settings, now)
    }

    fn longest_life(settings: &X509Settings) -> Duration {
        settings.max_svid_ttl
    }
}

/// After SPIFFE X509-SVID, sections 3.1 and 4: the SPIFFE ID of the trust domain, without a path; a critical CA flag;
/// keyCertSign and cRLSign.
fn self_signed(trust_domain: &TrustDomain, settings: &X509Settings, now: SystemTime) -> Result<CertificateAndKey, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    let id = hex::encode(parameters.key_identifier(&key));
    parameters.distinguished_name = settings.subject();
    // Path building looks issuers up by subject; a subject of its own keeps each authority's certificates apart.
    parameters.distinguished_name.push(DnType::from_oid(SERIAL_NUMBER), id.as_str());
    parameters.subject_alt_names = vec![SanType::URI(Ia5String::try_from(trust_domain.id_string())?)];
    let (not_before, not_after) = (whole_seconds(now - settings.backdate), whole_seconds(now + settings.ttl));
    parameters.not_before = not_before.into();
    parameters.not_after = not_after.into();
    // It signs leaves and nothing else.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    let certificate = parameters.self_signed(&key)?;
    Ok(CertificateAndKey { id, certificate: certificate.into(), key: Arc::new(key), not_before, not_after })
}

impl X509Settings {
    fn subject(&self) -> DistinguishedName {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CountryName, self.country.as_str());
        subject.push(DnType::OrganizationName, self.organization.as_str());
        subject
    }
}

#[derive(Serialize, Deserialize)]
pub struct Entry {
    certificate: String,
    private_key: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private_key);
    }
}

impl Stored for CertificateAndKey {
    type Entry = Entry;

    fn to_entry(&self) -> Entry {
        let private_key = PrivateKey::from_pkcs8_der(self.key.serialize_der()).to_pem().to_string();
        Entry { certificate: x509::certificate_pem(&self.certificate), private_key }
    }

    fn from_entry(entry: Entry) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(entry.certificate.as_bytes()).map_err(|error| format!("certificate: {error}"))?;
        let key = PrivateKey::from_pem(&entry.private_key).map_err(|error| error.to_string())?;
        let key = KeyPair::try_from(key.secret_der()).map_err(|error| format!("private key: {error}"))?;
        let parsed = x509::parse(&certificate, 0).map_err(|error| error.to_string())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err("the private key belongs to another certificate".into());
        }
        let (not_before, not_after) = x509::validity(&parsed);
        // The same derivation as that of the subject key identifier.
        let id = hex::encode(&Sha256::digest(key.subject_public_key_info())[..20]);
        Ok(Self { id, certificate, key: Arc::new(key), not_before, not_after })
    }
}
