//! What agents made of what they were sent, and what that says about each federation.

use std::collections::{BTreeMap, HashMap};

use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_api::convert::plan_resource;
use cofide_core::{Agent, ClusterId, Federation, Receipt, ReceiptOutcome, Timestamp, TrustDomain};
use cofide_plan::{Key, Snapshot};
use cofide_store::{AgentFilter, Agents, FederationFilter, Federations, ReceiptFilter, Receipts};

use super::App;
use crate::error::Result;
use crate::hub;

/// Whether one direction of trust works, as far as the agents of the trusting zone have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationStatus {
    pub federation: Federation,
    pub health: Health,
    /// For a person to read; empty where all is well.
    pub reason: String,
    /// The oldest word that the judgement rests on; absent where nobody has said anything.
    pub observed_at: Option<Timestamp>,
}

/// In the order of badness: of several clusters, the worst is the zone's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Every agent of the zone that has joined holds the remote zone's present bundle.
    Healthy,
    /// The remote zone has delivered no bundle yet.
    Waiting,
    /// No agent of the zone has ever said anything.
    Unknown,
    /// An agent refused the bundle, holds an older one, or none.
    Unhealthy,
}

impl App {
    /// The last receipt of each resource and cluster, and whether it is about what the cluster is meant to have now.
    pub async fn receipts(&self, filter: &ReceiptFilter) -> Result<Vec<(Receipt, bool)>> {
        let receipts = self.read().await?.receipts(filter).await?;
        let snapshot = self.hub.snapshot();
        let mut wanted: HashMap<ClusterId, BTreeMap<(String, String), String>> = HashMap::new();
        let mut answer = Vec::new();
        for receipt in receipts {
            let versions = wanted.entry(receipt.cluster_id.clone()).or_insert_with(|| self.wanted_versions(&snapshot, &receipt.cluster_id));
            let version = versions.get(&(receipt.type_url.clone(), receipt.resource_name.clone()));
            let is_current = version.is_some_and(|version| *version == receipt.version);
            answer.push((receipt, is_current));
        }
        Ok(answer)
    }

    fn wanted_versions(&self, snapshot: &Snapshot, cluster: &ClusterId) -> BTreeMap<(String, String), String> {
        let plan = cofide_plan::plan(snapshot, cluster);
        let versions = plan
            .iter()
            .map(|(key, resource)| ((plan_resource::type_url(key).to_owned(), plan_resource::name_of(resource)), hub::version(resource)));
        versions.collect()
    }

    pub async fn federation_statuses(&self, filter: &FederationFilter) -> Result<Vec<FederationStatus>> {
        let mut transaction = self.read().await?;
        let federations = transaction.federations(filter).await?;
        let agents = transaction.agents(&AgentFilter::default()).await?;
        let receipts = Reported::new(transaction.receipts(&ReceiptFilter::default()).await?);
        drop(transaction);
        let snapshot = self.hub.snapshot();
        let statuses = federations.iter().map(|federation| judge(&snapshot, federation, &agents, &receipts));
        Ok(statuses.collect())
    }
}

/// Receipts by what they are about.
struct Reported {
    trust: HashMap<(ClusterId, String), Receipt>,
    latest: HashMap<ClusterId, Timestamp>,
}

impl Reported {
    fn new(receipts: Vec<Receipt>) -> Self {
        let mut reported = Self { trust: HashMap::new(), latest: HashMap::new() };
        for receipt in receipts {
            let latest = reported.latest.entry(receipt.cluster_id.clone()).or_insert(receipt.at);
            *latest = receipt.at.max(*latest);
            if receipt.type_url == FEDERATED_TRUST {
                reported.trust.insert((receipt.cluster_id.clone(), receipt.resource_name.clone()), receipt);
            }
        }
        reported
    }
}

/// `agents` may be of any zone; those of the trusting zone count.
fn judge(snapshot: &Snapshot, federation: &Federation, agents: &[Agent], reported: &Reported) -> FederationStatus {
    let status = |health, reason: String, observed_at| FederationStatus { federation: federation.clone(), health, reason, observed_at };
    let Some(remote) = snapshot.trust_zone(&federation.remote_trust_zone_id) else {
        return status(Health::Unknown, "the remote trust zone is not known".into(), None);
    };
    if remote.bundle.is_none() {
        return status(Health::Waiting, format!("trust zone {} has not delivered its bundle yet", remote.name), None);
    }
    let agents = agents.iter().filter(|agent| agent.trust_zone_id == federation.trust_zone_id);
    let verdicts: Vec<_> = agents.map(|agent| verdict(snapshot, &agent.cluster_id, &remote.trust_domain, reported)).collect();
    let observed_at = verdicts.iter().filter_map(|verdict| verdict.2).min();
    match verdicts.into_iter().max_by_key(|verdict| verdict.0) {
        Some((health, reason, _)) => status(health, reason, observed_at),
        None => status(Health::Unknown, "no agent of the trust zone has joined".into(), None),
    }
}

