use async_trait::async_trait;
use cofide_core::{AttestationPolicyBinding, AttestationPolicyBindingId};

use super::columns::Columns;
use super::connection::{Connection, Row};
use super::statement::{Select, Statement, document, refuse_taken, write, write_existing};
use super::transaction::{Transaction, WriteTransaction};
use crate::{AttestationPolicyBindingFilter, AttestationPolicyBindings, AttestationPolicyBindingsMut, Result};

const NOUN: &str = "attestation policy binding";

/// One row for each zone that a binding federates with, and one row for a binding that federates with none.
const SELECT: &str = "SELECT binding.*, federation.trust_zone_id AS federates_with
    FROM attestation_policy_binding AS binding
    LEFT JOIN attestation_policy_binding_federation AS federation ON federation.binding_id = binding.id";

const ORDER: &str = " ORDER BY binding.created_at, binding.id, federation.position";

const INSERT: &str =
    "INSERT INTO attestation_policy_binding (id, organization_id, trust_zone_id, policy_id, created_at, updated_at, patterns_document)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

const UPDATE: &str = "UPDATE attestation_policy_binding SET
    organization_id = $2, trust_zone_id = $3, policy_id = $4, created_at = $5, updated_at = $6, patterns_document = $7
WHERE id = $1";

fn bind(sql: &'static str, binding: &AttestationPolicyBinding) -> Statement {
    Statement::new(sql)
        .bind(binding.id.as_str())
        .bind(binding.organization_id.as_str())
        .bind(binding.trust_zone_id.as_str())
        .bind(binding.policy_id.as_str())
        .bind(binding.created_at.as_micros())
        .bind(binding.updated_at.as_micros())
        .bind(document(&binding.federates_with_patterns))
}

/// Folds the rows of one binding, which stand together, into one.
fn bindings(rows: &[Row]) -> Result<Vec<AttestationPolicyBinding>> {
    let mut bindings: Vec<AttestationPolicyBinding> = Vec::new();
    for row in rows {
        let columns = Columns::of(NOUN, row);
        let id: AttestationPolicyBindingId = columns.parsed("id")?;
        if bindings.last().is_none_or(|binding| binding.id != id) {
            bindings.push(AttestationPolicyBinding {
                id,
                organization_id: columns.parsed("organization_id")?,
                trust_zone_id: columns.parsed("trust_zone_id")?,
                policy_id: columns.parsed("policy_id")?,
                federates_with: Vec::new(),
                federates_with_patterns: columns.document("patterns_document")?,
                created_at: columns.timestamp("created_at")?,
                updated_at: columns.timestamp("updated_at")?,
            });
        }
        if let Some(binding) = bindings.last_mut() {
            binding.federates_with.extend(columns.parsed_if_any("federates_with")?);
        }
    }
    Ok(bindings)
}

async fn insert_federates_with(connection: &mut Connection, binding: &AttestationPolicyBinding) -> Result<()> {
    const INSERT: &str = "INSERT INTO attestation_policy_binding_federation (binding_id, position, trust_zone_id) VALUES ($1, $2, $3)";
    for (position, zone) in (0i64..).zip(&binding.federates_with) {
        let insert = Statement::new(INSERT).bind(binding.id.as_str()).bind(position).bind(zone.as_str());
        write(connection, insert, NOUN, binding.id.as_str()).await?;
    }
    Ok(())
}

#[async_trait]
impl<Access: Send> AttestationPolicyBindings for Transaction<Access> {
    async fn attestation_policy_binding(&mut self, id: &AttestationPolicyBindingId) -> Result<Option<AttestationPolicyBinding>> {
        let rows = Select::new(SELECT).equal("binding.id", Some(id)).then(ORDER).rows(self.connection()).await?;
        Ok(bindings(&rows)?.pop())
    }

    async fn attestation_policy_bindings(&mut self, filter: &AttestationPolicyBindingFilter) -> Result<Vec<AttestationPolicyBinding>> {
        let select = Select::new(SELECT)
            .equal("binding.organization_id", filter.organization_id.as_ref())
            .equal("binding.trust_zone_id", filter.trust_zone_id.as_ref())
            .equal("binding.policy_id", filter.policy_id.as_ref())
            .then(ORDER);
        bindings(&select.rows(self.connection()).await?)
    }
}

#[async_trait]
impl AttestationPolicyBindingsMut for WriteTransaction {
    async fn insert_attestation_policy_binding(&mut self, binding: &AttestationPolicyBinding) -> Result<()> {
        let (id, policy, zone) = (binding.id.as_str(), binding.policy_id.as_str(), binding.trust_zone_id.as_str());
        let of_pair = "SELECT id FROM attestation_policy_binding WHERE policy_id = $1 AND trust_zone_id = $2";
        let checks = [
            ("SELECT id FROM attestation_policy_binding WHERE id = $1", &[id][..], format!("id {id}")),
            (of_pair, &[policy, zone][..], format!("policy {policy} in trust zone {zone}")),
        ];
        refuse_taken(self.connection(), NOUN, &checks).await?;
        write(self.connection(), bind(INSERT, binding), NOUN, id).await?;
        insert_federates_with(self.connection(), binding).await
    }

    async fn update_attestation_policy_binding(&mut self, binding: &AttestationPolicyBinding) -> Result<()> {
        let id = binding.id.as_str();
        write_existing(self.connection(), bind(UPDATE, binding), NOUN, id).await?;
        let clear = Statement::new("DELETE FROM attestation_policy_binding_federation WHERE binding_id = $1").bind(id);
        write(self.connection(), clear, NOUN, id).await?;
        insert_federates_with(self.connection(), binding).await
    }

    async fn delete_attestation_policy_binding(&mut self, id: &AttestationPolicyBindingId) -> Result<()> {
        let delete = Statement::new("DELETE FROM attestation_policy_binding WHERE id = $1").bind(id.as_str());
        write_existing(self.connection(), delete, NOUN, id.as_str()).await
    }
}
