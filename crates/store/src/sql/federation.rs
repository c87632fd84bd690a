use async_trait::async_trait;
use cofide_core::{Federation, FederationId};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{FederationFilter, Federations, FederationsMut, Result};

const NOUN: &str = "federation";

const INSERT: &str = "INSERT INTO federation (id, organization_id, trust_zone_id, remote_trust_zone_id, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6)";

fn federation(row: &Row) -> Result<Federation> {
    let columns = Columns::of(NOUN, row);
    Ok(Federation {
        id: columns.parsed("id")?,
        organization_id: columns.parsed("organization_id")?,
        trust_zone_id: columns.parsed("trust_zone_id")?,
        remote_trust_zone_id: columns.parsed("remote_trust_zone_id")?,
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> Federations for Transaction<Access> {
    async fn federation(&mut self, id: &FederationId) -> Result<Option<Federation>> {
        let row = Statement::new("SELECT * FROM federation WHERE id = $1").bind(id.as_str()).row(self.connection()).await?;
        row.as_ref().map(federation).transpose()
    }

    async fn federations(&mut self, filter: &FederationFilter) -> Result<Vec<Federation>> {
        let select = Select::new("SELECT * FROM federation")
            .equal("organization_id", filter.organization_id.as_ref())
            .equal("trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("remote_trust_zone_id", filter.remote_trust_zone_id.as_ref())
            .then(" ORDER BY created_at, id");
        select.rows(self.connection()).await?.iter().map(federation).collect()
    }
}

#[async_trait]
impl FederationsMut for WriteTransaction {
    async fn insert_federation(&mut self, federation: &Federation) -> Result<()> {
        let (id, from, to) = (federation.id.as_str(), federation.trust_zone_id.as_str(), federation.remote_trust_zone_id.as_str());
        let of_pair = "SELECT id FROM federation WHERE trust_zone_id = $1 AND remote_trust_zone_id = $2";
        let checks = [
            ("SELECT id FROM federation WHERE id = $1", &[id][..], format!("id {id}")),
            (of_pair, &[from, to][..], format!("the direction {from} -> {to}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        let insert = Statement::new(INSERT)
            .bind(id)
            .bind(federation.organization_id.as_str())
            .bind(from)
            .bind(to)
            .bind(federation.created_at.as_micros())
            .bind(federation.updated_at.as_micros());
        write(self.connection(), insert, NOUN, id).await?;
        Ok(())
    }

    async fn delete_federation(&mut self, id: &FederationId) -> Result<()> {
        let delete = Statement::new("DELETE FROM federation WHERE id = $1").bind(id.as_str());
        write_existing(self.connection(), delete, NOUN, id.as_str()).await
    }
}