/// What one cluster holds of the remote bundle.
fn verdict(snapshot: &Snapshot, cluster: &ClusterId, remote: &TrustDomain, reported: &Reported) -> (Health, String, Option<Timestamp>) {
    let name = snapshot.cluster(cluster).map_or_else(|| cluster.to_string(), |cluster| cluster.name.to_string());
    let Some(receipt) = reported.trust.get(&(cluster.clone(), remote.to_string())) else {
        return match reported.latest.get(cluster) {
            Some(latest) => (Health::Unhealthy, "No bundle found".into(), Some(*latest)),
            None => (Health::Unknown, format!("the agent of cluster {name} has not reported yet"), None),
        };
    };
    let wanted = cofide_plan::resource(snapshot, cluster, &Key::Trust(remote.clone())).map(|resource| hub::version(&resource));
    match &receipt.outcome {
        ReceiptOutcome::Rejected(reason) => (Health::Unhealthy, format!("cluster {name}: {reason}"), Some(receipt.at)),
        ReceiptOutcome::Applied if wanted.as_ref() == Some(&receipt.version) => (Health::Healthy, String::new(), Some(receipt.at)),
        ReceiptOutcome::Applied => (Health::Unhealthy, "Bundles do not match".into(), Some(receipt.at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_api::convert::plan::IMPORTED_SERVICE;
    use cofide_core::{Bundle, Cluster, Noun, Profile, TrustZone, X509Authority};

    fn zone(name: &str) -> TrustZone {
        let trust_domain = TrustDomain::new(format!("{name}.test")).unwrap();
        let authority = X509Authority { der: name.as_bytes().to_vec(), tainted: false };
        TrustZone {
            id: format!("tz-{name}").parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            name: name.parse().unwrap(),
            bundle: Some(Bundle { x509_authorities: vec![authority], ..Bundle::empty(trust_domain.clone()) }),
            trust_domain,
            bundle_endpoint: None,
            jwt_issuer: None,
            is_management_zone: false,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn cluster(name: &str) -> Cluster {
        Cluster {
            id: format!("cl-{name}").parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            name: name.parse().unwrap(),
            profile: Profile::Host,
            kubernetes_context: None,
            external_server: false,
            oidc_issuer_url: None,
            oidc_issuer_ca_cert: None,
            trust_provider: None,
            extra_helm_values: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn federation() -> Federation {
        Federation {
            id: "fd".parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            remote_trust_zone_id: "tz-b".parse().unwrap(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn agent(cluster: &str) -> Agent {
        Agent {
            id: format!("ag-{cluster}").parse().unwrap(),
            cluster_id: format!("cl-{cluster}").parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            status: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    /// Zone a, with clusters one and two, trusts zone b.
    fn world() -> Snapshot {
        let nouns: [Noun; 5] = [zone("a").into(), zone("b").into(), cluster("one").into(), cluster("two").into(), federation().into()];
        nouns.into_iter().collect()
    }

    fn receipt(cluster: &str, type_url: &str, resource_name: &str, version: &str, at: i64) -> Receipt {
        Receipt {
            agent_id: agent(cluster).id,
            cluster_id: agent(cluster).cluster_id,
            type_url: type_url.into(),
            resource_name: resource_name.into(),
            version: version.into(),
            outcome: ReceiptOutcome::Applied,
            at: Timestamp(at),
        }
    }

    fn current() -> String {
        let key = Key::Trust(TrustDomain::new("b.test").unwrap());
        hub::version(&cofide_plan::resource(&world(), &"cl-one".parse().unwrap(), &key).unwrap())
    }

    fn judged(agents: &[Agent], receipts: &[Receipt]) -> (Health, String, Option<Timestamp>) {
        let status = judge(&world(), &federation(), agents, &Reported::new(receipts.to_vec()));
        (status.health, status.reason, status.observed_at)
    }

    #[test]
    fn a_federation_is_as_healthy_as_the_worst_of_its_clusters() {
        let (one, two) = (agent("one"), agent("two"));
        let good = |cluster, at| receipt(cluster, FEDERATED_TRUST, "b.test", &current(), at);
        let old = |cluster, at| receipt(cluster, FEDERATED_TRUST, "b.test", "old", at);
        let refused = |at| Receipt { outcome: ReceiptOutcome::Rejected("disk full".into()), ..good("two", at) };
        let both = [one.clone(), two];
        assert_eq!(judged(&[], &[]).0, Health::Unknown);
        assert_eq!(judged(std::slice::from_ref(&one), &[good("one", 7)]), (Health::Healthy, String::new(), Some(Timestamp(7))));
        assert_eq!(judged(std::slice::from_ref(&one), &[good("one", 7), old("two", 8)]).0, Health::Healthy, "cluster two has no agent");
        assert_eq!(judged(&both, &[good("one", 7)]).0, Health::Unknown);
        assert_eq!(judged(&both, &[good("one", 7), good("two", 5)]), (Health::Healthy, String::new(), Some(Timestamp(5))));
        assert_eq!(judged(&both, &[good("one", 7), old("two", 5)]).1, "Bundles do not match");
        assert_eq!(judged(&both, &[old("one", 7)]).0, Health::Unhealthy, "what is known to be bad outweighs what is not known");
        assert_eq!(judged(&both, &[good("one", 7), refused(9)]).1, "cluster two: disk full");
    }

    #[test]
    fn an_agent_that_reports_other_things_but_no_bundle_has_none() {
        let other = receipt("one", IMPORTED_SERVICE, "server.demo.b.test", "1", 3);
        let judged = judged(&[agent("one")], &[other]);
        assert_eq!(judged, (Health::Unhealthy, "No bundle found".into(), Some(Timestamp(3))));
    }
}
