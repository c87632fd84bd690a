//! The plan resources: what Connect encodes, an agent decodes. Both ways go through the nouns, so that an agent never
//! acts on something that Connect could not have meant.

use cofide_core::{
    ControlPlaneTrust, Direction, ExportRefusal, ExportTarget, ExportedService, FederatedTrust, ImportedGateway, ImportedService, SpiffeId,
    WorkloadRegistration,
};

use super::bundle::bundle_of;
use super::federated_service::{port, sorted, tls_mode};
use super::trust_zone::{bundle_endpoint, profile, spiffe_id};
use super::{At, FieldError, also_owned, attestation_policy, each, parse, trust_domain};
use crate::plan as proto;
use crate::types::federated_service::TlsMode;

pub const IMPORTED_SERVICE: &str = "type.googleapis.com/cofide.plan.v1alpha1.ImportedService";
pub const FEDERATED_TRUST: &str = "type.googleapis.com/cofide.plan.v1alpha1.FederatedTrust";
pub const WORKLOAD_REGISTRATION: &str = "type.googleapis.com/cofide.plan.v1alpha1.WorkloadRegistration";
pub const EXPORTED_SERVICE: &str = "type.googleapis.com/cofide.plan.v1alpha1.ExportedService";
pub const CONTROL_PLANE_TRUST: &str = "type.googleapis.com/cofide.plan.v1alpha1.ControlPlaneTrust";

/// Every type of plan resource.
pub const TYPE_URLS: [&str; 5] = [CONTROL_PLANE_TRUST, FEDERATED_TRUST, WORKLOAD_REGISTRATION, IMPORTED_SERVICE, EXPORTED_SERVICE];

/// The client feature of an agent that holds what it is sent of a type, while another agent of its cluster puts it in effect:
/// its acknowledgements say nothing about the cluster. Named as xDS asks of client features, by reversed domain.
pub fn standby_for(type_url: &str) -> String {
    format!("io.cofide.standby:{type_url}")
}

impl TryFrom<proto::ImportedService> for ImportedService {
    type Error = FieldError;
    fn try_from(message: proto::ImportedService) -> Result<Self, FieldError> {
        imported_service(&message).at("imported_service")
    }
}

fn imported_service(message: &proto::ImportedService) -> Result<ImportedService, FieldError> {
    Ok(ImportedService {
        hostname: parse("hostname", &message.hostname)?,
        port: port("port", message.port)?,
        tls_mode: tls_mode("tls_mode", message.tls_mode)?,
        trust_domain: trust_domain("trust_domain", &message.trust_domain)?,
        spiffe_id_paths: sorted(each("spiffe_id_paths", &message.spiffe_id_paths, |path| parse("", path))?),
        gateways: sorted(each("gateways", &message.gateways, imported_gateway)?),
    })
}

fn imported_gateway(message: &proto::imported_service::Gateway) -> Result<ImportedGateway, FieldError> {
    let gateway = message.gateway.as_ref().ok_or_else(|| FieldError::missing("gateway"))?;
    Ok(ImportedGateway { gateway: gateway.try_into().at("gateway")?, cluster_name: parse("cluster_name", &message.cluster_name)? })
}

impl From<&ImportedService> for proto::ImportedService {
    fn from(import: &ImportedService) -> Self {
        let gateway = |imported: &ImportedGateway| proto::imported_service::Gateway {
            gateway: Some((&imported.gateway).into()),
            cluster_name: imported.cluster_name.to_string(),
        };
        Self {
            hostname: import.hostname.to_string(),
            port: u32::from(import.port.get()),
            tls_mode: TlsMode::from(import.tls_mode).into(),
            trust_domain: import.trust_domain.to_string(),
            spiffe_id_paths: import.spiffe_id_paths.iter().map(|path| path.as_str().to_owned()).collect(),
            gateways: import.gateways.iter().map(gateway).collect(),
        }
    }
}

impl TryFrom<proto::FederatedTrust> for FederatedTrust {
    type Error = FieldError;
    fn try_from(message: proto::FederatedTrust) -> Result<Self, FieldError> {
        federated_trust(&message).at("federated_trust")
    }
}

fn federated_trust(message: &proto::FederatedTrust) -> Result<FederatedTrust, FieldError> {
    let trust_domain = trust_domain("trust_domain", &message.trust_domain)?;
    Ok(FederatedTrust {
        trust_zone_name: parse("trust_zone_name", &message.trust_zone_name)?,
        bundle: message.bundle.as_ref().map(|bundle| bundle_of(&trust_domain, bundle).at("bundle")).transpose()?,
        bundle_endpoint: bundle_endpoint(
            Some(&message.bundle_endpoint_url),
            message.bundle_endpoint_profile,
            Some(&message.bundle_endpoint_spiffe_id),
        )?,
        trust_domain,
    })
}

impl From<&FederatedTrust> for proto::FederatedTrust {
    fn from(trust: &FederatedTrust) -> Self {
        let endpoint = trust.bundle_endpoint.as_ref();
        Self {
            trust_domain: trust.trust_domain.to_string(),
            trust_zone_name: trust.trust_zone_name.to_string(),
            bundle: trust.bundle.as_ref().map(Into::into),
            bundle_endpoint_url: endpoint.map(|endpoint| endpoint.url.clone()).unwrap_or_default(),
            bundle_endpoint_profile: endpoint.map(|endpoint| profile(endpoint.profile).into()).unwrap_or_default(),
            bundle_endpoint_spiffe_id: spiffe_id(endpoint).unwrap_or_default(),
        }
    }
}

