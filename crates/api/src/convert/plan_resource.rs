//! A plan resource as it travels and as an agent keeps it: a type URL, a name and a message.
//!
//! A plan is kept by name. So each resource has one name that follows from what it is about, and what is decoded under
//! another name is refused: it would stand in for another resource.

use cofide_core::SpiffeId;
use cofide_plan::{Key, PlanResource};
use prost::Message;

use super::FieldError;
use super::plan::{CONTROL_PLANE_TRUST, EXPORTED_SERVICE, FEDERATED_TRUST, IMPORTED_SERVICE, TYPE_URLS, WORKLOAD_REGISTRATION};
use crate::plan as proto;

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("resources of type {0} are not known to this version")]
    Type(String),
    #[error("not a {type_url}: {error}")]
    Message { type_url: String, error: prost::DecodeError },
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("it is about {0}, not about what it is named after")]
    Name(String),
}

/// The type URL as the constant that it is; `None` for a type that no plan has.
pub fn known_type_url(type_url: &str) -> Option<&'static str> {
    TYPE_URLS.into_iter().find(|known| *known == type_url)
}

pub fn type_url(key: &Key) -> &'static str {
    match key {
        Key::Import(_) => IMPORTED_SERVICE,
        Key::Trust(_) => FEDERATED_TRUST,
        Key::Registration(_) => WORKLOAD_REGISTRATION,
        Key::Export(_) => EXPORTED_SERVICE,
        Key::ControlPlaneTrust => CONTROL_PLANE_TRUST,
    }
}

/// `control_plane` is the control plane's own SPIFFE ID: the one resource that its key does not name is named after that
/// ID's trust domain.
pub fn name(key: &Key, control_plane: &SpiffeId) -> String {
    match key {
        Key::Import(hostname) => hostname.to_string(),
        Key::Trust(trust_domain) => trust_domain.to_string(),
        Key::Registration(binding) => binding.to_string(),
        Key::Export(service) => service.to_string(),
        Key::ControlPlaneTrust => control_plane.trust_domain().to_string(),
    }
}

/// The name that follows from what the resource is about.
pub fn name_of(resource: &PlanResource) -> String {
    match resource {
        PlanResource::Import(import) => import.hostname.to_string(),
        PlanResource::Trust(trust) => trust.trust_domain.to_string(),
        PlanResource::Registration(registration) => registration.binding_id.to_string(),
        PlanResource::Export(export) => export.service_id.to_string(),
        PlanResource::ControlPlaneTrust(trust) => trust.spiffe_id.trust_domain().to_string(),
    }
}

/// The encoded message, of the type that [`type_url`] names.
pub fn encode(resource: &PlanResource) -> Vec<u8> {
    match resource {
        PlanResource::Import(import) => proto::ImportedService::from(import).encode_to_vec(),
        PlanResource::Trust(trust) => proto::FederatedTrust::from(trust).encode_to_vec(),
        PlanResource::Registration(registration) => proto::WorkloadRegistration::from(registration).encode_to_vec(),
        PlanResource::Export(export) => proto::ExportedService::from(export).encode_to_vec(),
        PlanResource::ControlPlaneTrust(trust) => proto::ControlPlaneTrust::from(trust).encode_to_vec(),
    }
}

/// # Errors
///
/// Where the type is no plan's, the body is not of that type, a field is wrong, or the resource is about something else
/// than its name says.
pub fn decode(type_url: &str, name: &str, body: &[u8]) -> Result<PlanResource, DecodeError> {
    fn message<M, N>(type_url: &str, body: &[u8]) -> Result<N, DecodeError>
    where
        M: Message + Default,
        N: TryFrom<M, Error = FieldError>,
    {
        let message = M::decode(body).map_err(|error| DecodeError::Message { type_url: type_url.to_owned(), error })?;
        Ok(message.try_into()?)
    }
    let resource = match type_url {
        IMPORTED_SERVICE => PlanResource::Import(message::<proto::ImportedService, _>(type_url, body)?),
        FEDERATED_TRUST => PlanResource::Trust(message::<proto::FederatedTrust, _>(type_url, body)?),
        WORKLOAD_REGISTRATION => PlanResource::Registration(message::<proto::WorkloadRegistration, _>(type_url, body)?),
        EXPORTED_SERVICE => PlanResource::Export(message::<proto::ExportedService, _>(type_url, body)?),
        CONTROL_PLANE_TRUST => PlanResource::ControlPlaneTrust(message::<proto::ControlPlaneTrust, _>(type_url, body)?),
        other => return Err(DecodeError::Type(other.to_owned())),
    };
    let subject = name_of(&resource);
    if subject == name { Ok(resource) } else { Err(DecodeError::Name(subject)) }
}
