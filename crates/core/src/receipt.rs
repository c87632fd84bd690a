//! What an agent answered about one resource that it was sent.

use crate::{AgentId, ClusterId, Timestamp};

/// The last word of an agent about a resource: which version it applied, or why it could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub agent_id: AgentId,
    pub cluster_id: ClusterId,
    pub type_url: String,
    pub resource_name: String,
    /// The version that the agent speaks of: the hash of the resource's content.
    pub version: String,
    pub outcome: ReceiptOutcome,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptOutcome {
    Applied,
    /// In the agent's words.
    Rejected(String),
}
