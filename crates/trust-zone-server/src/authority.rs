//! The server's own authorities: kept on disk, rotated by the clock or by hand, seen by everybody as one value.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, TrustDomain};
use cofide_svid::BundleSource;
use cofide_svid::authority::{
    AuthorityError, AuthorityInfo, AuthorityState, JwtSettings, JwtSigner, RotationChange, RotationError, X509CertificateAuthority,
    X509Settings, bundle,
};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How far the beginning of a certificate lies in the past, for verifiers whose clocks are behind. Shorter where an
/// authority's whole life is short: rotation counts from there.
const BACKDATE: Duration = Duration::from_mins(10);
/// How often, at the least, the clock is asked whether a rotation is due.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);

/// The authorities at one moment, with the bundle that they publish together.
#[derive(Debug)]
pub struct Authorities {
    pub x509: X509CertificateAuthority,
    pub jwt: JwtSigner,
    pub bundle: Arc<Bundle>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthorityChangeError {
    #[error(transparent)]
    Rotation(#[from] RotationError),
    #[error(transparent)]
    File(#[from] AuthorityError),
    #[error("the task that writes the key file was stopped")]
    Stopped,
}

/// Clones share the authorities.
#[derive(Clone, Debug)]
pub struct Authority {
    settings: Arc<Settings>,
    current: Arc<watch::Sender<Arc<Authorities>>>,
    /// One change at a time.
    writer: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Settings {
    x509: PathBuf,
    jwt: PathBuf,
    refresh_hint: u64,
    maintenance_interval: Duration,
}

/// What is told of one kind of authority.
#[derive(Clone, Debug, Default)]
pub struct LocalAuthorities {
    pub active: Option<AuthorityInfo>,
    pub prepared: Option<AuthorityInfo>,
    /// The most recent of the retired ones, which SPIRE calls old.
    pub old: Option<AuthorityInfo>,
}

impl LocalAuthorities {
    pub fn new(all: Vec<AuthorityInfo>) -> Self {
        let mut authorities = Self::default();
        for info in all {
            let place = match info.state {
                AuthorityState::Active => &mut authorities.active,
                AuthorityState::Prepared => &mut authorities.prepared,
                AuthorityState::Retired => &mut authorities.old,
            };
            // Retired ones come with the most recent first.
            place.get_or_insert(info);
        }
        authorities
    }
}

impl Authority {
    /// Reads the key files of the folder, or creates them. A damaged one is an error and stays untouched: a new authority
    /// in its place would break every peer that trusts the old one.
    pub fn open(folder: &Path, config: &Config, now: SystemTime) -> Result<Self, AuthorityError> {
        let settings = Settings {
            x509: folder.join("x509-authority.json"),
            jwt: folder.join("jwt-authority.json"),
            refresh_hint: config.bundle_refresh_hint.as_secs().max(1),
            // Several times within the sixth of a life in which an authority hands over.
            maintenance_interval: (config.ca_ttl.min(config.jwt_key_ttl) / 60).min(MAINTENANCE_INTERVAL),
        };
        let x509_settings = X509Settings {
            ttl: config.ca_ttl,
            max_svid_ttl: longest(config.x509_svid_ttl, config.ca_ttl),
            backdate: BACKDATE.min(config.ca_ttl / 60),
            ..X509Settings::default()
        };
        let jwt_settings = JwtSettings { ttl: config.jwt_key_ttl, max_svid_ttl: longest(config.jwt_svid_ttl, config.jwt_key_ttl) };
        let trust_domain = &config.trust_domain;
        let x509 = X509CertificateAuthority::load_or_create(&settings.x509, trust_domain.clone(), x509_settings, now)?;
        let jwt = JwtSigner::load_or_create(&settings.jwt, trust_domain.clone(), jwt_settings, now)?;
        let current = watch::Sender::new(Arc::new(Authorities::new(x509, jwt, &settings)));
        Ok(Self { settings: Arc::new(settings), current: Arc::new(current), writer: Arc::default() })
    }

    /// The authorities at this moment.
    pub fn read(&self) -> Arc<Authorities> {
        self.current.borrow().clone()
    }

    pub fn trust_domain(&self) -> TrustDomain {
        self.current.borrow().bundle.trust_domain.clone()
    }

    /// Tells of every change, also of those that leave the bundle as it was.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Authorities>> {
        self.current.subscribe()
    }

    /// Changes the X.509 authority: persisted, then in force.
    pub async fn change_x509<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut X509CertificateAuthority) -> Result<T, RotationError> + Send + 'static,
    ) -> Result<T, AuthorityChangeError> {
        self.change(move |authorities, settings| {
            let mut x509 = authorities.x509.clone();
            let outcome = change(&mut x509)?;
            x509.save(&settings.x509)?;
            Ok((outcome, Authorities::new(x509, authorities.jwt.clone(), settings)))
        })
        .await
    }

    /// Changes the JWT authority: persisted, then in force.
    pub async fn change_jwt<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut JwtSigner) -> Result<T, RotationError> + Send + 'static,
    ) -> Result<T, AuthorityChangeError> {
        self.change(move |authorities, settings| {
            let mut jwt = authorities.jwt.clone();
            let outcome = change(&mut jwt)?;
            jwt.save(&settings.jwt)?;
            Ok((outcome, Authorities::new(authorities.x509.clone(), jwt, settings)))
        })
        .await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Authorities, &Settings) -> Result<(T, Authorities), AuthorityChangeError> + Send + 'static,
    ) -> Result<T, AuthorityChangeError> {
        let guard = self.writer.clone().lock_owned().await;
        let this = self.clone();
        // Keys are made and files are flushed; and once begun the change runs to its end, whoever asked for it.
        let changed = tokio::task::spawn_blocking(move || {
            let (outcome, next) = change(&this.read(), &this.settings)?;
            this.current.send_replace(Arc::new(next));
            drop(guard);
            Ok(outcome)
        });
        changed.await.unwrap_or(Err(AuthorityChangeError::Stopped))
    }

    /// Rotates what is due by the clock, until `shutdown`.
    pub async fn maintain(self, shutdown: CancellationToken) {
        loop {
            self.maintain_once().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.settings.maintenance_interval) => {}
            }
        }
    }

    /// Rotates what is due now.
    pub async fn maintain_once(&self) {
        let now = SystemTime::now();
        // Asked first on a copy: most of the time nothing is due, and nothing is to be written.
        let current = self.read();
        if !matches!(current.x509.clone().maintain(now), Ok(changes) if changes.is_empty()) {
            report("X.509", self.change_x509(move |x509| x509.maintain(now)).await);
        }
        if !matches!(current.jwt.clone().maintain(now), Ok(changes) if changes.is_empty()) {
            report("JWT", self.change_jwt(move |jwt| jwt.maintain(now)).await);
        }
    }
}

