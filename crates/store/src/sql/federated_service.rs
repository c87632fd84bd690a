use std::collections::BTreeSet;

use async_trait::async_trait;
use cofide_core::{ClusterId, FederatedService, FederatedServiceId, Port, ServiceName, TrustDomain, parse_trust_domain};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, document, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{FederatedServiceFilter, FederatedServices, FederatedServicesMut, Result};

const NOUN: &str = "federated service";

const INSERT: &str = "INSERT INTO federated_service (
    id, name, namespace, trust_zone_id, cluster_id, cluster_name, trust_domain, hostname, workload_labels_document,
    exported_trust_domains_document, port, tls_mode, gateway_entries_document, gateway_specs_document,
    spiffe_id_paths_document, created_at, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

const UPDATE: &str = "UPDATE federated_service SET
    name = $2, namespace = $3, trust_zone_id = $4, cluster_id = $5, cluster_name = $6, trust_domain = $7, hostname = $8,
    workload_labels_document = $9, exported_trust_domains_document = $10, port = $11, tls_mode = $12,
    gateway_entries_document = $13, gateway_specs_document = $14, spiffe_id_paths_document = $15, created_at = $16,
    updated_at = $17
WHERE id = $1";

fn bind(sql: &'static str, service: &FederatedService) -> Statement {
    let exported: Vec<_> = service.exported_trust_domains.iter().map(TrustDomain::as_str).collect();
    Statement::new(sql)
        .bind(service.id.as_str())
        .bind(service.name.name.as_str())
        .bind(service.name.namespace.as_str())
        .bind(service.trust_zone_id.as_str())
        .bind(service.cluster_id.as_str())
        .bind(service.cluster_name.as_str())
        .bind(service.trust_domain.as_str())
        .bind(service.hostname.as_str())
        .bind(document(&service.workload_labels))
        .bind(document(&exported))
        .bind(i64::from(service.port.get()))
        .bind(service.tls_mode.as_str())
        .bind(document(&service.gateway_entries))
        .bind(document(&service.gateway_specs))
        .bind(document(&service.spiffe_id_paths))
        .bind(service.created_at.as_micros())
        .bind(service.updated_at.as_micros())
}

fn federated_service(row: &Row) -> Result<FederatedService> {
    let columns = Columns::of(NOUN, row);
    let exported: Vec<String> = columns.document("exported_trust_domains_document")?;
    let exported: Result<BTreeSet<_>, _> = exported.iter().map(|name| parse_trust_domain(name)).collect();
    Ok(FederatedService {
        id: columns.parsed("id")?,
        name: ServiceName { name: columns.parsed("name")?, namespace: columns.parsed("namespace")? },
        trust_zone_id: columns.parsed("trust_zone_id")?,
        cluster_id: columns.parsed("cluster_id")?,
        cluster_name: columns.parsed("cluster_name")?,
        trust_domain: columns.converted("trust_domain", parse_trust_domain(columns.plain("trust_domain")?))?,
        hostname: columns.parsed("hostname")?,
        workload_labels: columns.document("workload_labels_document")?,
        exported_trust_domains: columns.converted("exported_trust_domains_document", exported)?,
        port: columns.converted("port", Port::try_from(columns.plain::<i64>("port")?))?,
        tls_mode: columns.parsed("tls_mode")?,
        gateway_entries: columns.document("gateway_entries_document")?,
        gateway_specs: columns.document("gateway_specs_document")?,
        spiffe_id_paths: columns.document("spiffe_id_paths_document")?,
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> FederatedServices for Transaction<Access> {
    async fn federated_service(&mut self, id: &FederatedServiceId) -> Result<Option<FederatedService>> {
        let select = Statement::new("SELECT * FROM federated_service WHERE id = $1").bind(id.as_str());
        select.row(self.connection()).await?.as_ref().map(federated_service).transpose()
    }

    async fn federated_services(&mut self, filter: &FederatedServiceFilter) -> Result<Vec<FederatedService>> {
        let mut select = Select::new("SELECT * FROM federated_service")
            .equal("trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("cluster_id", filter.cluster_id.as_ref())
            .equal("hostname", filter.hostname.as_ref());
        if let Some(organization) = &filter.organization_id {
            let condition = select.and().push("trust_zone_id IN (SELECT id FROM trust_zone WHERE organization_id = ");
            condition.push_bind(organization.as_str()).push(")");
        }
        let select = select.then(" ORDER BY hostname, created_at, id");
        select.rows(self.connection()).await?.iter().map(federated_service).collect()
    }

    async fn federated_service_count(&mut self, cluster: &ClusterId) -> Result<u64> {
        let count = Statement::new("SELECT COUNT(*) FROM federated_service WHERE cluster_id = $1").bind(cluster.as_str());
        Ok(count.number(self.connection()).await?.cast_unsigned())
    }
}

#[async_trait]
impl FederatedServicesMut for WriteTransaction {
    async fn insert_federated_service(&mut self, service: &FederatedService) -> Result<()> {
        let (id, hostname, cluster) = (service.id.as_str(), service.hostname.as_str(), service.cluster_id.as_str());
        let in_cluster = "SELECT id FROM federated_service WHERE hostname = $1 AND cluster_id = $2";
        let checks = [
            ("SELECT id FROM federated_service WHERE id = $1", &[id][..], format!("id {id}")),
            (in_cluster, &[hostname, cluster][..], format!("hostname {hostname} in cluster {}", service.cluster_name)),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, service), NOUN, id).await?;
        Ok(())
    }

    async fn update_federated_service(&mut self, service: &FederatedService) -> Result<()> {
        write_existing(self.connection(), bind(UPDATE, service), NOUN, service.id.as_str()).await
    }

    async fn delete_federated_service(&mut self, id: &FederatedServiceId) -> Result<()> {
        let delete = Statement::new("DELETE FROM federated_service WHERE id = $1").bind(id.as_str());
        write_existing(self.connection(), delete, NOUN, id.as_str()).await
    }
}
