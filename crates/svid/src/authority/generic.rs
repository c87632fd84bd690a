//! What the two kinds of authority share: the key file, and the way from prepared to retired.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cofide_core::TrustDomain;
use zeroize::Zeroizing;

use super::rotation::{Rotation, Stored};
use super::{AuthorityError, AuthorityInfo, IssueError, RotationChange, RotationError};

/// One kind of key that a trust domain signs with.
pub trait Kind: Stored {
    type Settings;

    /// A fresh one, whose life begins now.
    fn create(trust_domain: &TrustDomain, settings: &Self::Settings, now: SystemTime) -> Result<Self, rcgen::Error>;

    /// How long what it signs can live.
    fn longest_life(settings: &Self::Settings) -> Duration;
}

/// The keys of one kind with which a trust domain signs: one signs, one may be prepared, some may have retired (see the
/// [module](super)). Named by what it signs: [`X509CertificateAuthority`](super::X509CertificateAuthority),
/// [`JwtSigner`](super::JwtSigner).
#[derive(Clone, Debug)]
pub struct Authority<K: Kind> {
    pub(super) trust_domain: TrustDomain,
    pub(super) settings: K::Settings,
    pub(super) rotation: Rotation<K>,
}

impl<K: Kind> Authority<K> {
    /// With a fresh key (ECDSA on P-256).
    pub fn create(trust_domain: TrustDomain, settings: K::Settings, now: SystemTime) -> Result<Self, AuthorityError> {
        let first = K::create(&trust_domain, &settings, now).map_err(|error| AuthorityError::Crypto(error.to_string()))?;
        Ok(Self { trust_domain, settings, rotation: Rotation::new(first, now) })
    }

    /// Reads a key file; refuses one of another trust domain, and one that others may read.
    pub fn load(path: &Path, trust_domain: TrustDomain, settings: K::Settings) -> Result<Self, AuthorityError> {
        let rotation = Rotation::load(path, &trust_domain)?;
        Ok(Self { trust_domain, settings, rotation })
    }

    /// Reads the key file, or creates it where there is none.
    pub fn load_or_create(path: &Path, trust_domain: TrustDomain, settings: K::Settings, now: SystemTime) -> Result<Self, AuthorityError> {
        if let Some(rotation) = Rotation::load_if_present(path, &trust_domain)? {
            return Ok(Self { trust_domain, settings, rotation });
        }
        let authority = Self::create(trust_domain, settings, now)?;
        authority.save(path)?;
        Ok(authority)
    }

    /// Writes the key file: mode 0600, replaced in one step.
    pub fn save(&self, path: &Path) -> Result<(), AuthorityError> {
        self.rotation.save(path, &self.trust_domain)
    }

    /// The content of the key file, for another place than a file.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.rotation.to_text(&self.trust_domain)
    }

    /// Reads what [`to_text`](Self::to_text) has written; `place` is where it was kept, for the errors.
    pub fn from_text(text: &str, place: &Path, trust_domain: TrustDomain, settings: K::Settings) -> Result<Self, AuthorityError> {
        let rotation = Rotation::from_text(text.as_bytes(), place, &trust_domain)?;
        Ok(Self { trust_domain, settings, rotation })
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Grows with each change of what is published, also from one key file to the next.
    pub fn revision(&self) -> u64 {
        self.rotation.revision
    }

    /// Every key with its place in the rotation.
    pub fn state(&self) -> Vec<AuthorityInfo> {
        self.rotation.info()
    }

    /// Creates the next key and publishes it; it signs nothing yet. Answers its id.
    pub fn prepare(&mut self, now: SystemTime) -> Result<String, RotationError> {
        let (trust_domain, settings) = (&self.trust_domain, &self.settings);
        self.rotation.prepare(|| next::<K>(trust_domain, settings, now))
    }

    /// Lets the prepared key sign from now on; the active one retires and stays published. Answers the id of the one that
    /// signs now.
    pub fn activate(&mut self, now: SystemTime) -> Result<String, RotationError> {
        self.rotation.activate(now)
    }

    /// Stops publishing the retired keys of which nothing that they signed can be alive any more. Answers their ids.
    pub fn retire(&mut self, now: SystemTime) -> Vec<String> {
        self.rotation.retire(now, K::longest_life(&self.settings))
    }

    /// Publishes that a retired key must not be believed any more; verifiers refuse what it signed.
    pub fn taint(&mut self, id: &str) -> Result<(), RotationError> {
        self.rotation.taint(id)
    }

    /// Stops publishing a retired key at once, whatever it signed.
    pub fn revoke(&mut self, id: &str) -> Result<(), RotationError> {
        self.rotation.revoke(id)
    }

    /// Does what is due by the clock: prepare at half of the active key's life, activate when a sixth is left, retire.
    pub fn maintain(&mut self, now: SystemTime) -> Result<Vec<RotationChange>, RotationError> {
        let (trust_domain, settings) = (&self.trust_domain, &self.settings);
        self.rotation.maintain(now, K::longest_life(settings), || next::<K>(trust_domain, settings, now))
    }

    /// The key that signs, for an identity that it may sign for.
    pub(super) fn signing_for(&self, spiffe_id: &cofide_core::SpiffeId, now: SystemTime) -> Result<&K, IssueError> {
        if spiffe_id.trust_domain() != &self.trust_domain {
            return Err(IssueError::ForeignTrustDomain { id: spiffe_id.clone(), trust_domain: self.trust_domain.clone() });
        }
        let active = &self.rotation.active.authority;
        if now >= active.not_after() {
            return Err(IssueError::AuthorityNotValid { trust_domain: self.trust_domain.clone() });
        }
        Ok(active)
    }
}

fn next<K: Kind>(trust_domain: &TrustDomain, settings: &K::Settings, now: SystemTime) -> Result<K, RotationError> {
    K::create(trust_domain, settings, now).map_err(|error| RotationError::Crypto(error.to_string()))
}
