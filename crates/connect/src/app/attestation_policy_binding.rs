//! Bindings: a policy, applied in a zone, with the zones whose bundles its workloads get.

use cofide_api::convert::attestation_policy_binding::Draft;
use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, AttestationPolicyBindingId, AuditEvent, Change, EntityKind, EventKind, TrustZone,
    TrustZoneId,
};
use cofide_store::{
    AttestationPolicies, AttestationPolicyBindingFilter, AttestationPolicyBindings, AttestationPolicyBindingsMut, TrustZones,
    WriteTransaction,
};
use serde_json::{Value, json};

use super::App;
use super::audit::{event, now};
use super::trust_zone::{self, assigned_by_connect, immutable, required};
use super::{attestation_policy, federation};
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

const NOUN: &str = "attestation policy binding";

impl App {
    pub async fn attestation_policy_binding(&self, id: &AttestationPolicyBindingId) -> Result<AttestationPolicyBinding> {
        self.read().await?.attestation_policy_binding(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn attestation_policy_bindings(&self, filter: &AttestationPolicyBindingFilter) -> Result<Vec<AttestationPolicyBinding>> {
        Ok(self.read().await?.attestation_policy_bindings(filter).await?)
    }

    /// The zones that a binding federates with at this moment, those that its patterns stand for after those that it names.
    pub fn federates_with(&self, binding: &AttestationPolicyBinding) -> Vec<TrustZoneId> {
        let snapshot = self.hub.snapshot();
        let partners = cofide_plan::partners(&snapshot, binding);
        binding.federates_with.iter().chain(partners.matched.iter().map(|zone| &zone.id)).cloned().collect()
    }

    pub async fn create_attestation_policy_binding(&self, context: &CallContext, draft: Draft) -> Result<AttestationPolicyBinding> {
        assigned_by_connect("ap_binding.id", draft.id.as_ref())?;
        let mut transaction = self.write().await?;
        let Some(zone) = transaction.trust_zone(&draft.trust_zone_id).await? else {
            return Err(Error::unknown_reference("ap_binding.trust_zone_id", trust_zone::NOUN, draft.trust_zone_id.as_str()));
        };
        let Some(policy) = transaction.attestation_policy(&draft.policy_id).await? else {
            return Err(Error::unknown_reference("ap_binding.policy_id", attestation_policy::NOUN, draft.policy_id.as_str()));
        };
        immutable("ap_binding.org_id", draft.organization_id.as_ref(), &zone.organization_id)?;
        let same = AttestationPolicyBindingFilter {
            trust_zone_id: Some(zone.id.clone()),
            policy_id: Some(policy.id.clone()),
            ..AttestationPolicyBindingFilter::default()
        };
        if !transaction.attestation_policy_bindings(&same).await?.is_empty() {
            return Err(Error::AlreadyExists(format!("attestation policy {} is bound in trust zone {} already", policy.name, zone.name)));
        }
        let federates_with = named_partners(&mut transaction, &zone, &draft).await?;
        let binding = AttestationPolicyBinding {
            id: id::attestation_policy_binding(),
            organization_id: zone.organization_id.clone(),
            trust_zone_id: zone.id.clone(),
            policy_id: policy.id.clone(),
            federates_with,
            federates_with_patterns: draft.federates_with_patterns,
            created_at: now(),
            updated_at: now(),
        };
        transaction.insert_attestation_policy_binding(&binding).await?;
        let message = format!("attestation policy {} bound in trust zone {}", policy.name, zone.name);
        let kind = EventKind::AttestationPolicyBindingCreation;
        let event = event(context, kind, message, links(&binding), &snapshot(&binding));
        self.commit(transaction, Some(Change::of_attestation_policy_binding(&binding)), event).await?;
        Ok(binding)
    }

    /// Replaces the zones and the patterns that the binding federates with; zone and policy may be repeated and cannot change.
    pub async fn update_attestation_policy_binding(&self, context: &CallContext, draft: Draft) -> Result<AttestationPolicyBinding> {
        let id = required("ap_binding.id", draft.id.clone())?;
        let mut transaction = self.write().await?;
        let held = transaction.attestation_policy_binding(&id).await?.ok_or_else(|| Error::not_found(NOUN, &id))?;
        immutable("ap_binding.trust_zone_id", Some(&draft.trust_zone_id), &held.trust_zone_id)?;
        immutable("ap_binding.policy_id", Some(&draft.policy_id), &held.policy_id)?;
        immutable("ap_binding.org_id", draft.organization_id.as_ref(), &held.organization_id)?;
        let Some(zone) = transaction.trust_zone(&held.trust_zone_id).await? else {
            return Err(Error::not_found(trust_zone::NOUN, &held.trust_zone_id));
        };
        let federates_with = named_partners(&mut transaction, &zone, &draft).await?;
        let federates_with_patterns = draft.federates_with_patterns;
        let binding = AttestationPolicyBinding { federates_with, federates_with_patterns, updated_at: now(), ..held };
        transaction.update_attestation_policy_binding(&binding).await?;
        let message = format!("attestation policy binding in trust zone {} updated", zone.name);
        let event = event(context, EventKind::AttestationPolicyBindingUpdate, message, links(&binding), &snapshot(&binding));
        self.commit(transaction, Some(Change::of_attestation_policy_binding(&binding)), event).await?;
        Ok(binding)
    }

    pub async fn destroy_attestation_policy_binding(&self, context: &CallContext, id: &AttestationPolicyBindingId) -> Result<()> {
        let mut transaction = self.write().await?;
        let binding = transaction.attestation_policy_binding(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        transaction.delete_attestation_policy_binding(id).await?;
        let message = "attestation policy binding deleted".to_owned();
        let event = event(context, EventKind::AttestationPolicyBindingDeletion, message, links(&binding), &snapshot(&binding));
        self.commit(transaction, Some(Change::of_attestation_policy_binding(&binding)), event).await
    }
}

/// Each zone that a binding names is another one, exists, and is trusted by the binding's zone already. One that a pattern of
/// the binding matches is left to the pattern: whoever sends a binding back as it was shown names no more than before.
async fn named_partners(transaction: &mut WriteTransaction, zone: &TrustZone, draft: &Draft) -> Result<Vec<TrustZoneId>> {
    let mut named = Vec::with_capacity(draft.federates_with.len());
    for (index, id) in draft.federates_with.iter().enumerate() {
        let path = format!("ap_binding.federations[{index}].trust_zone_id");
        if *id == zone.id {
            return Err(Error::invalid(
                path,
                format_args!("{} is the binding's own trust zone; its bundle comes without asking", zone.name),
            ));
        }
        let Some(partner) = transaction.trust_zone(id).await? else {
            return Err(Error::unknown_reference(path, trust_zone::NOUN, id.as_str()));
        };
        if draft.federates_with_patterns.iter().any(|pattern| pattern.matches(&partner.name)) {
            continue;
        }
        if !federation::exists(transaction, &zone.id, id).await? {
            let missing = federation::direction(zone, &partner);
            return Err(Error::FailedPrecondition(format!("{path}: there is no federation {missing}; add it first: {}", missing.remedy())));
        }
        named.push(id.clone());
    }
    Ok(named)
}

/// The events about those bindings of `zone` that gain or lose `remote` by a pattern, where a federation comes or goes.
pub(super) async fn matched_by_patterns(
    transaction: &mut WriteTransaction,
    context: &CallContext,
    zone: &TrustZone,
    remote: &TrustZone,
    verb: &str,
) -> Result<Vec<AuditEvent>> {
    let of_zone = AttestationPolicyBindingFilter { trust_zone_id: Some(zone.id.clone()), ..AttestationPolicyBindingFilter::default() };
    let mut events = Vec::new();
    for binding in transaction.attestation_policy_bindings(&of_zone).await? {
        let Some(pattern) = binding.federates_with_patterns.iter().find(|pattern| pattern.matches(&remote.name)) else { continue };
        if binding.federates_with.contains(&remote.id) {
            continue;
        }
        let policy = transaction.attestation_policy(&binding.policy_id).await?;
        let policy = policy.map_or_else(|| binding.policy_id.to_string(), |policy: AttestationPolicy| policy.name.to_string());
        let message =
            format!("binding of attestation policy {policy} in trust zone {} {verb} {} by its pattern {pattern}", zone.name, remote.name);
        let links = links(&binding).into_iter().chain([trust_zone::link(remote)]);
        events.push(event(context, EventKind::AttestationPolicyBindingUpdate, message, links, &snapshot(&binding)));
    }
    Ok(events)
}

fn links(binding: &AttestationPolicyBinding) -> [(EntityKind, String); 3] {
    [
        (EntityKind::AttestationPolicyBinding, binding.id.to_string()),
        (EntityKind::TrustZone, binding.trust_zone_id.to_string()),
        (EntityKind::AttestationPolicy, binding.policy_id.to_string()),
    ]
}

fn snapshot(binding: &AttestationPolicyBinding) -> Value {
    json!({
        "id": binding.id,
        "org_id": binding.organization_id,
        "trust_zone_id": binding.trust_zone_id,
        "policy_id": binding.policy_id,
        "federates_with": binding.federates_with,
        "federates_with_patterns": binding.federates_with_patterns,
    })
}
