use async_trait::async_trait;
use cofide_core::{BundleEndpoint, TrustZone, TrustZoneId, parse_trust_domain};

use super::columns::Columns;
use super::connection::Row;
use super::documents::BundleDocument;
use super::statement::{Select, Statement, document, find, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{Result, StoreError, TrustZoneFilter, TrustZones, TrustZonesMut};

const NOUN: &str = "trust zone";

const INSERT: &str = "INSERT INTO trust_zone (
    id, organization_id, name, trust_domain, bundle_document, bundle_endpoint_url, bundle_endpoint_profile, jwt_issuer,
    is_management_zone, created_at, updated_at, bundle_endpoint_spiffe_id
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const UPDATE: &str = "UPDATE trust_zone SET
    organization_id = $2, name = $3, trust_domain = $4, bundle_document = $5, bundle_endpoint_url = $6,
    bundle_endpoint_profile = $7, jwt_issuer = $8, is_management_zone = $9, created_at = $10, updated_at = $11,
    bundle_endpoint_spiffe_id = $12
WHERE id = $1";

fn bind(sql: &'static str, zone: &TrustZone) -> Statement {
    let endpoint = zone.bundle_endpoint.as_ref();
    Statement::new(sql)
        .bind(zone.id.as_str())
        .bind(zone.organization_id.as_str())
        .bind(zone.name.as_str())
        .bind(zone.trust_domain.as_str())
        .bind(zone.bundle.as_ref().map(|bundle| document(&BundleDocument::from(bundle))))
        .bind(endpoint.map(|endpoint| endpoint.url.as_str()))
        .bind(endpoint.map(|endpoint| endpoint.profile.as_str()))
        .bind(zone.jwt_issuer.as_deref())
        .bind(zone.is_management_zone)
        .bind(zone.created_at.as_micros())
        .bind(zone.updated_at.as_micros())
        .bind(endpoint.and_then(|endpoint| endpoint.spiffe_id.as_ref()).map(ToString::to_string))
}

fn trust_zone(row: &Row) -> Result<TrustZone> {
    let columns = Columns::of(NOUN, row);
    let trust_domain = columns.converted("trust_domain", parse_trust_domain(columns.plain("trust_domain")?))?;
    let bundle = columns.document_if_any::<BundleDocument>("bundle_document")?;
    let bundle = bundle.map(|bundle| columns.converted("bundle_document", bundle.into_bundle(trust_domain.clone()))).transpose()?;
    let url: Option<String> = columns.plain("bundle_endpoint_url")?;
    let profile = columns.parsed_if_any("bundle_endpoint_profile")?;
    let spiffe_id = columns.parsed_if_any("bundle_endpoint_spiffe_id")?;
    Ok(TrustZone {
        id: columns.parsed("id")?,
        organization_id: columns.parsed("organization_id")?,
        name: columns.parsed("name")?,
        trust_domain,
        bundle,
        bundle_endpoint: url.zip(profile).map(|(url, profile)| BundleEndpoint { url, profile, spiffe_id }),
        jwt_issuer: columns.plain("jwt_issuer")?,
        is_management_zone: columns.plain("is_management_zone")?,
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> TrustZones for Transaction<Access> {
    async fn trust_zone(&mut self, id: &TrustZoneId) -> Result<Option<TrustZone>> {
        let row = Statement::new("SELECT * FROM trust_zone WHERE id = $1").bind(id.as_str()).row(self.connection()).await?;
        row.as_ref().map(trust_zone).transpose()
    }

    async fn trust_zones(&mut self, filter: &TrustZoneFilter) -> Result<Vec<TrustZone>> {
        let select = Select::new("SELECT * FROM trust_zone")
            .equal("organization_id", filter.organization_id.as_ref())
            .equal("name", filter.name.as_ref())
            .equal("trust_domain", filter.trust_domain.as_ref())
            .then(" ORDER BY name");
        select.rows(self.connection()).await?.iter().map(trust_zone).collect()
    }
}

#[async_trait]
impl TrustZonesMut for WriteTransaction {
    async fn insert_trust_zone(&mut self, zone: &TrustZone) -> Result<()> {
        let (id, name, trust_domain) = (zone.id.as_str(), zone.name.as_str(), zone.trust_domain.as_str());
        let checks = [
            ("SELECT id FROM trust_zone WHERE id = $1", &[id][..], format!("id {id}")),
            ("SELECT id FROM trust_zone WHERE name = $1", &[name][..], format!("name {name:?}")),
            ("SELECT id FROM trust_zone WHERE trust_domain = $1", &[trust_domain][..], format!("trust domain {trust_domain}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, zone), NOUN, id).await?;
        Ok(())
    }

    async fn update_trust_zone(&mut self, zone: &TrustZone) -> Result<()> {
        write_existing(self.connection(), bind(UPDATE, zone), NOUN, zone.id.as_str()).await
    }

    async fn delete_trust_zone(&mut self, id: &TrustZoneId) -> Result<()> {
        let id = id.as_str();
        if let Some(cluster) = find(self.connection(), "SELECT name FROM cluster WHERE trust_zone_id = $1 ORDER BY name", &[id]).await? {
            return Err(StoreError::InUse { noun: NOUN, id: id.to_owned(), by: format!("cluster {cluster}") });
        }
        write_existing(self.connection(), Statement::new("DELETE FROM trust_zone WHERE id = $1").bind(id), NOUN, id).await
    }
}