impl TryFrom<proto::WorkloadRegistration> for WorkloadRegistration {
    type Error = FieldError;
    fn try_from(message: proto::WorkloadRegistration) -> Result<Self, FieldError> {
        workload_registration(&message).at("workload_registration")
    }
}

fn workload_registration(message: &proto::WorkloadRegistration) -> Result<WorkloadRegistration, FieldError> {
    let kind = match &message.policy {
        Some(proto::workload_registration::Policy::Kubernetes(policy)) => attestation_policy::kubernetes(policy).at("kubernetes")?,
        Some(proto::workload_registration::Policy::Static(policy)) => attestation_policy::static_policy(policy).at("static")?,
        Some(proto::workload_registration::Policy::TpmNode(policy)) => attestation_policy::tpm_node(policy).at("tpm_node")?,
        None => return Err(FieldError::new("policy", "one of kubernetes, static and tpm_node must be set")),
    };
    Ok(WorkloadRegistration {
        binding_id: parse("binding_id", &message.binding_id)?,
        policy_name: parse("policy_name", &message.policy_name)?,
        kind,
        federates_with: sorted(each("federates_with", &message.federates_with, |text| trust_domain("", text))?),
    })
}

impl From<&WorkloadRegistration> for proto::WorkloadRegistration {
    fn from(registration: &WorkloadRegistration) -> Self {
        use cofide_core::PolicyKind;
        use proto::workload_registration::Policy;
        Self {
            binding_id: registration.binding_id.to_string(),
            policy_name: registration.policy_name.to_string(),
            federates_with: registration.federates_with.iter().map(ToString::to_string).collect(),
            policy: Some(match &registration.kind {
                PolicyKind::Kubernetes(policy) => Policy::Kubernetes(policy.into()),
                PolicyKind::Static(policy) => Policy::Static(policy.into()),
                PolicyKind::TpmNode(policy) => Policy::TpmNode(policy.into()),
            }),
        }
    }
}

impl TryFrom<proto::ExportedService> for ExportedService {
    type Error = FieldError;
    fn try_from(message: proto::ExportedService) -> Result<Self, FieldError> {
        exported_service(&message).at("exported_service")
    }
}

fn exported_service(message: &proto::ExportedService) -> Result<ExportedService, FieldError> {
    Ok(ExportedService {
        service_id: parse("service_id", &message.service_id)?,
        hostname: parse("hostname", &message.hostname)?,
        targets: each("targets", &message.targets, export_target)?,
    })
}

fn export_target(message: &proto::exported_service::Target) -> Result<ExportTarget, FieldError> {
    use proto::exported_service::target::Refusal;
    let refusal = match &message.refusal {
        None => None,
        Some(Refusal::UnknownTrustDomain(_)) => Some(ExportRefusal::UnknownTrustDomain),
        Some(Refusal::FederationMissing(missing)) => {
            let directions = each("directions", &missing.directions, direction).at("federation_missing")?;
            Some(ExportRefusal::FederationMissing(directions))
        }
    };
    Ok(ExportTarget { trust_domain: trust_domain("trust_domain", &message.trust_domain)?, refusal })
}

fn direction(message: &proto::exported_service::Direction) -> Result<Direction, FieldError> {
    Ok(Direction {
        trust_zone: parse("trust_zone", &message.trust_zone)?,
        remote_trust_zone: parse("remote_trust_zone", &message.remote_trust_zone)?,
    })
}

impl From<&ExportedService> for proto::ExportedService {
    fn from(export: &ExportedService) -> Self {
        use proto::exported_service as wire;
        let direction = |direction: &Direction| wire::Direction {
            trust_zone: direction.trust_zone.to_string(),
            remote_trust_zone: direction.remote_trust_zone.to_string(),
        };
        let refusal = |refusal: &ExportRefusal| match refusal {
            ExportRefusal::UnknownTrustDomain => wire::target::Refusal::UnknownTrustDomain(wire::UnknownTrustDomain {}),
            ExportRefusal::FederationMissing(missing) => {
                wire::target::Refusal::FederationMissing(wire::FederationMissing { directions: missing.iter().map(direction).collect() })
            }
        };
        let target = |target: &ExportTarget| wire::Target {
            trust_domain: target.trust_domain.to_string(),
            refusal: target.refusal.as_ref().map(refusal),
        };
        Self {
            service_id: export.service_id.to_string(),
            hostname: export.hostname.to_string(),
            targets: export.targets.iter().map(target).collect(),
        }
    }
}

impl TryFrom<proto::ControlPlaneTrust> for ControlPlaneTrust {
    type Error = FieldError;
    fn try_from(message: proto::ControlPlaneTrust) -> Result<Self, FieldError> {
        control_plane_trust(&message).at("control_plane_trust")
    }
}

fn control_plane_trust(message: &proto::ControlPlaneTrust) -> Result<ControlPlaneTrust, FieldError> {
    let spiffe_id: SpiffeId = parse("spiffe_id", &message.spiffe_id)?;
    let bundle = message.bundle.as_ref().ok_or_else(|| FieldError::missing("bundle"))?;
    Ok(ControlPlaneTrust { bundle: bundle_of(spiffe_id.trust_domain(), bundle).at("bundle")?, spiffe_id })
}

impl From<&ControlPlaneTrust> for proto::ControlPlaneTrust {
    fn from(trust: &ControlPlaneTrust) -> Self {
        Self { spiffe_id: trust.spiffe_id.to_string(), bundle: Some((&trust.bundle).into()) }
    }
}

also_owned!(
    ImportedService => proto::ImportedService,
    FederatedTrust => proto::FederatedTrust,
    WorkloadRegistration => proto::WorkloadRegistration,
    ExportedService => proto::ExportedService,
    ControlPlaneTrust => proto::ControlPlaneTrust,
);
