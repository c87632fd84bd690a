//! The wire, one file per service: a message in, a rule called, a message out. No rule lives here.

mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod bundle_package;
mod cluster;
mod explain;
mod federation;
mod organization;
mod receipt;
mod trust_zone;

use std::fmt::Display;
use std::str::FromStr;

use cofide_api::connect::agent_service::agent_service_server::AgentServiceServer;
use cofide_api::connect::ap_binding_service::ap_binding_service_server::ApBindingServiceServer;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_server::AttestationPolicyServiceServer;
use cofide_api::connect::audit_service::audit_service_server::AuditServiceServer;
use cofide_api::connect::bundle_package_service::bundle_package_service_server::BundlePackageServiceServer;
use cofide_api::connect::cluster_service::cluster_service_server::ClusterServiceServer;
use cofide_api::connect::explain_service::explain_service_server::ExplainServiceServer;
use cofide_api::connect::federation_service::federation_service_server::FederationServiceServer;
use cofide_api::connect::organization_service::organization_service_server::OrganizationServiceServer;
use cofide_api::connect::receipt_service::receipt_service_server::ReceiptServiceServer;
use cofide_api::connect::trust_zone_service::trust_zone_service_server::TrustZoneServiceServer;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::app::App;
use crate::caller::CallContext;
use crate::error::{Error, Result};

/// The names of the services that have handlers here, for health checks.
pub const SERVICES: [&str; 11] = [
    TrustZoneServiceServer::<Api>::NAME,
    ClusterServiceServer::<Api>::NAME,
    FederationServiceServer::<Api>::NAME,
    AttestationPolicyServiceServer::<Api>::NAME,
    ApBindingServiceServer::<Api>::NAME,
    AgentServiceServer::<Api>::NAME,
    OrganizationServiceServer::<Api>::NAME,
    AuditServiceServer::<Api>::NAME,
    ReceiptServiceServer::<Api>::NAME,
    ExplainServiceServer::<Api>::NAME,
    BundlePackageServiceServer::<Api>::NAME,
];

/// All services over the same rules. The services of the API that are not among them have no handler; a call to one
/// passes the gate like any other and is answered UNIMPLEMENTED.
#[derive(Clone)]
pub struct Api {
    app: App,
}

impl Api {
    pub fn routes(app: App) -> Routes {
        let api = Self { app };
        Routes::default()
            .add_service(TrustZoneServiceServer::new(api.clone()))
            .add_service(ClusterServiceServer::new(api.clone()))
            .add_service(FederationServiceServer::new(api.clone()))
            .add_service(AttestationPolicyServiceServer::new(api.clone()))
            .add_service(ApBindingServiceServer::new(api.clone()))
            .add_service(AgentServiceServer::new(api.clone()))
            .add_service(OrganizationServiceServer::new(api.clone()))
            .add_service(AuditServiceServer::new(api.clone()))
            .add_service(ReceiptServiceServer::new(api.clone()))
            .add_service(ExplainServiceServer::new(api.clone()))
            .add_service(BundlePackageServiceServer::new(api))
    }
}

/// Who calls, as the gate has found out.
fn context<T>(request: &Request<T>) -> Result<CallContext, Status> {
    let missing = || Status::internal("the call did not pass the gate");
    request.extensions().get::<CallContext>().cloned().ok_or_else(missing)
}

/// A part of a message that a rule cannot do without.
fn required<T>(path: &str, part: Option<T>) -> Result<T> {
    part.ok_or_else(|| Error::invalid(path, "must be set"))
}

/// An id, or another text with rules; the empty text counts as unset, because that is how clients in other languages say it.
fn parse<T: FromStr<Err: Display>>(path: &str, text: Option<&str>) -> Result<T> {
    optional(path, text)?.ok_or_else(|| Error::invalid(path, "must be set"))
}

fn optional<T: FromStr<Err: Display>>(path: &str, text: Option<&str>) -> Result<Option<T>> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| Error::invalid(path, error)),
    }
}

/// A field of a filter that is set.
fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
