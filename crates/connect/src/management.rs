//! The control plane's own trust domain: its authority, and the SVID that the listener presents.
//!
//! ```text
//!       authority ── issues ──> SVID ──> every TLS handshake
//!        │
//!        └── publishes ──> bundle of the management trust zone ──> agents (ControlPlaneTrust), admin credential
//! ```
//!
//! A new authority is published half a lifetime before it signs anything, so whoever follows the bundle never meets a
//! certificate that it cannot verify.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use cofide_core::{ControlPlaneTrust, SpiffeId, TrustDomain};
use cofide_store::ControlPlaneSecrets;
use cofide_svid::authority::{self, AuthorityState, RotationChange, X509CertificateAuthority, X509Settings};
use cofide_svid::{IdentitySlot, X509Svid};

use crate::config::Checked;
use crate::keeping::{self, Keeping};

/// How often the clock is asked what is due.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);

pub struct Management {
    authority: Mutex<X509CertificateAuthority>,
    settings: X509Settings,
    keeping: Keeping,
    identity: Arc<IdentitySlot>,
    renew_at: Mutex<SystemTime>,
    spiffe_id: SpiffeId,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    svid_ttl: Duration,
}

impl Management {
    /// Takes the authority from where it is kept, or makes the first one; `true` where it is the first.
    pub async fn open(configuration: Checked, keeping: Keeping, now: SystemTime) -> anyhow::Result<(Self, bool)> {
        let (dns_names, ip_addresses) = (configuration.server_dns_names(), configuration.server_ip_addresses());
        let Checked { config, trust_domain, spiffe_id, .. } = configuration;
        let settings = X509Settings {
            ttl: config.ca_ttl,
            max_svid_ttl: config.svid_ttl,
            organization: "cofide-connect".into(),
            // Rotation counts from the beginning of a life.
            backdate: X509Settings::default().backdate.min(config.ca_ttl / 60),
            ..X509Settings::default()
        };
        let opened = authority(trust_domain, settings.clone(), keeping.clone(), now).await;
        let (authority, is_first) = opened.context("cannot open the control plane's own certificate authority")?;
        let management = Self {
            authority: Mutex::new(authority),
            settings,
            keeping,
            identity: Arc::default(),
            renew_at: Mutex::new(now),
            spiffe_id,
            dns_names,
            ip_addresses,
            svid_ttl: config.svid_ttl,
        };
        Ok((management, is_first))
    }

    /// The SVID of the moment.
    pub fn identity(&self) -> Arc<IdentitySlot> {
        self.identity.clone()
    }

    /// How others recognise the control plane.
    pub fn trust(&self) -> ControlPlaneTrust {
        let bundle = authority::bundle(&self.authority(), None, 0);
        ControlPlaneTrust { spiffe_id: self.spiffe_id.clone(), bundle }
    }

    /// Does what is due: prepares, activates and retires authorities. What another replica has done
    /// is taken over. The bundle may be another one afterwards, and is to be published before [`renew`](Self::renew).
    pub async fn rotate(&self, now: SystemTime) -> anyhow::Result<()> {
        let Keeping::Database(store) = &self.keeping else { return self.rotate_alone(now) };
        let held = self.held(&mut store.begin_read().await?).await?;
        if maintained(held.clone(), now)?.1.is_empty() {
            self.take(held, now);
            return Ok(());
        }
        // Decided once more where nobody else can decide it: of two replicas one prepares the next authority.
        let mut transaction = store.begin_write().await?;
        let (next, changes) = maintained(self.held(&mut transaction).await?, now)?;
        if !changes.is_empty() {
            keeping::keep_authority(transaction, &next).await?;
            tracing::info!(?changes, "the control plane's own authority is rotated");
        }
        self.take(next, now);
        Ok(())
    }

    fn rotate_alone(&self, now: SystemTime) -> anyhow::Result<()> {
        let (next, changes) = maintained(self.authority().clone(), now)?;
        if changes.is_empty() {
            return Ok(());
        }
        if let Keeping::Folder(path) = &self.keeping {
            next.save(path).context("cannot save the control plane's own authority")?;
        }
        tracing::info!(?changes, "the control plane's own authority is rotated");
        self.take(next, now);
        Ok(())
    }

    async fn held(&self, transaction: &mut impl ControlPlaneSecrets) -> anyhow::Result<X509CertificateAuthority> {
        let text = keeping::authority_text(transaction).await?;
        let text = text.context("the control plane's own authority is gone from the database; restore the table control_plane_secret")?;
        let trust_domain = self.spiffe_id.trust_domain().clone();
        Ok(X509CertificateAuthority::from_text(&text, keeping::authority_place(), trust_domain, self.settings.clone())?)
    }

