use async_trait::async_trait;
use cofide_core::{AttestationPolicy, AttestationPolicyId, PolicyKind};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Select, Statement, document, find, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{AttestationPolicies, AttestationPoliciesMut, AttestationPolicyFilter, Result, StoreError};

const NOUN: &str = "attestation policy";

const INSERT: &str = "INSERT INTO attestation_policy (
    id, organization_id, name, kind, kind_document, ek_hash, trust_zone_id, federations_document, created_at, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const UPDATE: &str = "UPDATE attestation_policy SET
    organization_id = $2, name = $3, kind = $4, kind_document = $5, ek_hash = $6, trust_zone_id = $7,
    federations_document = $8, created_at = $9, updated_at = $10
WHERE id = $1";

fn bind(sql: &'static str, policy: &AttestationPolicy) -> Statement {
    let ek_hash = if let PolicyKind::TpmNode(tpm) = &policy.kind { tpm.ek_hash.as_deref() } else { None };
    Statement::new(sql)
        .bind(policy.id.as_str())
        .bind(policy.organization_id.as_str())
        .bind(policy.name.as_str())
        .bind(policy.kind.as_str())
        .bind(document(&policy.kind))
        .bind(ek_hash)
        .bind(policy.trust_zone_id.as_ref().map(|id| id.as_str()))
        .bind(document(&policy.federations))
        .bind(policy.created_at.as_micros())
        .bind(policy.updated_at.as_micros())
}

fn attestation_policy(row: &Row) -> Result<AttestationPolicy> {
    let columns = Columns::of(NOUN, row);
    Ok(AttestationPolicy {
        id: columns.parsed("id")?,
        organization_id: columns.parsed("organization_id")?,
        name: columns.parsed("name")?,
        trust_zone_id: columns.parsed_if_any("trust_zone_id")?,
        federations: columns.document("federations_document")?,
        kind: columns.document("kind_document")?,
        created_at: columns.timestamp("created_at")?,
        updated_at: columns.timestamp("updated_at")?,
    })
}

#[async_trait]
impl<Access: Send> AttestationPolicies for Transaction<Access> {
    async fn attestation_policy(&mut self, id: &AttestationPolicyId) -> Result<Option<AttestationPolicy>> {
        let select = Statement::new("SELECT * FROM attestation_policy WHERE id = $1").bind(id.as_str());
        select.row(self.connection()).await?.as_ref().map(attestation_policy).transpose()
    }

    async fn attestation_policies(&mut self, filter: &AttestationPolicyFilter) -> Result<Vec<AttestationPolicy>> {
        let select = Select::new("SELECT * FROM attestation_policy")
            .equal("organization_id", filter.organization_id.as_ref())
            .equal("name", filter.name.as_ref())
            .equal("trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("kind", filter.kind.as_ref())
            .equal("ek_hash", filter.ek_hash.as_ref())
            .then(" ORDER BY name");
        select.rows(self.connection()).await?.iter().map(attestation_policy).collect()
    }
}

#[async_trait]
impl AttestationPoliciesMut for WriteTransaction {
    async fn insert_attestation_policy(&mut self, policy: &AttestationPolicy) -> Result<()> {
        let (id, name) = (policy.id.as_str(), policy.name.as_str());
        let checks = [
            ("SELECT id FROM attestation_policy WHERE id = $1", &[id][..], format!("id {id}")),
            ("SELECT id FROM attestation_policy WHERE name = $1", &[name][..], format!("name {name:?}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, policy), NOUN, id).await?;
        Ok(())
    }

    async fn update_attestation_policy(&mut self, policy: &AttestationPolicy) -> Result<()> {
        write_existing(self.connection(), bind(UPDATE, policy), NOUN, policy.id.as_str()).await
    }

    async fn delete_attestation_policy(&mut self, id: &AttestationPolicyId) -> Result<()> {
        const BOUND: &str = "SELECT trust_zone.name FROM attestation_policy_binding
            JOIN trust_zone ON trust_zone.id = attestation_policy_binding.trust_zone_id
            WHERE policy_id = $1 ORDER BY trust_zone.name";
        let id = id.as_str();
        if let Some(zone) = find(self.connection(), BOUND, &[id]).await? {
            return Err(StoreError::InUse { noun: NOUN, id: id.to_owned(), by: format!("a binding in trust zone {zone}") });
        }
        write_existing(self.connection(), Statement::new("DELETE FROM attestation_policy WHERE id = $1").bind(id), NOUN, id).await
    }
}
