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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cofide_bundle_endpoint::{BundleClient, BundleEndpoint, BundleTaker, Pace, Poller, Profile, RefreshError};
use cofide_core::{Bundle, BundleEndpointProfile, Timestamp, TrustZone, TrustZoneId};
use cofide_plan::Snapshot;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::App;
use crate::error::Error;
use crate::hub::Hub;

/// How often to look which zones are partners.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

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

    fn note(&self, zone: &TrustZoneId, reason: Option<String>, now: Timestamp) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            None => {
                troubles.remove(zone);
            }
            Some(reason) => {
                let since = troubles.get(zone).map_or(now, |held| held.since);
                troubles.insert(zone.clone(), Trouble { reason, since });
            }
        }
    }
}

/// A zone that has another endpoint is asked anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    zone: TrustZoneId,
    endpoint: BundleEndpoint,
    /// As Connect has it.
    configured: cofide_core::BundleEndpoint,
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
        let pace = Pace { shortest: self.poll_interval, without_hint: Pace::WITHOUT_HINT };
        let mut poller = Poller::new(self.client.clone(), pace, self.clone());
        loop {
            poller.poll(partners(&self.hub.snapshot()));
            let polled: BTreeSet<_> = poller.polled().map(|partner| &partner.zone).collect();
            self.troubles.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|zone, _| polled.contains(zone));
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => {}
                // A cluster that was added is no change of trust.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

impl BundleTaker for Partners {
    type Partner = Partner;
    type Refusal = Error;

    fn endpoint(partner: &Partner) -> BundleEndpoint {
        partner.endpoint.clone()
    }

    async fn take(&self, partner: &Partner, bundle: Bundle) -> Result<(), Error> {
        self.app.take_fetched_bundle(&partner.zone, &partner.configured, bundle).await
    }

    fn attempted(&self, partner: &Partner, outcome: &Result<(), RefreshError<Error>>) {
        let reason = outcome.as_ref().err().map(ToString::to_string);
        self.troubles.note(&partner.zone, reason, SystemTime::now().into());
    }
}

/// The zones whose bundles nobody delivers.
fn partners(snapshot: &Snapshot) -> Vec<Partner> {
    let is_partner = |zone: &&TrustZone| !zone.is_management_zone && snapshot.clusters_of(&zone.id).next().is_none();
    let partner = |zone: &TrustZone| {
        let configured = zone.bundle_endpoint.clone()?;
        let profile = match configured.profile {
            BundleEndpointProfile::HttpsWeb => Profile::HttpsWeb,
            BundleEndpointProfile::HttpsSpiffe => Profile::HttpsSpiffe { endpoint_spiffe_id: configured.server(&zone.trust_domain) },
        };
        let url = Url::parse(&configured.url).ok()?;
        let endpoint = BundleEndpoint { trust_domain: zone.trust_domain.clone(), url, profile };
        Some(Partner { zone: zone.id.clone(), endpoint, configured })
    };
    snapshot.trust_zones().filter(is_partner).filter_map(partner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_keeps_its_beginning_until_it_is_over() {
        let (troubles, zone): (_, TrustZoneId) = (Troubles::default(), "tz-b".parse().unwrap());
        let note = |reason: Option<&str>, at| troubles.note(&zone, reason.map(str::to_owned), Timestamp(at));
        note(None, 1);
        assert!(troubles.all().is_empty());
        note(Some("404"), 2);
        note(Some("404"), 3);
        note(Some("timeout"), 4);
        assert_eq!(troubles.all()[&zone], Trouble { reason: "timeout".into(), since: Timestamp(2) });
        note(None, 5);
        assert!(troubles.all().is_empty());
    }
}
