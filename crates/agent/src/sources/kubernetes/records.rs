//! What is kept of each object that is watched: the little that decisions need. In a cluster of a thousand Services the rest,
//! which is most of it, would be most of the agent's memory.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cofide_core::{GatewayAddress, Port, TrustDomain};
use cofide_k8s_api::{FederatedServiceObject, FederatedServiceStatus, ServiceSpec};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::view::{Kind, ObjectKey};

/// Namespace and name.
pub type Name = (String, String);

/// A FederatedService as the API server holds it, and the last version of it that was valid.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceObjectRecord {
    pub key: ObjectKey,
    pub uid: String,
    /// Changes with each write to the object.
    pub resource_version: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    pub generation: u64,
    /// It was deleted, and waits for whoever has to clean up behind it.
    pub is_going: bool,
    /// The last valid version that this process has seen.
    pub valid: Option<ServiceSpec>,
    /// What is wrong with the present version.
    pub problems: Vec<String>,
    /// What the agent said about it last.
    pub status: FederatedServiceStatus,
}

impl ServiceObjectRecord {
    /// `before` is what was known of an object with this name.
    pub fn new(object: &FederatedServiceObject, own: &TrustDomain, before: Option<&Self>) -> Self {
        let uid = object.uid().unwrap_or_default();
        // Another object of the same name has a history of its own.
        let before = before.filter(|before| before.uid == uid);
        let (valid, problems) = match object.read().check(own) {
            Ok(spec) => (Some(spec), Vec::new()),
            Err(problems) => (before.and_then(|before| before.valid.clone()), problems.iter().map(ToString::to_string).collect()),
        };
        let created = object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        Self {
            key: ObjectKey { kind: Kind::FederatedService, namespace: object.namespace().unwrap_or_default(), name: object.name_any() },
            uid,
            resource_version: object.resource_version().unwrap_or_default(),
            created: u64::try_from(created).unwrap_or_default(),
            generation: object.metadata.generation.and_then(|generation| u64::try_from(generation).ok()).unwrap_or_default(),
            is_going: object.metadata.deletion_timestamp.is_some(),
            valid,
            problems,
            status: object.written_status(),
        }
    }
}

/// A Kubernetes Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecord {
    pub namespace: String,
    pub name: String,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub service_type: String,
    pub selector: BTreeMap<String, String>,
    pub ports: Vec<PortRecord>,
    /// Which address family comes first, where the API server has said so.
    pub is_ipv6_first: bool,
    /// Where the load balancer is reached, as its controller has said.
    pub ingress: Vec<GatewayAddress>,
    /// Addresses that somebody routes to the cluster.
    pub external_ips: Vec<IpAddr>,
    /// Where an ExternalName leads.
    pub external_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// Empty where the Service has one port without a name.
    pub name: String,
    pub port: Port,
    pub is_tcp: bool,
    pub protocol: String,
    pub target: Target,
    pub node_port: Option<Port>,
}

/// Which port of a pod is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Number(Port),
    /// The port of this name, which each pod may give another number.
    Name(String),
}

fn port(number: i32) -> Option<Port> {
    Port::try_from(i64::from(number)).ok()
}

impl PortRecord {
    fn new(from: &ServicePort) -> Option<Self> {
        let number = port(from.port)?;
        let protocol = from.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let target = match &from.target_port {
            Some(IntOrString::String(name)) => Target::Name(name.clone()),
            Some(IntOrString::Int(target)) => Target::Number(port(*target).unwrap_or(number)),
            None => Target::Number(number),
        };
        Some(Self {
            name: from.name.clone().unwrap_or_default(),
            port: number,
            is_tcp: protocol == "TCP",
            protocol,
            target,
            node_port: from.node_port.and_then(port),
        })
    }
}

impl From<&Service> for ServiceRecord {
    fn from(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten().flat_map(|ingress| {
            let (hostname, ip) = (ingress.hostname.as_deref().unwrap_or_default(), ingress.ip.as_deref().unwrap_or_default());
            // What cannot be an address is a mistake of the load balancer's controller, of which it alone knows more.
            [GatewayAddress::from_fields(hostname, ""), GatewayAddress::from_fields("", ip)].into_iter().filter_map(Result::ok)
        });
        Self {
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            ingress: ingress.collect(),
            service_type: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
            selector: spec.selector.unwrap_or_default(),
            ports: spec.ports.iter().flatten().filter_map(PortRecord::new).collect(),
            is_ipv6_first: spec.ip_families.and_then(|families| families.into_iter().next()).is_some_and(|family| family == "IPv6"),
            external_ips: spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect(),
            external_name: spec.external_name,
        }
    }
}

/// An EndpointSlice: a part of what is behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceRecord {
    pub namespace: String,
    /// The Service whose endpoints these are; empty where none is named.
    pub service: String,
    /// Number by name of the Service's port; TCP alone.
    pub ports: BTreeMap<String, Port>,
    pub ready: Vec<IpAddr>,
    /// How many endpoints are there and not ready.
    pub waiting: usize,
}

const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl From<&EndpointSlice> for SliceRecord {
    fn from(slice: &EndpointSlice) -> Self {
        // "A nil value should be interpreted as true" (API reference, EndpointConditions.ready).
        let (ready, waiting): (Vec<_>, Vec<_>) = slice
            .endpoints
            .iter()
            .partition(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
        let ports = slice.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        let mut addresses: Vec<IpAddr> =
            ready.iter().filter_map(|endpoint| endpoint.addresses.first()).filter_map(|address| address.parse().ok()).collect();
        // The API server keeps no order among them, and another order is no news.
        addresses.sort();
        Self {
            namespace: slice.namespace().unwrap_or_default(),
            service: slice.labels().get(SERVICE_NAME).cloned().unwrap_or_default(),
            ports: ports.filter_map(|entry| Some((entry.name.clone().unwrap_or_default(), port(entry.port?)?))).collect(),
            ready: addresses,
            waiting: waiting.len(),
        }
    }
}
