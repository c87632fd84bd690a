//! `proto.ap_binding.v1alpha1`

use cofide_core::{AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, OrganizationId, TrustZoneId};

use super::{At, FieldError, also_owned, each, optional, required, required_timestamp, timestamp};
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
}

impl TryFrom<&proto::ApBinding> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::ApBinding) -> Result<Self, FieldError> {
        draft(message).at("ap_binding")
    }
}

fn draft(message: &proto::ApBinding) -> Result<Draft, FieldError> {
    let named = each("federations", &message.federations, |partner| required("trust_zone_id", partner.trust_zone_id.as_deref()))?;
    let mut federates_with: Vec<TrustZoneId> = Vec::with_capacity(named.len());
    for zone in named {
        if !federates_with.contains(&zone) {
            federates_with.push(zone);
        }
    }
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        trust_zone_id: required("trust_zone_id", message.trust_zone_id.as_deref())?,
        policy_id: required("policy_id", message.policy_id.as_deref())?,
        federates_with,
    })
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
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("ap_binding")
    }
}

impl From<&AttestationPolicyBinding> for proto::ApBinding {
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
        }
    }
}

also_owned!(AttestationPolicyBinding => proto::ApBinding);
