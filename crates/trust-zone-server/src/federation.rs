//! Polling of federation partners: each relationship has a task of its own, so an endpoint that is slow, gone or lying
//! harms no other.
//!
//! ```text
//!  relationships ──> one poller each ──> client (https_spiffe | https_web) ──> Bundle ──> rules ──> datastore
//!       ▲ watched                          timeout, size limit, no redirects              not older, not emptied
//! ```
//!
//! What an endpoint says replaces the held bundle only by the rules of [`Bundle::may_replace`]; a person can overrule
//! them by setting the bundle through the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofide_bundle_endpoint::{BundleClient, BundleEndpoint, FetchError, Profile, WebRoots};
use cofide_core::{Bundle, BundleError, TrustDomain};
use cofide_svid::BundleSource;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::config;
use crate::datastore::{BundleEndpointProfile, Datastore, DatastoreError, FederationRelationship};
use crate::metrics::Metrics;

/// A bundle is asked for several times within its refresh hint, so that one failure does not make it stale; as in SPIRE.
const ATTEMPTS_PER_REFRESH_HINT: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0}; the held bundle stays in force: if the trust domain really began anew, set its bundle through the API")]
    Refused(#[from] BundleError),
    #[error("the relationship has changed in the meantime")]
    Superseded,
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
}

/// What a refresh came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    Changed,
    Unchanged,
}

/// The bundles of this server: its own and the foreign ones that it holds.
#[derive(Clone, Debug)]
pub struct HeldBundles {
    pub datastore: Datastore,
    pub authority: Authority,
}

impl BundleSource for HeldBundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.authority.bundle(trust_domain).or_else(|| self.datastore.bundle(trust_domain))
    }
}

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Federation {
    bundles: HeldBundles,
    client: Arc<BundleClient>,
    metrics: Metrics,
    config: Arc<config::Federation>,
}

impl Federation {
    pub fn new(bundles: HeldBundles, metrics: Metrics, config: config::Federation) -> Self {
        let client = BundleClient {
            bundles: Arc::new(bundles.clone()),
            timeout: config.timeout,
            web_roots: WebRoots::new(config.web_roots.clone(), "federation.web_roots"),
        };
        Self { bundles, client: Arc::new(client), metrics, config: Arc::new(config) }
    }

