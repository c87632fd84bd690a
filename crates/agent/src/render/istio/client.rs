//! The cluster that imports.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{Gateway, GatewayAddress, Hostname, ImportedService, Port, TlsMode};
use cofide_k8s_api::WorkloadEntrySpec;
use cofide_k8s_api::istio::{
    ApplyTo, ClientTls, ClientTlsMode, ClusterMatch, ConfigPatch, ConnectionPool, Destination, DestinationRule, DestinationRuleSpec,
    EnvoyFilter, EnvoyFilterSpec, HttpRoute, LabelSelector, Location, ObjectMatch, OutlierDetection, Patch, PatchOperation, PortSelector,
    Resolution, RouteDestination, ServiceEntry, ServiceEntrySpec, ServicePort, Subset, TcpKeepalive, TcpRoute, TcpSettings, TrafficPolicy,
    VirtualService, VirtualServiceSpec, WorkloadEntry,
};
use kube::api::ObjectMeta;
use serde_json::json;

use super::object::{IstioObject, Marks};
use super::{MeshSettings, Rendered, SERVICE_LABEL, Side};
use crate::render::names;

/// The way on which the sidecar speaks mTLS for its application.
const MTLS: &str = "mtls";
/// The way on which the application does.
const PASSTHROUGH: &str = "passthrough";

/// The objects of everything that is imported. A hostname that occurs twice is taken once, the first wins. `taken` are the
/// hostnames for which there are objects of others, with the others.
pub fn imports<'a>(
    imports: impl IntoIterator<Item = &'a ImportedService>,
    taken: &BTreeMap<Hostname, String>,
    settings: &MeshSettings,
) -> Rendered {
    let mut rendered = Rendered::default();
    let mut seen = BTreeSet::new();
    for import in imports {
        let hostname = &import.hostname;
        if !seen.insert(hostname) {
            continue;
        }
        if let Some(problem) = super::refusal(hostname, settings, taken) {
            rendered.refused.insert(hostname.clone(), problem);
            continue;
        }
        let endpoints = Endpoints::of(import);
        if endpoints.addresses.is_empty() {
            rendered.refused.insert(hostname.clone(), "no gateway of the clusters that export it is known".to_owned());
            continue;
        }
        Import { import, settings, endpoints, marks: marks(hostname) }.render(&mut rendered);
    }
    rendered
}

fn marks(hostname: &Hostname) -> Marks {
    Marks { side: Side::Import, hostname: hostname.clone(), service: names::label(hostname.as_str()), owner: None }
}

/// Where the sidecars connect to: all names or all IP addresses, which Istio resolves in different ways.
struct Endpoints {
    addresses: BTreeSet<(GatewayAddress, Port)>,
    resolution: Resolution,
}

impl Endpoints {
    fn of(import: &ImportedService) -> Self {
        let address = |gateway: &Gateway| (gateway.address.clone(), gateway.port);
        // What is left out, Connect tells whoever asks about the import.
        let (used, _) = import.usable_for_istio();
        let resolution = if used.iter().all(|gateway| gateway.address.ip().is_some()) { Resolution::Static } else { Resolution::Dns };
        Self { addresses: used.into_iter().map(address).collect(), resolution }
    }
}

/// One imported service, with what all of its objects need.
struct Import<'a> {
    import: &'a ImportedService,
    settings: &'a MeshSettings,
    endpoints: Endpoints,
    marks: Marks,
}