/// An entry may ask for more than the default life, up to a sixth of its authority's: see [`Config::check`].
fn longest(default: Duration, authority: Duration) -> Duration {
    default.max(authority / 6)
}

fn report(kind: &str, outcome: Result<Vec<RotationChange>, AuthorityChangeError>) {
    match outcome {
        Ok(changes) => {
            for change in changes {
                match change {
                    RotationChange::Prepared(id) => tracing::info!(kind, authority_id = id, "prepared the next authority"),
                    RotationChange::Activated(id) => tracing::info!(kind, authority_id = id, "a new authority signs from now on"),
                    RotationChange::Retired(id) => tracing::info!(kind, authority_id = id, "removed a retired authority from the bundle"),
                }
            }
        }
        Err(error) => tracing::error!(kind, %error, "cannot rotate the authority; trying again"),
    }
}

impl Authorities {
    fn new(x509: X509CertificateAuthority, jwt: JwtSigner, settings: &Settings) -> Self {
        let bundle = Arc::new(bundle(&x509, Some(&jwt), settings.refresh_hint));
        Self { x509, jwt, bundle }
    }

    /// The id of the authority that signs X.509-SVIDs.
    pub fn active_x509(&self) -> String {
        LocalAuthorities::new(self.x509.state()).active.map(|info| info.id).unwrap_or_default()
    }
}

impl BundleSource for Authority {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let bundle = self.current.borrow().bundle.clone();
        (bundle.trust_domain == *trust_domain).then_some(bundle)
    }
}