    /// Polls all partners until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changes = self.bundles.datastore.subscribe();
        let mut pollers: BTreeMap<TrustDomain, Poller> = BTreeMap::new();
        loop {
            let content = changes.borrow_and_update().clone();
            pollers.retain(|trust_domain, poller| content.relationship(trust_domain) == Some(&poller.relationship));
            for relationship in content.relationships() {
                pollers.entry(relationship.trust_domain.clone()).or_insert_with(|| self.poller(relationship.clone()));
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn poller(&self, relationship: Arc<FederationRelationship>) -> Poller {
        let task = tokio::spawn(self.clone().poll(relationship.clone()));
        Poller { relationship, task }
    }

    async fn poll(self, relationship: Arc<FederationRelationship>) {
        let trust_domain = &relationship.trust_domain;
        // Said once for each new trouble, not with each attempt.
        let mut last_trouble = None;
        loop {
            self.wait_until_verifiable(&relationship).await;
            match self.refresh(&relationship).await {
                Ok(Refreshed::Changed) => {
                    tracing::info!(%trust_domain, url = %relationship.bundle_endpoint_url, "took the partner's new bundle");
                    last_trouble = None;
                }
                Ok(Refreshed::Unchanged) => {
                    tracing::debug!(%trust_domain, "the partner's bundle is unchanged");
                    last_trouble = None;
                }
                Err(error) => {
                    let trouble = error.to_string();
                    if last_trouble.as_ref() == Some(&trouble) {
                        tracing::debug!(%trust_domain, trouble, "still cannot refresh the partner's bundle");
                    } else {
                        tracing::warn!(%trust_domain, url = %relationship.bundle_endpoint_url, trouble, "cannot refresh the partner's bundle; the held one stays in force");
                        last_trouble = Some(trouble);
                    }
                }
            }
            tokio::time::sleep(self.pause(trust_domain)).await;
        }
    }

    /// An `https_spiffe` endpoint can be verified once a bundle of its trust domain is held, which somebody has to bring.
    async fn wait_until_verifiable(&self, relationship: &FederationRelationship) {
        let BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } = &relationship.profile else { return };
        let mut changes = self.bundles.datastore.subscribe();
        let mut has_waited = false;
        while self.bundles.bundle(endpoint_spiffe_id.trust_domain()).is_none() {
            if !has_waited {
                tracing::info!(trust_domain = %relationship.trust_domain, %endpoint_spiffe_id, "federation waits for a first bundle to verify the endpoint with");
                has_waited = true;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn pause(&self, trust_domain: &TrustDomain) -> Duration {
        let hint = self.bundles.datastore.bundle(trust_domain).map_or(0, |bundle| bundle.refresh_hint);
        pause(hint, &self.config)
    }

    /// Asks the partner once, now.
    pub async fn refresh(&self, relationship: &FederationRelationship) -> Result<Refreshed, RefreshError> {
        let outcome = self.refresh_once(relationship).await;
        self.metrics.refreshed(&relationship.trust_domain, outcome.is_ok());
        outcome
    }

    async fn refresh_once(&self, relationship: &FederationRelationship) -> Result<Refreshed, RefreshError> {
        let fetched = self.client.fetch(&endpoint(relationship)).await?;
        let outcome = self.bundles.datastore.update(|content| {
            if content.relationship(&relationship.trust_domain).is_none_or(|held| **held != *relationship) {
                return Err(RefreshError::Superseded);
            }
            let Some(held) = content.bundle(&relationship.trust_domain) else {
                content.set_bundle(fetched);
                return Ok(Refreshed::Changed);
            };
            let fetched = with_marks_of(fetched, held);
            if is_same(&fetched, held) {
                return Ok(Refreshed::Unchanged);
            }
            fetched.may_replace(held)?;
            content.set_bundle(fetched);
            Ok(Refreshed::Changed)
        });
        outcome.await?
    }
}

/// One relationship's task; ends with it.
#[derive(Debug)]
struct Poller {
    relationship: Arc<FederationRelationship>,
    task: JoinHandle<()>,
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the next attempt; `hint` in seconds, 0 where there is none. A hint of whatever size cannot make a partner's
/// server be flooded or be forgotten.
fn pause(hint: u64, config: &config::Federation) -> Duration {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let wanted = match hint {
        0 => config.default_poll_interval,
        hint => Duration::from_secs(hint) / ATTEMPTS_PER_REFRESH_HINT,
    };
    wanted.min(LONGEST).max(config.minimum_poll_interval)
}

fn endpoint(relationship: &FederationRelationship) -> BundleEndpoint {
    let profile = match &relationship.profile {
        BundleEndpointProfile::HttpsWeb => Profile::HttpsWeb,
        BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } => {
            Profile::HttpsSpiffe { endpoint_spiffe_id: endpoint_spiffe_id.clone() }
        }
    };
    BundleEndpoint { trust_domain: relationship.trust_domain.clone(), url: relationship.bundle_endpoint_url.clone(), profile }
}

/// The document at an endpoint has no words for "tainted" and for a key's end. What is known of these from elsewhere
/// stays known, for as long as the authority is published.
fn with_marks_of(mut fetched: Bundle, held: &Bundle) -> Bundle {
    for authority in &mut fetched.x509_authorities {
        authority.tainted |= held.x509_authorities.iter().any(|known| known.der == authority.der && known.tainted);
    }
    for authority in &mut fetched.jwt_authorities {
        let known = held.jwt_authorities.iter().find(|known| known.key_id == authority.key_id && known.public_key == authority.public_key);
        if let Some(known) = known {
            authority.tainted |= known.tainted;
            authority.expires_at = known.expires_at;
        }
    }
    fetched
}

fn is_same(one: &Bundle, other: &Bundle) -> bool {
    one.same_authorities(other) && one.refresh_hint == other.refresh_hint && one.sequence_number == other.sequence_number
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{JwtAuthority, X509Authority};

    #[test]
    fn a_hint_is_followed_within_bounds() {
        let config = config::Federation::default();
        let seconds = |hint| pause(hint, &config).as_secs();
        assert_eq!(seconds(0), 300, "no hint");
        assert_eq!(seconds(600), 150, "four attempts within the hint");
        assert_eq!(seconds(4), 60, "not more often than the minimum");
        assert_eq!(seconds(u64::MAX), 24 * 3600, "not forgotten");
    }

    #[test]
    fn what_the_document_cannot_say_stays_known() {
        let domain = TrustDomain::new("b.test").unwrap();
        let bundle = |tainted, expires_at| Bundle {
            x509_authorities: vec![X509Authority { der: vec![1], tainted }],
            jwt_authorities: vec![JwtAuthority { key_id: "k".into(), public_key: vec![2], expires_at, tainted }],
            ..Bundle::empty(domain.clone())
        };
        assert_eq!(with_marks_of(bundle(false, 0), &bundle(true, 9)), bundle(true, 9));
    }
}
