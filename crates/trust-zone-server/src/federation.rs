//! Polling of federation partners, by the rules of this server.
//!
//! ```text
//!  relationships ──> Poller ──> client (https_spiffe | https_web) ──> Bundle ──> rules ──> datastore
//!       ▲ watched                 timeout, size limit, no redirects              not older, not emptied
//! ```
//!
//! What an endpoint says replaces the held bundle only by the rules of [`Bundle::may_replace`]; a person can overrule
//! them by setting the bundle through the API.

use std::sync::Arc;

use cofide_bundle_endpoint::{BundleClient, BundleEndpoint, BundleTaker, Pace, Poller, RefreshError, WebRoots};
use cofide_core::{Bundle, BundleError, TrustDomain};
use cofide_svid::BundleSource;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::config;
use crate::datastore::{Content, Datastore, DatastoreError, FederationRelationship};
use crate::metrics::Metrics;

/// Why a bundle that was fetched is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}; the held bundle stays in force: if the trust domain really began anew, set its bundle through the API")]
    Bundle(#[from] BundleError),
    #[error("the relationship has changed in the meantime")]
    Superseded,
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
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
    pace: Pace,
}

impl Federation {
    pub fn new(bundles: HeldBundles, metrics: Metrics, config: config::Federation) -> Self {
        let client = BundleClient {
            bundles: Arc::new(bundles.clone()),
            timeout: config.timeout,
            web_roots: WebRoots::new(config.web_roots, "federation.web_roots"),
        };
        let pace = Pace { shortest: config.minimum_poll_interval, without_hint: config.default_poll_interval };
        Self { bundles, client: Arc::new(client), metrics, pace }
    }

    /// Polls all partners until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changes = self.bundles.datastore.subscribe();
        let mut poller = Poller::new(self.client.clone(), self.pace, self.clone());
        loop {
            let content = changes.borrow_and_update().clone();
            poller.poll(content.relationships().cloned());
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Asks the partner once, now.
    pub async fn refresh(&self, relationship: &Arc<FederationRelationship>) -> Result<(), RefreshError<Refusal>> {
        cofide_bundle_endpoint::refresh(&self.client, self, relationship).await
    }
}

impl BundleTaker for Federation {
    type Partner = Arc<FederationRelationship>;
    type Refusal = Refusal;

    fn endpoint(relationship: &Arc<FederationRelationship>) -> BundleEndpoint {
        relationship.endpoint()
    }

    async fn take(&self, relationship: &Arc<FederationRelationship>, fetched: Bundle) -> Result<(), Refusal> {
        let trust_domain = &relationship.trust_domain;
        let take = |content: &mut Content| {
            if content.relationship(trust_domain) != Some(relationship) {
                return Err(Refusal::Superseded);
            }
            let fetched = match content.bundle(trust_domain) {
                Some(held) => {
                    let fetched = with_marks_of(fetched, held);
                    if is_same(&fetched, held) {
                        return Ok(false);
                    }
                    fetched.may_replace(held)?;
                    fetched
                }
                None => fetched,
            };
            content.set_bundle(fetched);
            Ok(true)
        };
        if self.bundles.datastore.update(take).await?? {
            tracing::info!(%trust_domain, url = %relationship.bundle_endpoint_url, "took the partner's new bundle");
        }
        Ok(())
    }

    fn attempted(&self, relationship: &Arc<FederationRelationship>, outcome: &Result<(), RefreshError<Refusal>>) {
        self.metrics.refreshed(&relationship.trust_domain, outcome.is_ok());
    }
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
