//! Where remote clients enter the cluster, as the Services of its gateways say. Pure.
//!
//! | gateway | Service by default | port | addresses |
//! |---|---|---|---|
//! | ingress | `istio-system/istio-ingressgateway` | the one named `https`, else 443 | every address of the load balancer, external IPs, or by choice the nodes' |
//! | east-west | `istio-system/istio-eastwestgateway` | the one named `tls`, else 15443 | the same |
//!
//! A Service of type NodePort has no addresses of its own: it counts where the configuration says at which addresses the nodes
//! are reached.

use cofide_core::{Gateway, GatewayAddress, GatewayKind, Port};

use super::records::{PortRecord, ServiceRecord};
use crate::view::GatewayService;

/// What is looked for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    pub namespace: String,
    pub ingress: String,
    pub east_west: String,
    /// Where remote clients reach the cluster's nodes; empty where node ports are not to be used.
    pub node_addresses: Vec<GatewayAddress>,
}

impl GatewaySettings {
    fn name(&self, kind: GatewayKind) -> &str {
        match kind {
            GatewayKind::Ingress => &self.ingress,
            GatewayKind::EastWest => &self.east_west,
        }
    }

    /// Whether a Service can be one of the gateways.
    pub fn concerns(&self, namespace: &str, name: &str) -> bool {
        namespace == self.namespace && (name == self.ingress || name == self.east_west)
    }
}

/// The gateways that have an address or can get one, sorted; and for each that was looked for, what keeps clients from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    pub gateways: Vec<GatewayService>,
    pub findings: Vec<String>,
}

/// The port by which clients enter.
fn entrance(kind: GatewayKind) -> (&'static str, u16) {
    match kind {
        GatewayKind::Ingress => ("https", 443),
        GatewayKind::EastWest => ("tls", 15443),
    }
}

/// Looks among `services` for the gateways.
pub fn discover<'s>(settings: &GatewaySettings, services: impl IntoIterator<Item = &'s ServiceRecord>) -> Discovery {
    let candidates: Vec<_> = services.into_iter().filter(|service| settings.concerns(&service.namespace, &service.name)).collect();
    let mut discovery = Discovery::default();
    for kind in [GatewayKind::Ingress, GatewayKind::EastWest] {
        let name = settings.name(kind);
        // A name that is empty is not looked for.
        if name.is_empty() {
            continue;
        }
        let found = candidates
            .iter()
            .find(|service| service.name == name)
            .ok_or_else(|| format!("there is no Service {}/{name}", settings.namespace));
        match found.and_then(|service| gateway(kind, settings, service)) {
            Ok(gateway) => {
                if gateway.entries.is_empty() {
                    discovery.findings.push(without_address(settings, &gateway));
                }
                discovery.gateways.push(gateway);
            }
            Err(finding) => discovery.findings.push(finding),
        }
    }
    discovery.gateways.sort();
    discovery.findings.sort();
    discovery
}

fn gateway(kind: GatewayKind, settings: &GatewaySettings, service: &ServiceRecord) -> Result<GatewayService, String> {
    let named = format!("the Service {}/{}", service.namespace, service.name);
    if service.service_type == "ExternalName" {
        return Err(format!("{named} is of type ExternalName, behind which there is no gateway of this cluster"));
    }
    if service.selector.is_empty() {
        return Err(format!("{named} has no selector, so it is not known which pods the gateway is"));
    }
    let (port_name, number) = entrance(kind);
    let tcp = || service.ports.iter().filter(|port| port.is_tcp);
    let port = tcp().find(|port| port.name == port_name).or_else(|| tcp().find(|port| port.port.get() == number));
    let port = port.ok_or_else(|| {
        let ports: Vec<_> = service.ports.iter().map(described).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        format!("{named} has no TCP port named {port_name} and none with the number {number}; its ports are: {ports}")
    })?;
    Ok(GatewayService {
        kind,
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        service_type: service.service_type.clone(),
        selector: service.selector.clone(),
        port: port.port,
        entries: entries(kind, settings, service, port),
    })
}

fn described(port: &PortRecord) -> String {
    let PortRecord { name, port, protocol, .. } = port;
    match (name.as_str(), protocol.as_str()) {
        ("", "TCP") => port.to_string(),
        ("", protocol) => format!("{port}/{protocol}"),
        (name, "TCP") => format!("{name} {port}"),
        (name, protocol) => format!("{name} {port}/{protocol}"),
    }
}

fn entries(kind: GatewayKind, settings: &GatewaySettings, service: &ServiceRecord, port: &PortRecord) -> Vec<Gateway> {
    let at = |port: Port| move |address: &GatewayAddress| Gateway { kind, address: address.clone(), port };
    let external = service.external_ips.iter().copied().map(GatewayAddress::Ip);
    let mut entries: Vec<_> = service.ingress.iter().cloned().chain(external).map(|address| at(port.port)(&address)).collect();
    // The addresses of a load balancer are the better ones: they stay when a node goes.
    if entries.is_empty()
        && let Some(node_port) = port.node_port
    {
        entries.extend(settings.node_addresses.iter().map(at(node_port)));
    }
    entries.sort();
    entries.dedup();
    entries
}

fn without_address(settings: &GatewaySettings, gateway: &GatewayService) -> String {
    let named = format!("the Service {}/{}", gateway.namespace, gateway.name);
    match gateway.service_type.as_str() {
        "LoadBalancer" => {
            format!("{named} is of type LoadBalancer and has no address yet; check what provides load balancers in the cluster")
        }
        "NodePort" if settings.node_addresses.is_empty() => format!(
            "{named} is of type NodePort, and it is not known at which addresses remote clients reach the nodes; set the agent's \
             gateway_node_addresses"
        ),
        other => format!("{named} is of type {other}, which cannot be reached from outside; make it one of type LoadBalancer"),
    }
}
