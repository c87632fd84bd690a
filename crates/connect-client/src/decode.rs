//! From resources on the wire to the nouns of a plan.

use cofide_api::convert::FieldError;
use cofide_api::convert::plan::{CONTROL_PLANE_TRUST, EXPORTED_SERVICE, FEDERATED_TRUST, IMPORTED_SERVICE, WORKLOAD_REGISTRATION};
use cofide_api::plan as proto;
use cofide_plan::PlanResource;
use cofide_xds::Any;
use prost::Message;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("resources of type {0} are not known to this version")]
    Type(String),
    #[error("not a {type_url}: {error}")]
    Message { type_url: String, error: prost::DecodeError },
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("it is about {0}, not about what it is named after")]
    Name(String),
}

/// Decodes a resource, and checks that it is about what its name says: a plan is kept by name, so a resource under a
/// foreign name would stand in for another one.
pub(crate) fn decode(name: &str, body: &Any) -> Result<PlanResource, DecodeError> {
    let (resource, subject) = match body.type_url.as_str() {
        IMPORTED_SERVICE => {
            let import: cofide_core::ImportedService = message::<proto::ImportedService>(body)?.try_into()?;
            let subject = import.hostname.to_string();
            (PlanResource::Import(import), subject)
        }
        FEDERATED_TRUST => {
            let trust: cofide_core::FederatedTrust = message::<proto::FederatedTrust>(body)?.try_into()?;
            let subject = trust.trust_domain.to_string();
            (PlanResource::Trust(trust), subject)
        }
        WORKLOAD_REGISTRATION => {
            let registration: cofide_core::WorkloadRegistration = message::<proto::WorkloadRegistration>(body)?.try_into()?;
            let subject = registration.binding_id.to_string();
            (PlanResource::Registration(registration), subject)
        }
        EXPORTED_SERVICE => {
            let export: cofide_core::ExportedService = message::<proto::ExportedService>(body)?.try_into()?;
            let subject = export.service_id.to_string();
            (PlanResource::Export(export), subject)
        }
        CONTROL_PLANE_TRUST => {
            let trust: cofide_core::ControlPlaneTrust = message::<proto::ControlPlaneTrust>(body)?.try_into()?;
            let subject = trust.spiffe_id.trust_domain().to_string();
            (PlanResource::ControlPlaneTrust(trust), subject)
        }
        other => return Err(DecodeError::Type(other.to_owned())),
    };
    if subject == name { Ok(resource) } else { Err(DecodeError::Name(subject)) }
}

fn message<M: Message + Default>(body: &Any) -> Result<M, DecodeError> {
    M::decode(body.value.as_slice()).map_err(|error| DecodeError::Message { type_url: body.type_url.clone(), error })
}
