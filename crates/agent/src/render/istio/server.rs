//! The cluster that exports.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{ExportTarget, FederatedServiceId, GatewayKind, Hostname, Port, TlsMode, TrustDomain};
use cofide_k8s_api::istio::{
    Action, AuthorizationPolicy, AuthorizationPolicySpec, AuthorizationRule, Destination, From, Gateway, GatewaySpec, LabelSelector,
    Location, MutualTls, MutualTlsMode, Operation, PeerAuthentication, PeerAuthenticationSpec, Port as GatewayPort, PortSelector,
    Resolution, RouteDestination, Server, ServerTls, ServerTlsMode, ServiceEntry, ServiceEntrySpec, ServicePort, Source, TlsMatch,
    TlsRoute, To, VirtualService, VirtualServiceSpec, WorkloadSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;

use super::object::{IstioObject, Marks};
use super::{MeshSettings, Rendered, Side};
use crate::export::{Export, Offer};
use crate::render::names;
use crate::view::{GatewayService, ObjectKey, Origin};

/// What [`exports`] looks at.
#[derive(Clone, Copy)]
pub struct Exporting<'a> {
    pub own: &'a TrustDomain,
    pub exports: &'a [Export],
    /// Those that were discovered.
    pub gateways: &'a [GatewayService],
    /// What Connect said of the trust domains that a service is exported to; see [`Offer::route`].
    pub targets: &'a dyn Fn(&FederatedServiceId) -> Option<Vec<ExportTarget>>,
    /// Hostnames for which there are objects of others, with the others.
    pub taken: &'a BTreeMap<Hostname, String>,
    pub settings: &'a MeshSettings,
}

/// The objects of everything that is offered.
pub fn exports(around: Exporting<'_>) -> Rendered {
    let mut rendered = Rendered::default();
    for export in around.exports {
        let Some(offer) = export.offer() else { continue };
        let hostname = &offer.service.hostname;
        if let Some(problem) = super::refusal(hostname, around.settings, around.taken) {
            rendered.refused.insert(hostname.clone(), problem);
            continue;
        }
        Service::new(around, export, offer, &mut rendered).render(&mut rendered);
    }
    rendered
}

/// One exported service, with what all of its objects need.
struct Service<'a> {
    own: &'a TrustDomain,
    key: &'a ObjectKey,
    owner: Option<OwnerReference>,
    offer: &'a Offer,
    marks: Marks,
    /// On which ports the pods listen; never empty.
    pod_ports: BTreeSet<Port>,
    entrances: Vec<Entrance>,
    admitted: BTreeSet<TrustDomain>,
}

/// A gateway to bind to.
struct Entrance {
    /// What tells it from the service's other ones.
    name: String,
    namespace: Option<String>,
    selector: BTreeMap<String, String>,
    port: Port,
}

impl<'a> Service<'a> {
    fn new(around: Exporting<'a>, export: &'a Export, offer: &'a Offer, rendered: &mut Rendered) -> Self {
        let service = &offer.service;
        let mut pod_ports = offer.backing.iter().flat_map(|backing| backing.target_ports.iter().copied()).collect::<BTreeSet<_>>();
        if pod_ports.is_empty() {
            pod_ports.insert(service.port);
        }
        if let (Some(first), true) = (pod_ports.first(), pod_ports.len() > 1) {
            let ports: Vec<_> = pod_ports.iter().map(ToString::to_string).collect();
            let note = format!(
                "pods listen on the ports {} for port {}, and a ServiceEntry can name one: {first}. Let all pods listen on one port",
                ports.join(", "),
                service.port
            );
            rendered.note(&service.hostname, note);
        }
        let entrances = entrances(offer, around.gateways);
        Self {
            own: around.own,
            key: &export.key,
            owner: owner(export, offer),
            offer,
            marks: Marks {
                side: Side::Export,
                hostname: service.hostname.clone(),
                service: names::label(service.id.as_str()),
                owner: Some(format!("{}/{}", export.key.namespace, export.key.name)),
            },
            pod_ports,
            entrances,
            admitted: offer.route((around.targets)(&service.id).as_deref()).admitted,
        }
    }

