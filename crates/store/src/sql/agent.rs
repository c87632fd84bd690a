use async_trait::async_trait;
use cofide_core::{Agent, AgentId, AgentStatus, ClusterId, SpiffeId, Timestamp};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, document, refuse_taken, word, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{AgentFilter, Agents, AgentsMut, Result};

const NOUN: &str = "agent";

const INSERT: &str = "INSERT INTO agent (
    id, cluster_id, trust_zone_id, status_state, status_message, status_updated_at, created_at, updated_at, spiffe_id, last_seen_at,
    status_unmet_conditions_document
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const UPDATE: &str = "UPDATE agent SET
    cluster_id = $2, trust_zone_id = $3, status_state = $4, status_message = $5, status_updated_at = $6, created_at = $7,
    updated_at = $8, spiffe_id = $9, last_seen_at = $10, status_unmet_conditions_document = $11
WHERE id = $1";

fn bind(sql: &'static str, agent: &Agent) -> Statement {
    let status = agent.status.as_ref();
    Statement::new(sql)
        .bind(agent.id.as_str())
        .bind(agent.cluster_id.as_str())
        .bind(agent.trust_zone_id.as_str())
        .bind(status.map(|status| word(status.state)))
        .bind(status.map(|status| status.message.as_str()))
        .bind(status.map(|status| status.updated_at.as_micros()))
        .bind(agent.created_at.as_micros())
        .bind(agent.updated_at.as_micros())
        .bind(agent.spiffe_id.as_ref().map(ToString::to_string))
        .bind(agent.last_seen_at.map(Timestamp::as_micros))
        .bind(document(&status.map(|status| status.unmet_conditions.as_slice()).unwrap_or_default()))
}

fn agent(row: &Row) -> Result<Agent> {
    let columns = Columns::of(NOUN, row);
    let status = match columns.plain::<Option<String>>("status_message")? {
        Some(message) => Some(AgentStatus {
            state: columns.word("status_state")?,
            message,
            unmet_conditions: columns.document("status_unmet_conditions_document")?,
            updated_at: columns.timestamp("status_updated_at")?,
        }),
        None => None,
    };
    let spiffe_id = columns.plain::<Option<String>>("spiffe_id")?;
    let spiffe_id = spiffe_id.map(|text| columns.converted("spiffe_id", SpiffeId::new(text)));
    Ok(Agent {
        id: columns.parsed("id")?,
        cluster_id: columns.parsed("cluster_id")?,
        trust_zone_id: columns.parsed("trust_zone_id")?,
        status,
        spiffe_id: spiffe_id.transpose()?,
        last_seen_at: columns.plain::<Option<i64>>("last_seen_at")?.map(Timestamp),
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> Agents for Transaction<Access> {
    async fn agent(&mut self, id: &AgentId) -> Result<Option<Agent>> {
        let row = Statement::new("SELECT * FROM agent WHERE id = $1").bind(id.as_str()).row(self.connection()).await?;
        row.as_ref().map(agent).transpose()
    }

    async fn agent_of_cluster(&mut self, cluster: &ClusterId) -> Result<Option<Agent>> {
        let select = Statement::new("SELECT * FROM agent WHERE cluster_id = $1").bind(cluster.as_str());
        select.row(self.connection()).await?.as_ref().map(agent).transpose()
    }

    async fn agents(&mut self, filter: &AgentFilter) -> Result<Vec<Agent>> {
        let select = Select::new("SELECT * FROM agent")
            .equal("trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("cluster_id", filter.cluster_id.as_ref())
            .then(" ORDER BY created_at, id");
        select.rows(self.connection()).await?.iter().map(agent).collect()
    }
}

#[async_trait]
impl AgentsMut for WriteTransaction {
    async fn insert_agent(&mut self, agent: &Agent) -> Result<()> {
        let (id, cluster) = (agent.id.as_str(), agent.cluster_id.as_str());
        let checks = [
            ("SELECT id FROM agent WHERE id = $1", &[id][..], format!("id {id}")),
            ("SELECT id FROM agent WHERE cluster_id = $1", &[cluster][..], format!("cluster {cluster}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, agent), NOUN, id).await?;
        Ok(())
    }

    async fn update_agent(&mut self, agent: &Agent) -> Result<()> {
        write_existing(self.connection(), bind(UPDATE, agent), NOUN, agent.id.as_str()).await
    }

    async fn delete_agent(&mut self, id: &AgentId) -> Result<()> {
        let delete = Statement::new("DELETE FROM agent WHERE id = $1").bind(id.as_str());
        write_existing(self.connection(), delete, NOUN, id.as_str()).await
    }
}