    /// An authority that has not signed yet signs the next SVID, at once.
    fn take(&self, next: X509CertificateAuthority, now: SystemTime) {
        let mut current = self.authority();
        if active(&next) != active(&current) {
            *self.renew_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        *current = next;
    }

    fn authority(&self) -> MutexGuard<'_, X509CertificateAuthority> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Issues a new SVID where the present one is at half of its life, or where there is none.
    pub fn renew(&self, now: SystemTime) -> anyhow::Result<()> {
        let mut renew_at = self.renew_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now < *renew_at {
            return Ok(());
        }
        let authority = self.authority();
        let svid: X509Svid = authority
            .issue(&self.spiffe_id, &self.dns_names, &self.ip_addresses, self.svid_ttl, now)
            .context("cannot issue the control plane's own SVID")?;
        *renew_at = svid.renew_at();
        self.identity.set(svid);
        Ok(())
    }
}

/// The authority that there is, or the first; `true` where it is the first.
async fn authority(
    trust_domain: TrustDomain,
    settings: X509Settings,
    keeping: Keeping,
    now: SystemTime,
) -> anyhow::Result<(X509CertificateAuthority, bool)> {
    match keeping {
        Keeping::Folder(path) => {
            let is_first = !path.exists();
            Ok((X509CertificateAuthority::load_or_create(&path, trust_domain, settings, now)?, is_first))
        }
        Keeping::Database(store) => {
            // Of two replicas that start at once on an empty database one makes it, and the other finds it.
            let mut transaction = store.begin_write().await?;
            if let Some(text) = keeping::authority_text(&mut transaction).await? {
                let held = X509CertificateAuthority::from_text(&text, keeping::authority_place(), trust_domain, settings)?;
                return Ok((held, false));
            }
            let first = X509CertificateAuthority::create(trust_domain, settings, now)?;
            keeping::keep_authority(transaction, &first).await?;
            Ok((first, true))
        }
    }
}

fn maintained(mut authority: X509CertificateAuthority, now: SystemTime) -> anyhow::Result<(X509CertificateAuthority, Vec<RotationChange>)> {
    let changes = authority.maintain(now).context("cannot rotate the control plane's own authority")?;
    Ok((authority, changes))
}

fn active(authority: &X509CertificateAuthority) -> Option<String> {
    authority.state().into_iter().find(|info| info.state == AuthorityState::Active).map(|info| info.id)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use cofide_core::Bundle;
    use cofide_svid::{BundleSet, IdentitySource, KeyUsage, x509};

    fn checked() -> Checked {
        Config { ca_ttl: Duration::from_secs(600), svid_ttl: Duration::from_secs(60), ..Config::default() }.check().unwrap()
    }

    fn in_folder(folder: &Path) -> Keeping {
        Keeping::Folder(folder.join("authority.json"))
    }

    async fn open(keeping: Keeping, now: SystemTime) -> Management {
        Management::open(checked(), keeping, now).await.unwrap().0
    }

    fn verify(svid: &X509Svid, bundle: Bundle, now: SystemTime) -> SpiffeId {
        x509::verify(&svid.certificates, &BundleSet::from_iter([bundle]), now, KeyUsage::Server).unwrap()
    }

    /// Looks every ten seconds for 50 minutes, in turns; what one of them publishes is all that clients know.
    async fn every_svid_verifies(replicas: &[Management], start: SystemTime) {
        let mut published = replicas[0].trust().bundle;
        let mut authorities = std::collections::BTreeSet::new();
        for second in (0..3000).step_by(10) {
            let now = start + Duration::from_secs(second);
            for management in replicas {
                // What a follower holds when the next handshake comes: the bundle before this round's rotation.
                let held = published.clone();
                management.rotate(now).await.unwrap();
                published = management.trust().bundle;
                management.renew(now).unwrap();
                let svid = management.identity().identity().unwrap();
                assert_eq!(verify(&svid, held, now), management.trust().spiffe_id);
            }
            authorities.insert(published.x509_authorities[0].der.clone());
            let sets: Vec<_> = replicas.iter().map(|replica| replica.trust().bundle.x509_authorities.len()).collect();
            assert!(sets.iter().all(|len| *len <= 3), "one replica's authorities are those of all: {sets:?}");
        }
        assert!(authorities.len() > 3, "the authority was rotated");
    }

    #[tokio::test]
    async fn every_svid_verifies_with_the_bundle_that_was_published_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        every_svid_verifies(&[open(in_folder(folder.path()), start).await], start).await;
    }

    #[tokio::test]
    async fn replicas_on_one_database_sign_with_one_authority() {
        let start = SystemTime::now();
        let store = cofide_store::Store::in_memory().await.unwrap();
        let keeping = || Keeping::Database(store.clone());
        let (first, is_first) = Management::open(checked(), keeping(), start).await.unwrap();
        let (second, is_second) = Management::open(checked(), keeping(), start).await.unwrap();
        assert_eq!((is_first, is_second), (true, false));
        assert!(first.trust().bundle.same_authorities(&second.trust().bundle));
        every_svid_verifies(&[first, second], start).await;
        let token = keeping().shared_admin_token().await.unwrap();
        assert!(token.is_some());
        assert_eq!(keeping().shared_admin_token().await.unwrap(), token);
    }

    #[tokio::test]
    async fn a_restart_keeps_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let before = open(in_folder(folder.path()), now).await.trust().bundle;
        assert!(before.same_authorities(&open(in_folder(folder.path()), now).await.trust().bundle));
    }

    #[tokio::test]
    async fn what_is_kept_for_another_trust_domain_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = cofide_store::Store::in_memory().await.unwrap();
        let config = Config { connect_trust_domain: "other.local".into(), ..Config::default() }.check().unwrap();
        for keeping in [in_folder(folder.path()), Keeping::Database(store)] {
            open(keeping.clone(), SystemTime::now()).await;
            let error = Management::open(config.clone(), keeping, SystemTime::now()).await.err().unwrap();
            assert!(format!("{error:#}").contains("management.local"), "{error:#}");
        }
    }
}
