//! `proto.ap_binding.v1alpha1`

use cofide_core::{
    AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, MAX_FEDERATES_WITH_PATTERNS, NamePattern, OrganizationId,
    TrustZoneId,
};

use super::{At, FieldError, also_owned, each, optional, parse, required, required_timestamp, timestamp};
use crate::types::ap_binding as proto;

/// What a client may say about a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<AttestationPolicyBindingId>,
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: TrustZoneId,
    pub policy_id: AttestationPolicyId,
    /// In the order given; what is given twice counts once.
    pub federates_with: Vec<TrustZoneId>,
    /// As above.
    pub federates_with_patterns: Vec<NamePattern>,
}

impl TryFrom<&proto::ApBinding> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::ApBinding) -> Result<Self, FieldError> {
        draft(message).at("ap_binding")
    }
}

fn draft(message: &proto::ApBinding) -> Result<Draft, FieldError> {
    let named = each("federations", &message.federations, |partner| required("trust_zone_id", partner.trust_zone_id.as_deref()))?;
    let patterns = each("federates_with_patterns", &message.federates_with_patterns, |pattern| parse("", pattern))?;
    let federates_with_patterns: Vec<NamePattern> = once_each(patterns);
    if federates_with_patterns.len() > MAX_FEDERATES_WITH_PATTERNS {
        let reason = format!("has {} patterns, at most {MAX_FEDERATES_WITH_PATTERNS} are allowed", federates_with_patterns.len());
        return Err(FieldError::new("federates_with_patterns", reason));
    }
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        trust_zone_id: required("trust_zone_id", message.trust_zone_id.as_deref())?,
        policy_id: required("policy_id", message.policy_id.as_deref())?,
        federates_with: once_each(named),
        federates_with_patterns,
    })
}

fn once_each<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(list.len());
    for item in list {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

impl TryFrom<proto::ApBinding> for AttestationPolicyBinding {
    type Error = FieldError;
    fn try_from(message: proto::ApBinding) -> Result<Self, FieldError> {
        let convert = || {
            let draft = draft(&message)?;
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                organization_id: required("org_id", message.org_id.as_deref())?,
                trust_zone_id: draft.trust_zone_id,
                policy_id: draft.policy_id,
                federates_with: draft.federates_with,
                federates_with_patterns: draft.federates_with_patterns,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("ap_binding")
    }
}

impl From<&AttestationPolicyBinding> for proto::ApBinding {
    /// `federations` are those that are named; what the patterns stand for is added by whoever knows the zones.
    fn from(binding: &AttestationPolicyBinding) -> Self {
        let partner = |zone: &TrustZoneId| proto::ApBindingFederation { trust_zone_id: Some(zone.to_string()) };
        Self {
            id: Some(binding.id.to_string()),
            org_id: Some(binding.organization_id.to_string()),
            trust_zone_id: Some(binding.trust_zone_id.to_string()),
            policy_id: Some(binding.policy_id.to_string()),
            federations: binding.federates_with.iter().map(partner).collect(),
            created_at: Some(timestamp(binding.created_at)),
            last_updated_at: Some(timestamp(binding.updated_at)),
            federates_with_patterns: binding.federates_with_patterns.iter().map(ToString::to_string).collect(),
        }
    }
}

also_owned!(AttestationPolicyBinding => proto::ApBinding);
