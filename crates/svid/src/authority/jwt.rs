//! The keys with which a trust domain signs JWT-SVIDs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{JwtAuthority, SpiffeId, TrustDomain};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::IssueError;
use super::generic::{Authority, Kind};
use super::rotation::{Rotating, Stored, file_time};
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
pub type JwtSigner = Authority<SigningKey>;

/// One key. Its id is the `kid` of the tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
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
    fn new(key: KeyPair, not_before: SystemTime, not_after: SystemTime) -> Self {
        let public_key = key.subject_public_key_info();
        let id = hex::encode(&Sha256::digest(&public_key)[..20]);
        let key = Arc::new(PrivateKey::from_pkcs8_der(PrivatePkcs8KeyDer::from(key).secret_pkcs8_der().to_vec()));
        Self { id, key, public_key, not_before, not_after }
    }
}

impl JwtSigner {
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

    /// Signs a token for the audiences, of which there must be one.
    ///
    /// Its life is the shortest of `ttl`, the longest life in the settings, and what is left of the key's.
    pub fn sign(&self, spiffe_id: &SpiffeId, audience: &[String], ttl: Duration, now: SystemTime) -> Result<JwtSvid, IssueError> {
        let active = self.signing_for(spiffe_id, now)?;
        let expires_at = (now + ttl.min(self.settings.max_svid_ttl)).min(active.not_after);
        jwt::sign(&active.key, &active.id, spiffe_id, audience, now, expires_at)
    }
}

impl Kind for SigningKey {
    type Settings = JwtSettings;

    fn create(_: &TrustDomain, settings: &JwtSettings, now: SystemTime) -> Result<Self, rcgen::Error> {
        Ok(Self::new(KeyPair::generate()?, now, now + settings.ttl))
    }

    fn longest_life(settings: &JwtSettings) -> Duration {
        settings.max_svid_ttl
    }
}

#[derive(Serialize, Deserialize)]
pub struct Entry {
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
