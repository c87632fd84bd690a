use async_trait::async_trait;
use cofide_core::{Organization, OrganizationId};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, refuse_taken, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{OrganizationFilter, Organizations, OrganizationsMut, Result};

const NOUN: &str = "organization";

fn organization(row: &Row) -> Result<Organization> {
    let columns = Columns::of(NOUN, row);
    Ok(Organization { id: columns.parsed("id")?, name: columns.parsed("name")? })
}

#[async_trait]
impl<Access: Send> Organizations for Transaction<Access> {
    async fn organization(&mut self, id: &OrganizationId) -> Result<Option<Organization>> {
        let row = Statement::new("SELECT * FROM organization WHERE id = $1").bind(id.as_str()).row(self.connection()).await?;
        row.as_ref().map(organization).transpose()
    }

    async fn organizations(&mut self, filter: &OrganizationFilter) -> Result<Vec<Organization>> {
        let select = Select::new("SELECT * FROM organization").equal("name", filter.name.as_ref()).then(" ORDER BY name");
        select.rows(self.connection()).await?.iter().map(organization).collect()
    }
}

#[async_trait]
impl OrganizationsMut for WriteTransaction {
    async fn insert_organization(&mut self, organization: &Organization) -> Result<()> {
        let (id, name) = (organization.id.as_str(), organization.name.as_str());
        let checks = [
            ("SELECT id FROM organization WHERE id = $1", &[id][..], format!("id {id}")),
            ("SELECT id FROM organization WHERE name = $1", &[name][..], format!("name {name:?}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        let insert = Statement::new("INSERT INTO organization (id, name) VALUES ($1, $2)").bind(id).bind(name);
        write(self.connection(), insert, NOUN, id).await?;
        Ok(())
    }
}
