use std::collections::BTreeSet;

use async_trait::async_trait;
use cofide_core::AgentId;

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Statement, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{REPLICA_COUNTS_FOR, Replicas, ReplicasMut, Result};

const NOUN: &str = "replica";

const ELSEWHERE: &str = "SELECT DISTINCT agent_id FROM agent_stream JOIN replica ON replica.id = agent_stream.replica_id
WHERE replica.id <> $1 AND replica.seen_at > $2";

const PUT_STREAM: &str = "INSERT INTO agent_stream (agent_id, replica_id) VALUES ($1, $2) ON CONFLICT (agent_id, replica_id) DO NOTHING";

impl<Access: Send> Transaction<Access> {
    /// The clock of the database, in microseconds since the Unix epoch: those of its replicas need not agree.
    async fn clock(&mut self) -> Result<i64> {
        let clock = Statement::new(self.connection().clock());
        clock.number(self.connection()).await
    }

    /// Who has been there after this counts as there.
    async fn silence(&mut self) -> Result<i64> {
        let counts_for = i64::try_from(REPLICA_COUNTS_FOR.as_micros()).unwrap_or(i64::MAX);
        Ok(self.clock().await?.saturating_sub(counts_for))
    }
}

#[async_trait]
impl<Access: Send> Replicas for Transaction<Access> {
    async fn agents_followed_elsewhere(&mut self, replica: &str) -> Result<BTreeSet<AgentId>> {
        let select = Statement::new(ELSEWHERE).bind(replica).bind(self.silence().await?);
        let agent = |row: &Row| Columns::of(NOUN, row).parsed("agent_id");
        select.rows(self.connection()).await?.iter().map(agent).collect()
    }
}

#[async_trait]
impl ReplicasMut for WriteTransaction {
    async fn put_replica(&mut self, replica: &str) -> Result<bool> {
        let now = self.clock().await?;
        let update = Statement::new("UPDATE replica SET seen_at = $2 WHERE id = $1").bind(replica).bind(now);
        if write(self.connection(), update, NOUN, replica).await? > 0 {
            return Ok(false);
        }
        let insert = Statement::new("INSERT INTO replica (id, seen_at) VALUES ($1, $2)").bind(replica).bind(now);
        write(self.connection(), insert, NOUN, replica).await?;
        Ok(true)
    }

    async fn put_agent_stream(&mut self, replica: &str, agent: &AgentId) -> Result<()> {
        write(self.connection(), Statement::new(PUT_STREAM).bind(agent.as_str()).bind(replica), NOUN, replica).await?;
        Ok(())
    }

    async fn delete_agent_stream(&mut self, replica: &str, agent: &AgentId) -> Result<()> {
        let delete = Statement::new("DELETE FROM agent_stream WHERE agent_id = $1 AND replica_id = $2").bind(agent.as_str()).bind(replica);
        write(self.connection(), delete, NOUN, replica).await?;
        Ok(())
    }

    async fn delete_replica(&mut self, replica: &str) -> Result<()> {
        write(self.connection(), Statement::new("DELETE FROM replica WHERE id = $1").bind(replica), NOUN, replica).await?;
        Ok(())
    }

    async fn purge_replicas(&mut self) -> Result<()> {
        let silence = self.silence().await?;
        write(self.connection(), Statement::new("DELETE FROM replica WHERE seen_at <= $1").bind(silence), NOUN, "of long ago").await?;
        Ok(())
    }
}
