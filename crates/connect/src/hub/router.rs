//! Which plan a stream sees: that of the cluster whose agent opened it, by its certificate.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cofide_core::{Agent, ReceiptOutcome, Timestamp, one_line};
use cofide_xds::{Cache, Client, Node, Peer, Receipt, Router};
use tonic::Status;

use super::{Hub, ReceiptLog};
use crate::app::audit::now;
use crate::caller::{CallContext, JoinedAgent};
use crate::presence::Presence;

pub struct PlanRouter {
    hub: Hub,
    receipts: ReceiptLog,
    presence: Presence,
}

impl PlanRouter {
    pub fn new(hub: Hub, receipts: ReceiptLog, presence: Presence) -> Self {
        Self { hub, receipts, presence }
    }
}

fn agent(peer: &Peer) -> Option<&JoinedAgent> {
    peer.extensions.get::<CallContext>()?.agent()
}

/// Whether another agent of the same cluster puts resources of this type in effect. The agents of a cluster have one identity, so
/// this is a word of the cluster about itself: it takes no receipt from anybody else.
fn stands_by(client: &Client, type_url: &str) -> bool {
    let feature = cofide_api::convert::plan::standby_for(type_url);
    client.node.client_features.contains(&feature)
}

#[async_trait]
impl Router for PlanRouter {
    /// The node is what the client says of itself, and decides nothing here.
    async fn cache_for(&self, peer: &Peer, _node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        let agent = agent(peer).ok_or_else(|| Status::permission_denied("plans are for agents"))?;
        tracing::info!(agent = %agent.spiffe_id, cluster = %agent.cluster_name, "an agent follows its plan");
        self.presence.stream_began(agent, now());
        Ok(self.hub.cache(&agent.cluster_id))
    }

    async fn on_receipt(&self, receipt: Receipt) {
        let Some(agent) = agent(&receipt.client.peer).cloned() else { return };
        if stands_by(&receipt.client, &receipt.type_url) {
            return;
        }
        self.receipts.record(entries(&agent, &receipt, now()));
    }

    /// What an agent comes back with it has applied, also where its word was lost on the way. A receipt is about what is in
    /// the plan: any other name is taken from the agent in the answer, and may be its invention, so it leaves no trace.
    async fn on_resume(&self, client: &Arc<Client>, type_url: &str, held: HashMap<String, String>) {
        let Some(agent) = agent(&client.peer) else { return };
        if stands_by(client, type_url) {
            return;
        }
        let at = now();
        let plan = self.hub.cache(&agent.cluster_id);
        let is_planned = |(name, _): &(String, String)| plan.get(type_url, name).is_some();
        let applied = |(resource_name, version)| cofide_core::Receipt {
            agent_id: agent.id.clone(),
            cluster_id: agent.cluster_id.clone(),
            type_url: type_url.to_owned(),
            resource_name,
            version,
            outcome: ReceiptOutcome::Applied,
            at,
        };
        self.receipts.record(vec![Entry::Held(held.into_iter().filter(is_planned).map(applied).collect())]);
    }

    async fn on_closed(&self, client: &Arc<Client>) {
        if let Some(agent) = agent(&client.peer) {
            tracing::info!(agent = %agent.spiffe_id, cluster = %agent.cluster_name, "an agent no longer follows its plan");
            self.presence.stream_ended(agent, now());
        }
    }
}

/// What becomes of one resource's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Put(cofide_core::Receipt),
    /// What the agent holds of one type; only what says something new is written.
    Held(Vec<cofide_core::Receipt>),
    /// The agent let go of the resource, and with it of what it said about it.
    Remove {
        agent_id: cofide_core::AgentId,
        type_url: String,
        resource_name: String,
    },
}

fn entries(agent: &JoinedAgent, receipt: &Receipt, at: Timestamp) -> Vec<Entry> {
    let put = |(name, version): &(String, String)| {
        let outcome = match receipt.outcome_of(name) {
            Ok(()) => ReceiptOutcome::Applied,
            Err(reason) => ReceiptOutcome::Rejected(one_line(reason, Agent::LONGEST_WORDS)),
        };
        Entry::Put(cofide_core::Receipt {
            agent_id: agent.id.clone(),
            cluster_id: agent.cluster_id.clone(),
            type_url: receipt.type_url.clone(),
            resource_name: name.clone(),
            version: version.clone(),
            outcome,
            at,
        })
    };
    let remove =
        |name: &String| Entry::Remove { agent_id: agent.id.clone(), type_url: receipt.type_url.clone(), resource_name: name.clone() };
    let removed = receipt.removed.iter().filter(|name| receipt.outcome_of(name).is_ok());
    receipt.resources.iter().map(put).chain(removed.map(remove)).collect()
}
