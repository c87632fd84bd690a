use std::collections::BTreeMap;

use async_trait::async_trait;
use cofide_core::{AgentId, ClusterId, Receipt, ReceiptOutcome, Timestamp};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{ReceiptFilter, Receipts, ReceiptsMut, Result};

const NOUN: &str = "receipt";

const PUT: &str = "INSERT INTO receipt (agent_id, cluster_id, type_url, resource_name, version, rejection, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (agent_id, type_url, resource_name) DO UPDATE SET
    cluster_id = excluded.cluster_id, version = excluded.version, rejection = excluded.rejection, at = excluded.at";

fn receipt(row: &Row) -> Result<Receipt> {
    let columns = Columns::of(NOUN, row);
    let rejection: Option<String> = columns.plain("rejection")?;
    Ok(Receipt {
        agent_id: columns.parsed("agent_id")?,
        cluster_id: columns.parsed("cluster_id")?,
        type_url: columns.plain("type_url")?,
        resource_name: columns.plain("resource_name")?,
        version: columns.plain("version")?,
        outcome: rejection.map_or(ReceiptOutcome::Applied, ReceiptOutcome::Rejected),
        at: columns.timestamp("at")?,
    })
}

fn select(columns: &'static str, filter: &ReceiptFilter) -> Select {
    let mut select = Select::new(columns)
        .equal("cluster_id", filter.cluster_id.as_ref())
        .equal("type_url", filter.type_url.as_ref())
        .equal("resource_name", filter.resource_name.as_ref());
    if let Some(zone) = &filter.trust_zone_id {
        let condition = select.and().push("cluster_id IN (SELECT id FROM cluster WHERE trust_zone_id = ");
        condition.push_bind(zone.as_str()).push(")");
    }
    select
}

#[async_trait]
impl<Access: Send> Receipts for Transaction<Access> {
    async fn receipts(&mut self, filter: &ReceiptFilter) -> Result<Vec<Receipt>> {
        let select = select("SELECT * FROM receipt", filter).then(" ORDER BY cluster_id, type_url, resource_name, agent_id");
        select.rows(self.connection()).await?.iter().map(receipt).collect()
    }

    async fn latest_receipts(&mut self, filter: &ReceiptFilter) -> Result<BTreeMap<ClusterId, Timestamp>> {
        let select = select("SELECT cluster_id, MAX(at) AS at FROM receipt", filter).then(" GROUP BY cluster_id");
        let latest = |row: &Row| {
            let columns = Columns::of(NOUN, row);
            Ok((columns.parsed("cluster_id")?, columns.timestamp("at")?))
        };
        select.rows(self.connection()).await?.iter().map(latest).collect()
    }
}

#[async_trait]
impl ReceiptsMut for WriteTransaction {
    async fn put_receipt(&mut self, receipt: &Receipt) -> Result<()> {
        let rejection = if let ReceiptOutcome::Rejected(reason) = &receipt.outcome { Some(reason.as_str()) } else { None };
        let put = Statement::new(PUT)
            .bind(receipt.agent_id.as_str())
            .bind(receipt.cluster_id.as_str())
            .bind(receipt.type_url.as_str())
            .bind(receipt.resource_name.as_str())
            .bind(receipt.version.as_str())
            .bind(rejection)
            .bind(receipt.at.as_micros());
        write(self.connection(), put, NOUN, &receipt.resource_name).await?;
        Ok(())
    }

    async fn delete_receipt(&mut self, agent: &AgentId, type_url: &str, resource_name: &str) -> Result<()> {
        const DELETE: &str = "DELETE FROM receipt WHERE agent_id = $1 AND type_url = $2 AND resource_name = $3";
        let delete = Statement::new(DELETE).bind(agent.as_str()).bind(type_url).bind(resource_name);
        write(self.connection(), delete, NOUN, resource_name).await?;
        Ok(())
    }
}