    fn render(&self, rendered: &mut Rendered) {
        rendered.add(IstioObject::new(ServiceEntry::new, self.metadata(), self.service_entry(), &self.marks));
        if self.entrances.is_empty() {
            return;
        }
        rendered.add(IstioObject::new(PeerAuthentication::new, self.metadata(), self.peer_authentication(), &self.marks));
        if self.offer.service.tls_mode == TlsMode::IstioMtls {
            rendered.add(IstioObject::new(AuthorizationPolicy::new, self.metadata(), self.authorization_policy(), &self.marks));
        }
        for entrance in &self.entrances {
            let metadata = ObjectMeta { name: Some(self.gateway_name(entrance)), ..self.metadata() };
            rendered.add(IstioObject::new(Gateway::new, metadata, self.gateway(entrance), &self.marks));
        }
        rendered.add(IstioObject::new(VirtualService::new, self.metadata(), self.virtual_service(), &self.marks));
    }

    fn namespace(&self) -> String {
        self.offer.service.name.namespace.to_string()
    }

    /// The objects select pods, so they are where the pods are.
    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(names::object(&self.key.name, &[&self.key.namespace, &self.key.name])),
            namespace: Some(self.namespace()),
            owner_references: self.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    fn gateway_name(&self, entrance: &Entrance) -> String {
        names::object(&self.key.name, &[&self.key.namespace, &self.key.name, &entrance.name])
    }

    fn host(&self) -> String {
        self.offer.service.hostname.to_string()
    }

    fn port(&self) -> u32 {
        self.offer.service.port.get().into()
    }

    fn workloads(&self) -> WorkloadSelector {
        WorkloadSelector { match_labels: self.offer.service.workload_labels.clone() }
    }

    /// The namespace of the service and those of the gateways, and no others: the rest of the mesh has the Kubernetes Service.
    fn export_to(&self) -> Vec<String> {
        let own = self.namespace();
        let gateways: BTreeSet<_> = self.entrances.iter().map(|entrance| entrance.namespace.clone()).collect();
        // A gateway that was not found can be anywhere.
        if gateways.contains(&None) {
            return vec!["*".to_owned()];
        }
        let others = gateways.into_iter().flatten().filter(|namespace| *namespace != own);
        std::iter::once(".".to_owned()).chain(others).collect()
    }

    fn service_entry(&self) -> ServiceEntrySpec {
        let (name, protocol) = match self.offer.service.tls_mode {
            TlsMode::Mtls => ("tls", "TLS"),
            TlsMode::IstioMtls => ("tcp", "TCP"),
        };
        let target = self.pod_ports.first().map(|port| u32::from(port.get())).filter(|port| *port != self.port());
        let labels = self.offer.service.workload_labels.clone();
        ServiceEntrySpec {
            hosts: vec![self.host()],
            ports: vec![ServicePort { number: self.port(), protocol: protocol.into(), name: name.into(), target_port: target }],
            // AUTO_PASSTHROUGH leaves out what is not in the mesh.
            location: Some(Location::MeshInternal),
            resolution: Some(Resolution::Static),
            workload_selector: Some(LabelSelector { labels }),
            export_to: self.export_to(),
            ..Default::default()
        }
    }

    fn peer_authentication(&self) -> PeerAuthenticationSpec {
        let mode = match self.offer.service.tls_mode {
            TlsMode::Mtls => MutualTlsMode::Disable,
            TlsMode::IstioMtls => MutualTlsMode::Strict,
        };
        PeerAuthenticationSpec {
            selector: Some(self.workloads()),
            mtls: None,
            port_level_mtls: self.pod_ports.iter().map(|port| (port.get().into(), MutualTls { mode: Some(mode) })).collect(),
        }
    }

