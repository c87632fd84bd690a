//! The keys with which a trust domain signs JWT-SVIDs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{JwtAuthority, SpiffeId, TrustDomain};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rotation::{Rotating, Rotation, Stored, file_time};
use super::{AuthorityError, AuthorityInfo, IssueError, RotationChange, RotationError};
use crate::jwt::{self, JwtSvid};
use crate::key::PrivateKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// Life of a signing key.
    pub ttl: Duration,
    /// Longest life of a token; longer wishes are cut. Also how long a retired key stays published.
    pub max_svid_ttl: Duration,
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(7 * 24 * 3600), max_svid_ttl: Duration::from_secs(3600) }
    }
}

/// Signs JWT-SVIDs with ES256; rotates like the [certificate authority](super::X509CertificateAuthority).
#[derive(Clone, Debug)]
pub struct JwtSigner {
    trust_domain: TrustDomain,
    settings: JwtSettings,
    rotation: Rotation<SigningKey>,
}

#[derive(Clone, Debug)]
struct SigningKey {
    /// The `kid`.
    id: String,
    key: Arc<PrivateKey>,
    public_key: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Rotating for SigningKey {
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

impl SigningKey {
    fn generate(ttl: Duration, now: SystemTime) -> Result<Self, rcgen::Error> {
        Ok(Self::new(KeyPair::generate()?, now, now + ttl))
    }

    fn new(key: KeyPair, not_before: SystemTime, not_after: SystemTime) -> Self {
        let public_key = key.subject_public_key_info();
        let id = hex::encode(&Sha256::digest(&public_key)[..20]);
        let key = Arc::new(PrivateKey::from_pkcs8_der(PrivatePkcs8KeyDer::from(key).secret_pkcs8_der().to_vec()));
        Self { id, key, public_key, not_before, not_after }
    }
}

impl JwtSigner {
    pub fn create(trust_domain: TrustDomain, settings: JwtSettings, now: SystemTime) -> Result<Self, AuthorityError> {
        let first = SigningKey::generate(settings.ttl, now).map_err(|error| AuthorityError::Crypto(error.to_string()))?;
        Ok(Self { trust_domain, settings, rotation: Rotation::new(first, now) })
    }

    /// Reads a key file; refuses one of another trust domain, and one that others may read.
    pub fn load(path: &Path, trust_domain: TrustDomain, settings: JwtSettings) -> Result<Self, AuthorityError> {
        let rotation = Rotation::load(path, &trust_domain)?;
        Ok(Self { trust_domain, settings, rotation })
    }

    /// Reads the key file, or creates it where there is none.
    pub fn load_or_create(path: &Path, trust_domain: TrustDomain, settings: JwtSettings, now: SystemTime) -> Result<Self, AuthorityError> {
        if let Some(rotation) = Rotation::load_if_present(path, &trust_domain)? {
            return Ok(Self { trust_domain, settings, rotation });
        }
        let signer = Self::create(trust_domain, settings, now)?;
        signer.save(path)?;
        Ok(signer)
    }

    /// Writes the key file: mode 0600, replaced in one step.
    pub fn save(&self, path: &Path) -> Result<(), AuthorityError> {
        self.rotation.save(path, &self.trust_domain)
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Grows with each change of [`authorities`](Self::authorities), also from one key file to the next.
    pub fn revision(&self) -> u64 {
        self.rotation.revision
    }

    /// What verifiers need: the active key first.
    pub fn authorities(&self) -> Vec<JwtAuthority> {
        let authority = |held: &super::rotation::Held<SigningKey>| JwtAuthority {
            key_id: held.authority.id.clone(),
            public_key: held.authority.public_key.clone(),
            expires_at: file_time(held.authority.not_after),
            tainted: held.tainted,
        };
        self.rotation.all().map(|(held, _)| authority(held)).collect()
    }

    /// Every key with its place in the rotation.
    pub fn state(&self) -> Vec<AuthorityInfo> {
        self.rotation.info()
    }

    /// Creates the next key and publishes it; it signs nothing yet. Answers its `kid`.
    pub fn prepare(&mut self, now: SystemTime) -> Result<String, RotationError> {
        let ttl = self.settings.ttl;
        self.rotation.prepare(|| create(ttl, now))
    }

    /// Lets the prepared key sign from now on; the active one retires and stays published.
    pub fn activate(&mut self, now: SystemTime) -> Result<String, RotationError> {
        self.rotation.activate(now)
    }

    /// Stops publishing the retired keys of which no token can be alive any more. Answers their ids.
    pub fn retire(&mut self, now: SystemTime) -> Vec<String> {
        self.rotation.retire(now, self.settings.max_svid_ttl)
    }

    pub fn taint(&mut self, id: &str) -> Result<(), RotationError> {
        self.rotation.taint(id)
    }

    pub fn revoke(&mut self, id: &str) -> Result<(), RotationError> {
        self.rotation.revoke(id)
    }

    /// Does what is due by the clock, like the certificate authority.
    pub fn maintain(&mut self, now: SystemTime) -> Result<Vec<RotationChange>, RotationError> {
        let ttl = self.settings.ttl;
        self.rotation.maintain(now, self.settings.max_svid_ttl, || create(ttl, now))
    }

    /// Signs a token for the audiences, of which there must be one.
    ///
    /// Its life is the shortest of `ttl`, the longest life in the settings, and what is left of the key's.
    pub fn sign(&self, spiffe_id: &SpiffeId, audience: &[String], ttl: Duration, now: SystemTime) -> Result<JwtSvid, IssueError> {
        if spiffe_id.trust_domain() != &self.trust_domain {
            return Err(IssueError::ForeignTrustDomain { id: spiffe_id.clone(), trust_domain: self.trust_domain.clone() });
        }
        let active = &self.rotation.active.authority;
        if now >= active.not_after {
            return Err(IssueError::AuthorityNotValid { trust_domain: self.trust_domain.clone() });
        }
        let expires_at = (now + ttl.min(self.settings.max_svid_ttl)).min(active.not_after);
        jwt::sign(&active.key, &active.id, spiffe_id, audience, now, expires_at)
    }
}

fn create(ttl: Duration, now: SystemTime) -> Result<SigningKey, RotationError> {
    SigningKey::generate(ttl, now).map_err(|error| RotationError::Crypto(error.to_string()))
}

#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    private_key: String,
    /// Seconds since the Unix epoch.
    not_before: i64,
    not_after: i64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private_key);
    }
}

impl Stored for SigningKey {
    type Entry = Entry;

    fn to_entry(&self) -> Entry {
        Entry { private_key: self.key.to_pem().to_string(), not_before: file_time(self.not_before), not_after: file_time(self.not_after) }
    }

    fn from_entry(entry: Entry) -> Result<Self, String> {
        let key = PrivateKey::from_pem(&entry.private_key).map_err(|error| error.to_string())?;
        let key = KeyPair::try_from(key.secret_der()).map_err(|error| format!("private key: {error}"))?;
        let (not_before, not_after) = (entry.not_before, entry.not_after);
        Ok(Self::new(key, crate::from_seconds_since_epoch(not_before), crate::from_seconds_since_epoch(not_after)))
    }
}
