//! Partners outside of this control plane: trust zones without a cluster here, whose bundles nobody delivers.
//!
//! ```text
//!  trust zones with a bundle endpoint and no cluster ──> one poller each ──> bundle endpoint
//!                                                             └── by the rules of app::bundle ──> store ──> plan
//! ```
//!
//! The SPIRE servers of the zones that trust them poll the same endpoints by themselves, also while Connect is away; this
//! makes a change known to all of them at once, and known here whether they hold it. An endpoint that is slow, gone or
//! lying harms no other, and what is held of it stays in force.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cofide_bundle_endpoint::{BundleClient, BundleEndpoint, Profile};
use cofide_core::{BundleEndpointProfile, Timestamp, TrustDomain, TrustZone, TrustZoneId};
use cofide_plan::Snapshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::App;
use crate::hub::Hub;

/// A bundle is asked for several times within its refresh hint, so that one failure does not make it stale; as in SPIRE.
const ATTEMPTS_PER_REFRESH_HINT: u64 = 4;
/// Where the partner gives no hint.
const NO_HINT: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Why the bundle of a partner could not be fetched, and since when that is so. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<TrustZoneId, Trouble>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    pub since: Timestamp,
}

impl Troubles {
    pub fn all(&self) -> BTreeMap<TrustZoneId, Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers whether this is news.
    fn note(&self, zone: &TrustZoneId, reason: Option<String>, now: Timestamp) -> bool {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            None => troubles.remove(zone).is_some(),
            Some(reason) => {
                let held = troubles.get(zone);
                let is_news = held.is_none_or(|held| held.reason != reason);
                let since = held.map_or(now, |held| held.since);
                troubles.insert(zone.clone(), Trouble { reason, since });
                is_news
            }
        }
    }
}

/// What one poller asks for; a zone that has another gets another poller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Partner {
    endpoint: BundleEndpoint,
    /// As Connect has it.
    configured: cofide_core::BundleEndpoint,
}

struct Poller {
    partner: Partner,
    task: JoinHandle<()>,
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fetches until `stop`.
#[derive(Clone)]
pub struct Partners {
    pub app: App,
    pub hub: Hub,
    pub client: Arc<BundleClient>,
    pub troubles: Troubles,
    /// The shortest time between two fetches from one endpoint.
    pub poll_interval: Duration,
}

impl Partners {
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.hub.trust_changes();
        let mut pollers: BTreeMap<TrustZoneId, Poller> = BTreeMap::new();
        loop {
            let wanted = partners(&self.hub.snapshot());
            pollers.retain(|zone, poller| wanted.get(zone) == Some(&poller.partner));
            self.troubles.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|zone, _| wanted.contains_key(zone));
            for (zone, partner) in wanted {
                pollers.entry(zone.clone()).or_insert_with(|| {
                    let task = tokio::spawn(self.clone().poll(zone, partner.clone()));
                    Poller { partner, task }
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => {}
                // A cluster that was added is no change of trust.
                () = tokio::time::sleep(NO_HINT) => {}
            }
        }
    }

    async fn poll(self, zone: TrustZoneId, partner: Partner) {
        let trust_domain = partner.endpoint.trust_domain.clone();
        loop {
            let trouble = match self.client.fetch(&partner.endpoint).await {
                Ok(bundle) => self.app.take_fetched_bundle(&zone, &partner.configured, bundle).await.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let is_news = self.troubles.note(&zone, trouble.clone(), SystemTime::now().into());
            match trouble {
                Some(trouble) if is_news => {
                    tracing::warn!(%trust_domain, trouble, "cannot fetch a partner's bundle; what is held stays in force");
                }
                None if is_news => tracing::info!(%trust_domain, "a partner's bundle can be fetched again"),
                _ => {}
            }
            tokio::time::sleep(self.pause(&trust_domain)).await;
        }
    }

    fn pause(&self, trust_domain: &TrustDomain) -> Duration {
        let snapshot = self.hub.snapshot();
        let hint =
            snapshot.trust_zone_by_domain(trust_domain).and_then(|zone| zone.bundle.as_ref()).map_or(0, |bundle| bundle.refresh_hint);
        pause(hint, self.poll_interval)
    }
}

fn pause(hint: u64, shortest: Duration) -> Duration {
    let wanted = if hint == 0 { NO_HINT } else { Duration::from_secs(hint / ATTEMPTS_PER_REFRESH_HINT) };
    wanted.min(LONGEST).max(shortest)
}

/// The zones whose bundles nobody delivers.
fn partners(snapshot: &Snapshot) -> BTreeMap<TrustZoneId, Partner> {
    let is_partner = |zone: &&TrustZone| !zone.is_management_zone && snapshot.clusters_of(&zone.id).next().is_none();
    let partner = |zone: &TrustZone| {
        let configured = zone.bundle_endpoint.clone()?;
        let profile = match configured.profile {
            BundleEndpointProfile::HttpsWeb => Profile::HttpsWeb,
            BundleEndpointProfile::HttpsSpiffe => Profile::HttpsSpiffe { endpoint_spiffe_id: configured.server(&zone.trust_domain) },
        };
        let url = Url::parse(&configured.url).ok()?;
        // Before somebody has brought its first bundle, such an endpoint cannot be verified, and nobody is to be told of it.
        let is_verifiable = match &profile {
            Profile::HttpsWeb => true,
            Profile::HttpsSpiffe { endpoint_spiffe_id } => {
                snapshot.trust_zone_by_domain(endpoint_spiffe_id.trust_domain()).is_some_and(|zone| zone.bundle.is_some())
            }
        };
        is_verifiable.then_some(())?;
        Some((zone.id.clone(), Partner { endpoint: BundleEndpoint { trust_domain: zone.trust_domain.clone(), url, profile }, configured }))
    };
    snapshot.trust_zones().filter(is_partner).filter_map(partner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_followed_within_bounds() {
        let minute = Duration::from_secs(60);
        for (hint, seconds) in [(0, 300), (600, 150), (4, 60), (u64::MAX, 24 * 3600)] {
            assert_eq!(pause(hint, minute).as_secs(), seconds, "{hint}");
        }
    }

    #[test]
    fn the_same_trouble_is_no_news_and_keeps_its_beginning() {
        let (troubles, zone): (_, TrustZoneId) = (Troubles::default(), "tz-b".parse().unwrap());
        let note = |reason: Option<&str>, at| troubles.note(&zone, reason.map(str::to_owned), Timestamp(at));
        assert!(!note(None, 1));
        assert!(note(Some("404"), 2));
        assert!(!note(Some("404"), 3));
        assert!(note(Some("timeout"), 4));
        assert_eq!(troubles.all()[&zone], Trouble { reason: "timeout".into(), since: Timestamp(2) });
        assert!(note(None, 5));
        assert!(troubles.all().is_empty());
    }
}