impl Import<'_> {
    fn render(&self, rendered: &mut Rendered) {
        let hostname = &self.import.hostname;
        rendered.add(IstioObject::new(ServiceEntry::new, self.metadata(), self.service_entry(), &self.marks));
        for (address, port) in &self.endpoints.addresses {
            let identity = [hostname.as_str(), &address.to_string(), &port.to_string()];
            let metadata = ObjectMeta { name: Some(names::object(hostname.as_str(), &identity)), ..self.metadata() };
            rendered.add(IstioObject::new(WorkloadEntry::new, metadata, self.workload_entry(address, *port), &self.marks));
        }
        rendered.add(IstioObject::new(DestinationRule::new, self.metadata(), self.destination_rule(), &self.marks));
        if self.import.tls_mode == TlsMode::Mtls {
            rendered.add(IstioObject::new(VirtualService::new, self.metadata(), self.virtual_service(), &self.marks));
        }
        if self.import.spiffe_id_paths.is_empty() {
            let metadata = ObjectMeta { namespace: Some(self.settings.root_namespace.clone()), ..self.metadata() };
            rendered.add(IstioObject::new(EnvoyFilter::new, metadata, self.trust_domain_pin(), &self.marks));
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let hostname = self.import.hostname.as_str();
        ObjectMeta {
            name: Some(names::object(hostname, &[hostname])),
            namespace: Some(self.settings.agent_namespace.clone()),
            ..ObjectMeta::default()
        }
    }

    fn host(&self) -> String {
        self.import.hostname.to_string()
    }

    fn port(&self) -> u32 {
        self.import.port.get().into()
    }

    /// By name and, for `Mtls`, without a protocol: sidecars then look at what the client says first, and HTTP and everything
    /// else can go two ways on one port. A port that is said to be TLS takes nothing else, one that is said to be TCP or HTTP
    /// no TLS of the client's own. What goes one way in any case (`IstioMtls`) is TCP, so that nobody waits for a client
    /// whose server speaks first.
    fn service_port(&self) -> ServicePort {
        let (name, protocol) = match self.import.tls_mode {
            TlsMode::Mtls => ("auto", ""),
            TlsMode::IstioMtls => ("tcp", "TCP"),
        };
        ServicePort { number: self.port(), protocol: protocol.into(), name: name.into(), target_port: None }
    }

    fn selected(&self) -> BTreeMap<String, String> {
        [(SERVICE_LABEL.to_owned(), self.marks.service.clone())].into()
    }

    fn service_entry(&self) -> ServiceEntrySpec {
        ServiceEntrySpec {
            hosts: vec![self.host()],
            ports: vec![self.service_port()],
            // In the mesh, or sidecars would not speak Istio's mTLS, and there could be no selector.
            location: Some(Location::MeshInternal),
            resolution: Some(self.endpoints.resolution),
            workload_selector: Some(LabelSelector { labels: self.selected() }),
            export_to: everywhere(),
            subject_alt_names: self.import.server_spiffe_ids(),
            ..Default::default()
        }
    }

    /// Without a network: of one that is not its own, istiod would look for gateways itself.
    fn workload_entry(&self, address: &GatewayAddress, port: Port) -> WorkloadEntrySpec {
        let mut labels = self.selected();
        labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
        WorkloadEntrySpec {
            address: address.to_string(),
            ports: [(self.service_port().name, i32::from(port.get()))].into(),
            labels,
            ..Default::default()
        }
    }

    /// mTLS with the workload's own SVID, and only with the IDs that the import names.
    fn mutual_tls(&self, sni: String) -> TrafficPolicy {
        let tls = ClientTls { mode: Some(ClientTlsMode::IstioMutual), sni, subject_alt_names: self.import.server_spiffe_ids() };
        TrafficPolicy { tls: Some(tls), ..TrafficPolicy::default() }
    }

    fn destination_rule(&self) -> DestinationRuleSpec {
        let (traffic_policy, subsets) = match self.import.tls_mode {
            // An application that answers as itself is asked for by its own name.
            TlsMode::Mtls => {
                let untouched = ClientTls { mode: Some(ClientTlsMode::Disable), ..ClientTls::default() };
                let untouched = TrafficPolicy { tls: Some(untouched), ..TrafficPolicy::default() };
                let subset = |name: &str, policy| Subset { name: name.into(), traffic_policy: Some(policy), ..Subset::default() };
                let mutual = self.mutual_tls(self.host());
                (mutual.clone(), vec![subset(MTLS, mutual), subset(PASSTHROUGH, untouched)])
            }
            // Istio's own name for it, which AUTO_PASSTHROUGH expects, is what sidecars send where nothing is said.
            TlsMode::IstioMtls => (self.mutual_tls(String::new()), Vec::new()),
        };
        DestinationRuleSpec {
            host: self.host(),
            traffic_policy: Some(TrafficPolicy {
                connection_pool: Some(connection_pool()),
                outlier_detection: Some(outlier_detection()),
                ..traffic_policy
            }),
            subsets,
            export_to: everywhere(),
            ..Default::default()
        }
    }

    fn virtual_service(&self) -> VirtualServiceSpec {
        let route = |subset: &str| {
            let port = Some(PortSelector { number: self.port() });
            let destination = Destination { host: self.host(), subset: Some(subset.into()), port };
            vec![RouteDestination { destination, weight: None }]
        };
        VirtualServiceSpec {
            hosts: vec![self.host()],
            gateways: vec!["mesh".into()],
            http: vec![HttpRoute { route: route(MTLS), timeout: None }],
            tcp: vec![TcpRoute { route: route(PASSTHROUGH) }],
            export_to: everywhere(),
            ..Default::default()
        }
    }

    /// A DestinationRule knows whole SPIFFE IDs only. Where none is named, any of the server's trust domain will do, and of no
    /// other: that is a prefix, which Envoy knows. The slash at its end keeps `a.test.evil` out of `a.test`.
    fn trust_domain_pin(&self) -> EnvoyFilterSpec {
        let prefix = format!("spiffe://{}/", self.import.trust_domain);
        let value = json!({
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": { "combined_validation_context": { "default_validation_context": {
                        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "prefix": prefix } }],
                    } } },
                },
            },
        });
        // The way without a subset is taken while the routes are not there yet.
        let subsets = match self.import.tls_mode {
            TlsMode::Mtls => vec!["", MTLS],
            TlsMode::IstioMtls => vec![""],
        };
        let patch = |subset: &str| ConfigPatch {
            apply_to: ApplyTo::Cluster,
            matches: ObjectMatch { cluster: ClusterMatch { name: format!("outbound|{}|{subset}|{}", self.port(), self.host()) } },
            patch: Patch { operation: PatchOperation::Merge, value: value.clone() },
        };
        EnvoyFilterSpec { config_patches: subsets.into_iter().map(patch).collect() }
    }
}

fn everywhere() -> Vec<String> {
    vec!["*".to_owned()]
}

fn connection_pool() -> ConnectionPool {
    ConnectionPool {
        tcp: TcpSettings {
            // Three round trips fit in it on any path; and as long as it is, a client waits for a gateway that has just died.
            connect_timeout: Some("3s".into()),
            // A connection may be idle for hours, and nothing else would notice that the other end is gone.
            tcp_keepalive: Some(TcpKeepalive { time: "30s".into(), interval: "10s".into(), probes: 3 }),
        },
    }
}

/// A gateway that cannot be reached is passed over. What the server behind it answers says nothing about the gateway: it is not
/// looked at (for TCP, Istio takes a failed connection for a 5xx, so that it is counted apart).
fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failures: 3,
        consecutive_5xx_errors: 0,
        interval: "1s".into(),
        base_ejection_time: "5s".into(),
        max_ejection_percent: 100,
        min_health_percent: 1,
    }
}
