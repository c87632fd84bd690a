//! Attestation policies. What a policy says is checked where it is read; here are the rules between policies and the rest.

use cofide_api::convert::attestation_policy::Draft;
use cofide_core::{AttestationPolicy, AttestationPolicyId, Change, EntityKind, EventKind};
use cofide_store::{
    AttestationPolicies, AttestationPoliciesMut, AttestationPolicyBindingFilter, AttestationPolicyBindings, AttestationPolicyFilter,
    TrustZones, WriteTransaction,
};
use serde_json::{Value, json};

use super::App;
use super::audit::{event, now};
use super::trust_zone::{self, assigned_by_connect, immutable, required};
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

pub(super) const NOUN: &str = "attestation policy";

impl App {
    pub async fn attestation_policy(&self, id: &AttestationPolicyId) -> Result<AttestationPolicy> {
        self.read().await?.attestation_policy(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn attestation_policies(&self, filter: &AttestationPolicyFilter) -> Result<Vec<AttestationPolicy>> {
        Ok(self.read().await?.attestation_policies(filter).await?)
    }

    pub async fn create_attestation_policy(&self, context: &CallContext, draft: Draft) -> Result<AttestationPolicy> {
        assigned_by_connect("attestation_policy.id", draft.id.as_ref())?;
        let mut transaction = self.write().await?;
        check_zones(&mut transaction, &draft).await?;
        let same = AttestationPolicyFilter { name: Some(draft.name.clone()), ..AttestationPolicyFilter::default() };
        if !transaction.attestation_policies(&same).await?.is_empty() {
            return Err(Error::AlreadyExists(format!("an attestation policy with the name {} exists already", draft.name)));
        }
        let policy = AttestationPolicy {
            id: id::attestation_policy(),
            organization_id: self.owner(&mut transaction, "attestation_policy.org_id", draft.organization_id).await?,
            name: draft.name,
            trust_zone_id: draft.trust_zone_id,
            federations: draft.federations,
            kind: draft.kind,
            created_at: now(),
            updated_at: now(),
        };
        transaction.insert_attestation_policy(&policy).await?;
        let message = format!("{} attestation policy {} created", policy.kind.as_str(), policy.name);
        let event = event(context, EventKind::AttestationPolicyCreation, message, [link(&policy)], &snapshot(&policy));
        self.commit(transaction, Some(Change::AttestationPolicy(policy.id.clone())), event).await?;
        Ok(policy)
    }

    /// Replaces everything but name and organization, which may be repeated and cannot change.
    pub async fn update_attestation_policy(&self, context: &CallContext, draft: Draft) -> Result<AttestationPolicy> {
        let mut transaction = self.write().await?;
        check_zones(&mut transaction, &draft).await?;
        let id = required("attestation_policy.id", draft.id)?;
        let held = transaction.attestation_policy(&id).await?.ok_or_else(|| Error::not_found(NOUN, &id))?;
        immutable("attestation_policy.name", Some(&draft.name), &held.name)?;
        immutable("attestation_policy.org_id", draft.organization_id.as_ref(), &held.organization_id)?;
        let policy = AttestationPolicy {
            trust_zone_id: draft.trust_zone_id,
            federations: draft.federations,
            kind: draft.kind,
            updated_at: now(),
            ..held
        };
        transaction.update_attestation_policy(&policy).await?;
        let message = format!("attestation policy {} updated", policy.name);
        let event = event(context, EventKind::AttestationPolicyUpdate, message, [link(&policy)], &snapshot(&policy));
        self.commit(transaction, Some(Change::AttestationPolicy(policy.id.clone())), event).await?;
        Ok(policy)
    }

    pub async fn destroy_attestation_policy(&self, context: &CallContext, id: &AttestationPolicyId) -> Result<()> {
        let mut transaction = self.write().await?;
        let policy = transaction.attestation_policy(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        let bound = AttestationPolicyBindingFilter { policy_id: Some(id.clone()), ..AttestationPolicyBindingFilter::default() };
        if let Some(binding) = transaction.attestation_policy_bindings(&bound).await?.first() {
            let zone = transaction.trust_zone(&binding.trust_zone_id).await?;
            let zone = zone.map_or_else(|| binding.trust_zone_id.to_string(), |zone| zone.name.to_string());
            return Err(Error::FailedPrecondition(format!(
                "attestation policy {policy} is bound in trust zone {zone}; remove the binding first: cofidectl attestation-policy-binding \
                 del --trust-zone {zone} --attestation-policy {policy}",
                policy = policy.name
            )));
        }
        transaction.delete_attestation_policy(id).await?;
        let message = format!("attestation policy {} deleted", policy.name);
        let event = event(context, EventKind::AttestationPolicyDeletion, message, [link(&policy)], &snapshot(&policy));
        self.commit(transaction, Some(Change::AttestationPolicy(id.clone())), event).await
    }
}

/// Newer clients name zones in the policy itself. They are kept, so they must exist; what decides is the binding.
async fn check_zones(transaction: &mut WriteTransaction, draft: &Draft) -> Result<()> {
    if let Some(id) = &draft.trust_zone_id
        && transaction.trust_zone(id).await?.is_none()
    {
        return Err(Error::unknown_reference("attestation_policy.trust_zone_id", trust_zone::NOUN, id.as_str()));
    }
    for (index, id) in draft.federations.iter().enumerate() {
        if transaction.trust_zone(id).await?.is_none() {
            let path = format!("attestation_policy.federations[{index}].trust_zone_id");
            return Err(Error::unknown_reference(path, trust_zone::NOUN, id.as_str()));
        }
    }
    Ok(())
}

fn link(policy: &AttestationPolicy) -> (EntityKind, String) {
    (EntityKind::AttestationPolicy, policy.id.to_string())
}

fn snapshot(policy: &AttestationPolicy) -> Value {
    json!({
        "id": policy.id,
        "org_id": policy.organization_id,
        "name": policy.name,
        "trust_zone_id": policy.trust_zone_id,
        "federations": policy.federations,
        "policy": policy.kind,
    })
}
