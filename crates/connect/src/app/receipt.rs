//! What agents made of what they were sent, and what that says about each federation.

use std::collections::{BTreeMap, HashMap};

use cofide_api::convert::plan::FEDERATED_TRUST;
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
        let versions = plan.iter().map(|(key, resource)| {
            let name = hub::resource_name(key, self.hub.spiffe_id());
            ((hub::type_url(key).to_owned(), name), hub::version(resource))
        });
        versions.collect()
    }

    pub async fn federation_statuses(&self, filter: &FederationFilter) -> Result<Vec<FederationStatus>> {
        let mut transaction = self.read().await?;
        let federations = transaction.federations(filter).await?;
        let agents = transaction.agents(&AgentFilter::default()).await?;
        let receipts = Reported::new(transaction.receipts(&ReceiptFilter::default()).await?);
        drop(transaction);
        let snapshot = self.hub.snapshot();
        let statuses = federations.into_iter().map(|federation| judge(&snapshot, federation, &agents, &receipts));
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
fn judge(snapshot: &Snapshot, federation: Federation, agents: &[Agent], reported: &Reported) -> FederationStatus {
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
mod tests;
