//! The agent's own X.509-SVID, kept fresh from the SPIFFE Workload API.

use std::sync::Arc;
use std::time::Duration;

use cofide_core::{AgentIdentity, Bundle, SpiffeId, TrustDomain, X509Authority};
use cofide_svid::{IdentitySlot, IdentitySource, PrivateKey, X509Svid};
use spiffe::x509_source::SvidPicker;
use spiffe::{X509Source, X509SourceBuilder};
use tokio_util::sync::CancellationToken;

use crate::published::Wake;
use crate::world::World;

const RETRY: Duration = Duration::from_millis(200);
const FIRST_COMPLAINT: Duration = Duration::from_secs(3);
const NEXT_COMPLAINT: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Picks the agent's SVID among those that the Workload API gives this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIdentity(pub AgentIdentity);

impl OwnIdentity {
    /// Whether an SVID with this ID is the agent's: its trust domain, and its cluster or none in particular.
    fn is(&self, id: &SpiffeId) -> bool {
        AgentIdentity::from_spiffe_id(id).is_some_and(|found| {
            found.trust_domain == self.0.trust_domain && (found.cluster_name.is_none() || found.cluster_name == self.0.cluster_name)
        })
    }
}

impl SvidPicker for OwnIdentity {
    fn pick_svid(&self, svids: &[Arc<spiffe::X509Svid>]) -> Option<usize> {
        let found = svids.iter().position(|svid| self.is(svid.spiffe_id()));
        if found.is_none() {
            let offered: Vec<_> = svids.iter().map(|svid| svid.spiffe_id().to_string()).collect();
            tracing::warn!(
                needed = %self.0.spiffe_id(),
                ?offered,
                "the Workload API gives this process no identity of an agent; create an entry for it in the trust zone's server"
            );
        }
        found
    }
}

/// What the Workload API gives, for others to read.
#[derive(Clone, Debug)]
pub struct Received {
    pub identity: Arc<IdentitySlot>,
    pub world: Arc<World>,
}

/// Keeps `received` filled with the agent's SVID and its trust zone's bundle until `shutdown`, and empties it where the
/// Workload API takes the identity back. `changed` is called at each update, also when only a bundle changed.
pub async fn keep_fresh(endpoint: String, own: OwnIdentity, received: Received, changed: Vec<Wake>, shutdown: CancellationToken) {
    let needed = own.0.spiffe_id().to_string();
    let trust_domain = own.0.trust_domain.clone();
    let build = X509SourceBuilder::new().endpoint(&endpoint).picker(own).reconnect_backoff(RETRY, LONGEST_RETRY).build();
    let started = tokio::select! {
        () = shutdown.cancelled() => return,
        started = build => started,
        () = complain(&endpoint, &needed) => return,
    };
    let source = match started {
        Ok(source) => source,
        // Everything that time can mend has been tried until it worked.
        Err(error) => {
            tracing::error!(%endpoint, %error, "the SPIFFE Workload API cannot be used; correct spiffe_endpoint_socket and start again");
            return;
        }
    };
    let mut updates = source.updated();
    loop {
        take(&source, &received.identity);
        received.world.own_bundle.set(bundle(&source, &trust_domain));
        changed.iter().for_each(Wake::wake);
        tokio::select! {
            () = shutdown.cancelled() => break,
            update = updates.changed() => if update.is_err() { break },
        }
    }
    source.shutdown().await;
}

/// Says for what the agent waits, soon and then again and again; the client of the Workload API waits without a word.
async fn complain(endpoint: &str, needed: &str) {
    let mut interval = FIRST_COMPLAINT;
    loop {
        tokio::time::sleep(interval).await;
        interval = NEXT_COMPLAINT;
        tracing::warn!(
            endpoint,
            needed,
            "still without an identity, so Connect cannot be reached; check that the Workload API answers at spiffe_endpoint_socket, and \
             that its server has an entry with this SPIFFE ID whose selectors match this process"
        );
    }
}

fn take(source: &X509Source, slot: &IdentitySlot) {
    let svid = source.svid().map_err(|error| error.to_string()).and_then(|svid| convert(&svid).map_err(|error| error.to_string()));
    match svid {
        Ok(svid) => {
            // An update may be about bundles, or about another identity of this process.
            if slot.identity().is_none_or(|held| held.leaf() != svid.leaf()) {
                tracing::info!(spiffe_id = %svid.spiffe_id, "identity received from the Workload API");
                slot.set(svid);
            }
        }
        Err(error) => {
            tracing::warn!(error, "no identity at the moment; Connect cannot be reached until there is one");
            slot.clear();
        }
    }
}

/// The Workload API tells neither a number nor a refresh hint.
fn bundle(source: &X509Source, trust_domain: &TrustDomain) -> Option<Bundle> {
    let held = source.bundle_set().ok()?.get(trust_domain)?;
    let authority = |der: &[u8]| X509Authority { der: der.to_vec(), tainted: false };
    let x509_authorities = held.authorities().iter().map(|certificate| authority(certificate.as_bytes())).collect();
    Some(Bundle { x509_authorities, ..Bundle::empty(trust_domain.clone()) })
}

fn convert(svid: &spiffe::X509Svid) -> Result<X509Svid, cofide_svid::X509SvidError> {
    let chain: Vec<u8> = svid.cert_chain().iter().flat_map(|certificate| certificate.as_bytes()).copied().collect();
    X509Svid::from_der(&chain, PrivateKey::from_pkcs8_der(svid.private_key().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_recognised_by_trust_domain_and_cluster() {
        let cluster_name = Some("one".parse().unwrap());
        let own = OwnIdentity(AgentIdentity { trust_domain: TrustDomain::new("a.test").unwrap(), cluster_name });
        let is = |id: &str| own.is(&SpiffeId::new(id).unwrap());
        assert!(is("spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent"));
        assert!(is("spiffe://a.test/ns/cofide/sa/cofide-agent"));
        assert!(!is("spiffe://a.test/cluster/two/ns/cofide/sa/cofide-agent"));
        assert!(!is("spiffe://b.test/cluster/one/ns/cofide/sa/cofide-agent"));
        assert!(!is("spiffe://a.test/ns/demo/sa/server"));
    }
}
