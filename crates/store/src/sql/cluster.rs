use async_trait::async_trait;
use cofide_core::{Cluster, ClusterId};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{ClusterFilter, Clusters, ClustersMut, Result};

const NOUN: &str = "cluster";

const INSERT: &str = "INSERT INTO cluster (
    id, organization_id, trust_zone_id, name, profile, kubernetes_context, external_server, oidc_issuer_url,
    oidc_issuer_ca_cert, trust_provider, extra_helm_values, created_at, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

const UPDATE: &str = "UPDATE cluster SET
    organization_id = $2, trust_zone_id = $3, name = $4, profile = $5, kubernetes_context = $6, external_server = $7,
    oidc_issuer_url = $8, oidc_issuer_ca_cert = $9, trust_provider = $10, extra_helm_values = $11, created_at = $12,
    updated_at = $13
WHERE id = $1";

fn bind(sql: &'static str, cluster: &Cluster) -> Statement {
    Statement::new(sql)
        .bind(cluster.id.as_str())
        .bind(cluster.organization_id.as_str())
        .bind(cluster.trust_zone_id.as_str())
        .bind(cluster.name.as_str())
        .bind(cluster.profile.as_str())
        .bind(cluster.kubernetes_context.as_deref())
        .bind(cluster.external_server)
        .bind(cluster.oidc_issuer_url.as_deref())
        .bind(cluster.oidc_issuer_ca_cert.as_deref())
        .bind(cluster.trust_provider.as_deref())
        .bind(cluster.extra_helm_values.as_deref())
        .bind(cluster.created_at.as_micros())
        .bind(cluster.updated_at.as_micros())
}

fn cluster(row: &Row) -> Result<Cluster> {
    let columns = Columns::of(NOUN, row);
    Ok(Cluster {
        id: columns.parsed("id")?,
        organization_id: columns.parsed("organization_id")?,
        trust_zone_id: columns.parsed("trust_zone_id")?,
        name: columns.parsed("name")?,
        profile: columns.parsed("profile")?,
        kubernetes_context: columns.plain("kubernetes_context")?,
        external_server: columns.plain("external_server")?,
        oidc_issuer_url: columns.plain("oidc_issuer_url")?,
        oidc_issuer_ca_cert: columns.plain("oidc_issuer_ca_cert")?,
        trust_provider: columns.plain("trust_provider")?,
        extra_helm_values: columns.plain("extra_helm_values")?,
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> Clusters for Transaction<Access> {
    async fn cluster(&mut self, id: &ClusterId) -> Result<Option<Cluster>> {
        let row = Statement::new("SELECT * FROM cluster WHERE id = $1").bind(id.as_str()).row(self.connection()).await?;
        row.as_ref().map(cluster).transpose()
    }

    async fn clusters(&mut self, filter: &ClusterFilter) -> Result<Vec<Cluster>> {
        let select = Select::new("SELECT * FROM cluster")
            .equal("organization_id", filter.organization_id.as_ref())
            .equal("trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("name", filter.name.as_ref())
            .then(" ORDER BY name, trust_zone_id");
        select.rows(self.connection()).await?.iter().map(cluster).collect()
    }
}

#[async_trait]
impl ClustersMut for WriteTransaction {
    async fn insert_cluster(&mut self, cluster: &Cluster) -> Result<()> {
        let (id, zone, name) = (cluster.id.as_str(), cluster.trust_zone_id.as_str(), cluster.name.as_str());
        let in_zone = "SELECT id FROM cluster WHERE trust_zone_id = $1 AND name = $2";
        let checks = [
            ("SELECT id FROM cluster WHERE id = $1", &[id][..], format!("id {id}")),
            (in_zone, &[zone, name][..], format!("name {name:?} in the same trust zone")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, cluster), NOUN, id).await?;
        Ok(())
    }

    async fn update_cluster(&mut self, cluster: &Cluster) -> Result<()> {
        write_existing(self.connection(), bind(UPDATE, cluster), NOUN, cluster.id.as_str()).await
    }

    async fn delete_cluster(&mut self, id: &ClusterId) -> Result<()> {
        let delete = Statement::new("DELETE FROM cluster WHERE id = $1").bind(id.as_str());
        write_existing(self.connection(), delete, NOUN, id.as_str()).await
    }
}
