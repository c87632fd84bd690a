//! `proto.federated_service.v1alpha1`

use std::collections::BTreeMap;
use std::net::IpAddr;

use cofide_core::{
    FederatedService, FederatedServiceError, FederatedServiceId, Gateway, MAX_EXPORTED_TRUST_DOMAINS, MAX_GATEWAYS, MAX_SPIFFE_ID_PATHS,
    MAX_WORKLOAD_LABELS, Name, Port, ServiceName, SpiffeIdPath, TlsMode, TrustDomain,
};

use super::{At, FieldError, also_owned, each, enumeration, optional, optional_text, parse, timestamp, trust_domain};
use crate::types::federated_service as proto;

/// What an agent may say about a service that it exports. Trust zone and cluster follow from the agent's certificate;
/// what the message says of them is kept only to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<FederatedServiceId>,
    pub name: ServiceName,
    pub cluster_name: Option<Name>,
    pub trust_domain: Option<TrustDomain>,
    /// Never empty.
    pub workload_labels: BTreeMap<String, String>,
    /// As given: [`FederatedService::check_exports`] holds the rules, once the service's own trust domain is known.
    pub exported_trust_domains: Vec<TrustDomain>,
    pub port: Port,
    pub tls_mode: TlsMode,
    /// Sorted, without duplicates.
    pub gateway_entries: Vec<Gateway>,
    /// Sorted, without duplicates.
    pub gateway_specs: Vec<Gateway>,
    /// Sorted, without duplicates.
    pub spiffe_id_paths: Vec<SpiffeIdPath>,
}

impl TryFrom<&proto::FederatedService> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::FederatedService) -> Result<Self, FieldError> {
        draft(message).at("federated_service")
    }
}

/// Bytes of a label's key and of its value. Those of Kubernetes are shorter; not every agent is in a cluster of that.
const MAX_LABEL_TEXT: usize = 2048;

fn draft(message: &proto::FederatedService) -> Result<Draft, FieldError> {
    if message.workload_labels.is_empty() {
        return Err(FieldError::new("workload_labels", FederatedServiceError::NoWorkloadLabels));
    }
    let several = "export the same workloads under two names, each to some of the trust domains";
    for (field, length, most, remedy) in [
        ("workload_labels", message.workload_labels.len(), MAX_WORKLOAD_LABELS, "fewer select the same workloads, or more"),
        ("exported_trust_domains", message.exported_trust_domains.len(), MAX_EXPORTED_TRUST_DOMAINS, several),
        ("gateway_entries", message.gateway_entries.len(), MAX_GATEWAYS, "name in gateway_specs those that clients are to use"),
        ("gateway_specs", message.gateway_specs.len(), MAX_GATEWAYS, "name fewer, or a load balancer in front of them"),
        ("spiffe_id_paths", message.spiffe_id_paths.len(), MAX_SPIFFE_ID_PATHS, "with none, clients accept any of the trust domain"),
    ] {
        if length > most {
            return Err(FieldError::new(field, format!("has {length} entries, at most {most} are kept; {remedy}")));
        }
    }
    if let Some(text) = message.workload_labels.iter().flat_map(|(key, value)| [key, value]).find(|text| text.len() > MAX_LABEL_TEXT) {
        return Err(FieldError::new("workload_labels", format!("has a text of {} bytes, at most {MAX_LABEL_TEXT} are kept", text.len())));
    }
    Ok(Draft {
        id: optional("id", Some(&message.id))?,
        name: ServiceName { name: parse("name", &message.name)?, namespace: parse("namespace", &message.namespace)? },
        cluster_name: optional("cluster_name", Some(&message.cluster_name))?,
        trust_domain: optional_text(Some(&message.trust_domain)).map(|text| trust_domain("trust_domain", text)).transpose()?,
        workload_labels: message.workload_labels.clone(),
        exported_trust_domains: each("exported_trust_domains", &message.exported_trust_domains, |text| trust_domain("", text))?,
        port: port("port", message.port)?,
        tls_mode: tls_mode("tls_mode", message.tls_mode)?,
        gateway_entries: sorted(each("gateway_entries", &message.gateway_entries, |entry| reachable(entry.try_into()?))?),
        gateway_specs: sorted(each("gateway_specs", &message.gateway_specs, |spec| reachable(spec.try_into()?))?),
        spiffe_id_paths: sorted(each("spiffe_id_paths", &message.spiffe_id_paths, |path| parse("", path))?),
    })
}

/// Refuses what is no address of one host on a network, at which a client in another cluster would meet something of its
/// own, or a whole group. Loopback is one host: where all clusters of a trial run on one machine it is the right address.
fn reachable(gateway: Gateway) -> Result<Gateway, FieldError> {
    let kind = match gateway.address.ip().map(|ip| ip.to_canonical()) {
        Some(ip) if ip.is_unspecified() => "the unspecified address",
        Some(ip) if ip.is_multicast() => "a multicast address",
        Some(IpAddr::V4(ip)) if ip.is_broadcast() => "the broadcast address",
        Some(IpAddr::V4(ip)) if ip.is_link_local() => "a link-local address",
        Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => "a link-local address",
        Some(_) | None => return Ok(gateway),
    };
    Err(FieldError::new("ip", format!("{} is {kind}; use one at which other clusters reach the gateway", gateway.address)))
}

pub(super) fn port(field: &str, port: u32) -> Result<Port, FieldError> {
    Port::try_from(i64::from(port)).map_err(|error| FieldError::new(field, error))
}

pub(super) fn tls_mode(field: &str, mode: i32) -> Result<TlsMode, FieldError> {
    match enumeration::<proto::TlsMode>(field, mode)? {
        Some(proto::TlsMode::Mtls) => Ok(TlsMode::Mtls),
        Some(proto::TlsMode::IstioMtls) => Ok(TlsMode::IstioMtls),
        Some(proto::TlsMode::Unspecified) | None => Err(FieldError::new(field, "must be TLS_MODE_MTLS or TLS_MODE_ISTIO_MTLS")),
    }
}

pub(super) fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

impl From<TlsMode> for proto::TlsMode {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Mtls => Self::Mtls,
            TlsMode::IstioMtls => Self::IstioMtls,
        }
    }
}

impl From<&FederatedService> for proto::FederatedService {
    fn from(service: &FederatedService) -> Self {
        Self {
            id: service.id.to_string(),
            name: service.name.name.to_string(),
            namespace: service.name.namespace.to_string(),
            cluster_name: service.cluster_name.to_string(),
            trust_domain: service.trust_domain.to_string(),
            workload_labels: service.workload_labels.clone(),
            exported_trust_domains: service.exported_trust_domains.iter().map(ToString::to_string).collect(),
            port: u32::from(service.port.get()),
            gateway_entries: service.gateway_entries.iter().map(Into::into).collect(),
            gateway_specs: service.gateway_specs.iter().map(Into::into).collect(),
            tls_mode: proto::TlsMode::from(service.tls_mode).into(),
            created_at: Some(timestamp(service.created_at)),
            last_updated_at: Some(timestamp(service.updated_at)),
            spiffe_id_paths: service.spiffe_id_paths.iter().map(|path| path.as_str().to_owned()).collect(),
        }
    }
}

also_owned!(FederatedService => proto::FederatedService);
