//! `proto.organization.v1alpha1`

use cofide_core::Organization;

use super::{At, FieldError, also_owned, parse};
use crate::types::organization as proto;

impl TryFrom<proto::Organization> for Organization {
    type Error = FieldError;
    fn try_from(message: proto::Organization) -> Result<Self, FieldError> {
        let convert = || Ok(Self { id: parse("id", &message.id)?, name: parse("name", &message.name)? });
        convert().at("organization")
    }
}

impl From<&Organization> for proto::Organization {
    fn from(organization: &Organization) -> Self {
        Self { id: organization.id.to_string(), name: organization.name.to_string() }
    }
}

also_owned!(Organization => proto::Organization);