    /// Refuses whoever is neither of the trust domains that the service is exported to nor of the mesh's own, and whoever shows
    /// no identity at all. It refuses and does not allow, because a policy that allows would close every other port of
    /// the workload, and would add to what other policies allow instead of bounding it. What the mesh's own workloads
    /// may is left to the mesh's own policies.
    fn authorization_policy(&self) -> AuthorizationPolicySpec {
        let domains: BTreeSet<_> = self.admitted.iter().chain([self.own]).collect();
        let source = Source { not_principals: domains.into_iter().map(|domain| format!("{domain}/*")).collect(), ..Source::default() };
        let operation = Operation { ports: self.pod_ports.iter().map(ToString::to_string).collect(), ..Operation::default() };
        AuthorizationPolicySpec {
            selector: Some(self.workloads()),
            action: Some(Action::Deny),
            rules: vec![AuthorizationRule { from: vec![From { source }], to: vec![To { operation }], when: Vec::new() }],
        }
    }

    fn gateway(&self, entrance: &Entrance) -> GatewaySpec {
        let mode = match self.offer.service.tls_mode {
            TlsMode::Mtls => ServerTlsMode::Passthrough,
            TlsMode::IstioMtls => ServerTlsMode::AutoPassthrough,
        };
        let server = Server {
            port: GatewayPort { number: entrance.port.get().into(), protocol: "TLS".into(), name: "tls".into() },
            // Only routes of this namespace can be bound to it.
            hosts: vec![format!("./{}", self.host())],
            tls: Some(ServerTls { mode: Some(mode) }),
        };
        GatewaySpec { selector: entrance.selector.clone(), servers: vec![server] }
    }

    /// AUTO_PASSTHROUGH does not look at it. It is there all the same, so that a service has the same objects in both modes.
    fn virtual_service(&self) -> VirtualServiceSpec {
        let destination = Destination { host: self.host(), port: Some(PortSelector { number: self.port() }), ..Destination::default() };
        VirtualServiceSpec {
            hosts: vec![self.host()],
            gateways: self.entrances.iter().map(|entrance| self.gateway_name(entrance)).collect(),
            tls: vec![TlsRoute {
                matches: vec![TlsMatch { sni_hosts: vec![self.host()], ..TlsMatch::default() }],
                route: vec![RouteDestination { destination, weight: None }],
            }],
            export_to: self.export_to(),
            ..Default::default()
        }
    }
}

/// Where remote clients enter: every gateway that was discovered, whatever addresses are announced; where none was, those that
/// the manual entries name, as Istio's own charts label them.
fn entrances(offer: &Offer, discovered: &[GatewayService]) -> Vec<Entrance> {
    if !discovered.is_empty() {
        let entrance = |gateway: &GatewayService| Entrance {
            name: format!("{}/{}", gateway.namespace, gateway.name),
            namespace: Some(gateway.namespace.clone()),
            selector: gateway.selector.clone(),
            port: gateway.port,
        };
        return discovered.iter().map(entrance).collect();
    }
    let manual: BTreeSet<_> = offer.service.gateway_specs.iter().map(|gateway| (gateway.kind, gateway.port)).collect();
    let entrance = |(kind, port): (GatewayKind, Port)| {
        let label = match kind {
            GatewayKind::Ingress => "ingressgateway",
            GatewayKind::EastWest => "eastwestgateway",
        };
        Entrance { name: format!("{kind}:{port}"), namespace: None, selector: [("istio".to_owned(), label.to_owned())].into(), port }
    };
    manual.into_iter().map(entrance).collect()
}

/// The FederatedService, for objects in its own namespace: Kubernetes takes them away with it. An owner in another namespace
/// does not exist to Kubernetes, which would take the objects away at once.
fn owner(export: &Export, offer: &Offer) -> Option<OwnerReference> {
    let Origin::Object { key, uid } = &export.origin else { return None };
    (key.namespace == offer.service.name.namespace.as_str()).then(|| OwnerReference {
        api_version: cofide_k8s_api::federated_service::API_VERSION.to_owned(),
        kind: cofide_k8s_api::federated_service::KIND.to_owned(),
        name: key.name.clone(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    })
}
