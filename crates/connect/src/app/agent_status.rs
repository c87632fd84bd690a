//! The agents that have joined: whether each is there, and how far it has come.

use std::collections::HashMap;

use cofide_core::{Agent, Receipt, ReceiptOutcome, Revision};
use cofide_store::{AgentFilter, Agents, ReceiptFilter, Receipts};

use super::App;
use super::audit::now;
use super::receipt::{Versions, wanted_versions};
use crate::error::Result;
use crate::presence::Sign;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStanding {
    pub agent: Agent,
    pub sign: Sign,
    /// The revision in effect, where the agent has applied all of it.
    pub applied_revision: Option<Revision>,
    /// Resources that it has not acknowledged in their present form, those that it refused included.
    pub outstanding: usize,
    /// Resources that it refused in their present form.
    pub rejected: usize,
}

impl App {
    pub async fn agent_standings(&self, filter: &AgentFilter) -> Result<Vec<AgentStanding>> {
        let mut transaction = self.read().await?;
        let agents = transaction.agents(filter).await?;
        let about = ReceiptFilter {
            trust_zone_id: filter.trust_zone_id.clone(),
            cluster_id: filter.cluster_id.clone(),
            ..ReceiptFilter::default()
        };
        let mut receipts: HashMap<_, Vec<Receipt>> = HashMap::new();
        for receipt in transaction.receipts(&about).await? {
            receipts.entry(receipt.agent_id.clone()).or_default().push(receipt);
        }
        let elsewhere = self.presence.elsewhere(&mut transaction).await?;
        drop(transaction);
        let (snapshot, now) = (self.hub.snapshot(), now());
        let standing = |agent: Agent| {
            let wanted = wanted_versions(&snapshot, &agent.cluster_id);
            let (outstanding, rejected) = missing(wanted, receipts.get(&agent.id).map(Vec::as_slice).unwrap_or_default());
            let applied_revision = (outstanding == 0).then(|| snapshot.revision());
            AgentStanding { sign: self.presence.of(&agent, &elsewhere, now), agent, applied_revision, outstanding, rejected }
        };
        Ok(agents.into_iter().map(standing).collect())
    }
}

/// How much of what is wanted has not been applied, and how much of that was refused.
fn missing(mut wanted: Versions, receipts: &[Receipt]) -> (usize, usize) {
    let mut rejected = 0;
    for receipt in receipts {
        let key = (receipt.type_url.clone(), receipt.resource_name.clone());
        if wanted.get(&key) != Some(&receipt.version) {
            continue;
        }
        match receipt.outcome {
            ReceiptOutcome::Applied => drop(wanted.remove(&key)),
            ReceiptOutcome::Rejected(_) => rejected += 1,
        }
    }
    (wanted.len(), rejected)
}
