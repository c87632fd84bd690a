//! Plan resources as xDS resources: type, name and encoding.

use cofide_api::convert::plan as types;
use cofide_api::plan;
use cofide_core::SpiffeId;
use cofide_plan::{Key, PlanResource};
use cofide_xds::Resource;

pub fn type_url(key: &Key) -> &'static str {
    match key {
        Key::Import(_) => types::IMPORTED_SERVICE,
        Key::Trust(_) => types::FEDERATED_TRUST,
        Key::Registration(_) => types::WORKLOAD_REGISTRATION,
        Key::Export(_) => types::EXPORTED_SERVICE,
        Key::ControlPlaneTrust => types::CONTROL_PLANE_TRUST,
    }
}

/// `control_plane` is the control plane's own SPIFFE ID; its trust domain names the one resource that has no name of its own.
pub fn resource_name(key: &Key, control_plane: &SpiffeId) -> String {
    match key {
        Key::Import(hostname) => hostname.to_string(),
        Key::Trust(trust_domain) => trust_domain.to_string(),
        Key::Registration(binding) => binding.to_string(),
        Key::Export(service) => service.to_string(),
        Key::ControlPlaneTrust => control_plane.trust_domain().to_string(),
    }
}

pub(super) fn encode(resource: &PlanResource) -> (String, Resource) {
    let key = resource.key();
    let url = type_url(&key);
    let encoded = match resource {
        PlanResource::Import(import) => Resource::new(url, import.hostname.as_str(), &plan::ImportedService::from(import)),
        PlanResource::Trust(trust) => Resource::new(url, trust.trust_domain.as_str(), &plan::FederatedTrust::from(trust)),
        PlanResource::Registration(registration) => {
            Resource::new(url, registration.binding_id.as_str(), &plan::WorkloadRegistration::from(registration))
        }
        PlanResource::Export(export) => Resource::new(url, export.service_id.as_str(), &plan::ExportedService::from(export)),
        PlanResource::ControlPlaneTrust(trust) => {
            Resource::new(url, trust.spiffe_id.trust_domain().as_str(), &plan::ControlPlaneTrust::from(trust))
        }
    };
    (url.to_owned(), encoded)
}

/// The version under which a cluster holds the resource if it holds it as it is now.
pub fn version(resource: &PlanResource) -> String {
    encode(resource).1.version().to_owned()
}
