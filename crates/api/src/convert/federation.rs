//! `proto.federation.v1alpha1`

use cofide_core::{Federation, FederationId, OrganizationId, TrustZoneId};

use super::{At, FieldError, also_owned, optional, required, required_timestamp, timestamp};
use crate::types::federation as proto;

/// What a client may say about a federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<FederationId>,
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: TrustZoneId,
    pub remote_trust_zone_id: TrustZoneId,
}

impl TryFrom<&proto::Federation> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::Federation) -> Result<Self, FieldError> {
        draft(message).at("federation")
    }
}

fn draft(message: &proto::Federation) -> Result<Draft, FieldError> {
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        trust_zone_id: required("trust_zone_id", message.trust_zone_id.as_deref())?,
        remote_trust_zone_id: required("remote_trust_zone_id", message.remote_trust_zone_id.as_deref())?,
    })
}

impl TryFrom<proto::Federation> for Federation {
    type Error = FieldError;
    fn try_from(message: proto::Federation) -> Result<Self, FieldError> {
        let convert = || {
            let draft = draft(&message)?;
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                organization_id: required("org_id", message.org_id.as_deref())?,
                trust_zone_id: draft.trust_zone_id,
                remote_trust_zone_id: draft.remote_trust_zone_id,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("federation")
    }
}

impl From<&Federation> for proto::Federation {
    fn from(federation: &Federation) -> Self {
        Self {
            id: Some(federation.id.to_string()),
            org_id: Some(federation.organization_id.to_string()),
            trust_zone_id: Some(federation.trust_zone_id.to_string()),
            remote_trust_zone_id: Some(federation.remote_trust_zone_id.to_string()),
            created_at: Some(timestamp(federation.created_at)),
            last_updated_at: Some(timestamp(federation.updated_at)),
        }
    }
}

also_owned!(Federation => proto::Federation);
