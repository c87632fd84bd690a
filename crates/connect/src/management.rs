//! The control plane's own trust domain: an authority in the data folder, and the SVID that the listener presents.
//!
//! ```text
//!  authority.json ── issues ──> SVID ──> every TLS handshake
//!        │
//!        └── publishes ──> bundle of the management trust zone ──> agents (ControlPlaneTrust), admin credential
//! ```
//!
//! A new authority is published half a lifetime before it signs anything, so whoever follows the bundle never meets a
//! certificate that it cannot verify.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use cofide_core::{ControlPlaneTrust, SpiffeId};
use cofide_svid::authority::{self, RotationChange, X509CertificateAuthority, X509Settings};
use cofide_svid::{IdentitySlot, X509Svid};

use crate::config::Checked;

/// How often the clock is asked what is due.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);

pub struct Management {
    authority: Mutex<X509CertificateAuthority>,
    path: PathBuf,
    identity: Arc<IdentitySlot>,
    renew_at: Mutex<SystemTime>,
    spiffe_id: SpiffeId,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    svid_ttl: Duration,
}

impl Management {
    /// Reads the authority from the data folder, or makes the first one; `true` where it is the first.
    pub fn open(configuration: &Checked, data_dir: &Path, now: SystemTime) -> anyhow::Result<(Self, bool)> {
        let path = data_dir.join("authority.json");
        let settings = X509Settings {
            ttl: configuration.config.ca_ttl,
            max_svid_ttl: configuration.config.svid_ttl,
            organization: "cofide-connect".into(),
            ..X509Settings::default()
        };
        let is_first = !path.exists();
        let authority = X509CertificateAuthority::load_or_create(&path, configuration.trust_domain.clone(), settings, now)
            .context("cannot open the control plane's own certificate authority")?;
        let management = Self {
            authority: Mutex::new(authority),
            path,
            identity: Arc::default(),
            renew_at: Mutex::new(now),
            spiffe_id: configuration.spiffe_id.clone(),
            dns_names: configuration.server_dns_names(),
            ip_addresses: configuration.server_ip_addresses(),
            svid_ttl: configuration.config.svid_ttl,
        };
        Ok((management, is_first))
    }

    /// The SVID of the moment.
    pub fn identity(&self) -> Arc<IdentitySlot> {
        self.identity.clone()
    }

    /// How others recognise the control plane.
    pub fn trust(&self) -> ControlPlaneTrust {
        let bundle = authority::bundle(&self.authority.lock().unwrap_or_else(PoisonError::into_inner), None, 0);
        ControlPlaneTrust { spiffe_id: self.spiffe_id.clone(), bundle }
    }

    /// Does what is due: prepares, activates and retires authorities. Answers whether the bundle is another one now; it
    /// is to be published before [`renew`](Self::renew).
    pub fn rotate(&self, now: SystemTime) -> anyhow::Result<bool> {
        let mut current = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = current.clone();
        let changes = next.maintain(now).context("cannot rotate the control plane's own authority")?;
        if changes.is_empty() {
            return Ok(false);
        }
        next.save(&self.path).context("cannot save the control plane's own authority")?;
        if changes.iter().any(|change| matches!(change, RotationChange::Activated(_))) {
            *self.renew_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        tracing::info!(?changes, "the control plane's own authority is rotated");
        *current = next;
        Ok(true)
    }

    /// Issues a new SVID where the present one is at half of its life, or where there is none.
    pub fn renew(&self, now: SystemTime) -> anyhow::Result<()> {
        let mut renew_at = self.renew_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now < *renew_at {
            return Ok(());
        }
        let authority = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        let svid: X509Svid = authority
            .issue(&self.spiffe_id, &self.dns_names, &self.ip_addresses, self.svid_ttl, now)
            .context("cannot issue the control plane's own SVID")?;
        *renew_at = svid.renew_at();
        self.identity.set(svid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use cofide_core::Bundle;
    use cofide_svid::{BundleSet, IdentitySource, KeyUsage, x509};

    fn open(folder: &Path, now: SystemTime) -> Management {
        let config = Config { ca_ttl: Duration::from_secs(600), svid_ttl: Duration::from_secs(60), ..Config::default() };
        Management::open(&config.check().unwrap(), folder, now).unwrap().0
    }

    fn verify(svid: &X509Svid, bundle: Bundle, now: SystemTime) -> SpiffeId {
        x509::verify(&svid.certificates, &BundleSet::from_iter([bundle]), now, KeyUsage::Server).unwrap()
    }

    #[test]
    fn every_svid_verifies_with_the_bundle_that_was_published_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        let management = open(folder.path(), start);
        let mut published = management.trust().bundle;
        let mut authorities = std::collections::BTreeSet::new();
        for second in (0..3000).step_by(10) {
            let now = start + Duration::from_secs(second);
            // What a follower holds when the next handshake comes: the bundle before this round's rotation.
            let held = published.clone();
            management.rotate(now).unwrap();
            published = management.trust().bundle;
            management.renew(now).unwrap();
            let svid = management.identity().identity().unwrap();
            assert_eq!(verify(&svid, held, now), management.trust().spiffe_id);
            authorities.insert(published.x509_authorities[0].der.clone());
        }
        assert!(authorities.len() > 3, "the authority was rotated");
    }

    #[test]
    fn a_restart_keeps_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let before = open(folder.path(), now).trust().bundle;
        assert!(before.same_authorities(&open(folder.path(), now).trust().bundle));
    }

    #[test]
    fn a_folder_of_another_trust_domain_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), SystemTime::now());
        let config = Config { connect_trust_domain: "other.local".into(), ..Config::default() }.check().unwrap();
        let error = Management::open(&config, folder.path(), SystemTime::now()).err().unwrap();
        assert!(format!("{error:#}").contains("management.local"), "{error:#}");
    }
}
