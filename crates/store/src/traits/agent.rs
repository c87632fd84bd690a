use async_trait::async_trait;
use cofide_core::{Agent, AgentId, ClusterId};

use crate::{AgentFilter, Result};

#[async_trait]
pub trait Agents: Send {
    async fn agent(&mut self, id: &AgentId) -> Result<Option<Agent>>;
    async fn agent_of_cluster(&mut self, cluster: &ClusterId) -> Result<Option<Agent>>;
    /// The oldest first.
    async fn agents(&mut self, filter: &AgentFilter) -> Result<Vec<Agent>>;
}

#[async_trait]
pub trait AgentsMut: Agents {
    /// The id must be new, and the cluster must have no agent yet.
    async fn insert_agent(&mut self, agent: &Agent) -> Result<()>;
    async fn update_agent(&mut self, agent: &Agent) -> Result<()>;
    /// Takes the agent's receipts with it.
    async fn delete_agent(&mut self, id: &AgentId) -> Result<()>;
}
