use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use cofide_core::AgentId;

use crate::Result;

/// For how long a replica counts as there after it has said so, by the clock of the database.
pub const REPLICA_COUNTS_FOR: Duration = Duration::from_secs(30);

/// The replicas of Connect, which use the database at once, and which agents follow their plan at each.
#[async_trait]
pub trait Replicas: Send {
    /// The agents that follow their plan at another replica than this one.
    async fn agents_followed_elsewhere(&mut self, replica: &str) -> Result<BTreeSet<AgentId>>;
}

#[async_trait]
pub trait ReplicasMut: Replicas {
    /// The replica is there. Answers whether it was not known: then nothing is known of its agents either.
    async fn put_replica(&mut self, replica: &str) -> Result<bool>;
    /// The agent follows its plan at a replica that is known.
    async fn put_agent_stream(&mut self, replica: &str, agent: &AgentId) -> Result<()>;
    /// It is no error where it did not.
    async fn delete_agent_stream(&mut self, replica: &str, agent: &AgentId) -> Result<()>;
    /// The replica ends.
    async fn delete_replica(&mut self, replica: &str) -> Result<()>;
    /// Forgets replicas that do not count as there any more.
    async fn purge_replicas(&mut self) -> Result<()>;
}
