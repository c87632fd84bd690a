//! One object of each Istio kind with all the fields that we can write.

use kube_core::ObjectMeta;
use serde_json::{Value, json};

use crate::WorkloadEntrySpec;
use crate::istio::{
    Action, ApplyTo, AuthorizationPolicy, AuthorizationPolicySpec, AuthorizationRule, ClientTls, ClientTlsMode, ClusterMatch, Condition,
    ConfigPatch, ConnectionPool, Destination, DestinationRule, DestinationRuleSpec, EnvoyFilter, EnvoyFilterSpec, From, Gateway,
    GatewaySpec, HttpRoute, LabelSelector, Location, MutualTls, MutualTlsMode, ObjectMatch, Operation, OutlierDetection, Patch,
    PatchOperation, PeerAuthentication, PeerAuthenticationSpec, Port, PortSelector, PortTrafficPolicy, Resolution, RouteDestination,
    Server, ServerTls, ServerTlsMode, ServiceEntry, ServiceEntrySpec, ServicePort, Source, Subset, TcpKeepalive, TcpRoute, TcpSettings,
    TlsMatch, TlsRoute, To, TrafficPolicy, VirtualService, VirtualServiceSpec, WorkloadEntry, WorkloadSelector,
};

/// For an API server with Istio's definitions and strict field validation, in the namespace `demo`: it knows every field
/// and every value, or it says which it does not.
pub fn istio_objects() -> Vec<Value> {
    let metadata = || ObjectMeta { name: Some("server".into()), namespace: Some("demo".into()), ..ObjectMeta::default() };
    let labels = [("app".to_owned(), "server".to_owned())];
    let selector = || Some(WorkloadSelector { match_labels: labels.clone().into() });
    let host = || "server.demo.local.domain".to_owned();
    let id = || "spiffe://local.domain/ns/demo/sa/server".to_owned();
    let everywhere = || vec!["*".to_owned()];
    let tls = |mode| ClientTls { mode: Some(mode), sni: host(), subject_alt_names: vec![id()] };
    let endpoint = WorkloadEntrySpec {
        address: "192.0.2.1".into(),
        ports: [("tls".to_owned(), 15443)].into(),
        labels: labels.clone().into(),
        network: "local.domain".into(),
        locality: "region/zone".into(),
        weight: Some(1),
        service_account: "server".into(),
    };

    let service_entry = |endpoints, workload_selector| ServiceEntrySpec {
        hosts: vec![host()],
        addresses: vec!["240.1.1.1".into()],
        ports: vec![ServicePort { number: 8443, protocol: "TLS".into(), name: "tls".into(), target_port: Some(8443) }],
        location: Some(Location::MeshInternal),
        resolution: Some(Resolution::Static),
        endpoints,
        workload_selector,
        export_to: everywhere(),
        subject_alt_names: vec![id()],
    };
    let destination_rule = DestinationRuleSpec {
        host: host(),
        traffic_policy: Some(TrafficPolicy {
            connection_pool: Some(ConnectionPool {
                tcp: TcpSettings {
                    connect_timeout: Some("5s".into()),
                    tcp_keepalive: Some(TcpKeepalive { time: "30s".into(), interval: "10s".into(), probes: 3 }),
                },
            }),
            outlier_detection: Some(OutlierDetection {
                split_external_local_origin_errors: true,
                consecutive_local_origin_failures: 3,
                consecutive_5xx_errors: 1,
                interval: "1s".into(),
                base_ejection_time: "5s".into(),
                max_ejection_percent: 100,
                min_health_percent: 1,
            }),
            tls: Some(tls(ClientTlsMode::IstioMutual)),
            port_level_settings: vec![PortTrafficPolicy { port: PortSelector { number: 8443 }, tls: Some(tls(ClientTlsMode::Disable)) }],
        }),
        subsets: vec![Subset {
            name: "mtls".into(),
            labels: labels.clone().into(),
            traffic_policy: Some(TrafficPolicy { tls: Some(tls(ClientTlsMode::Disable)), ..Default::default() }),
        }],
        export_to: everywhere(),
        workload_selector: selector(),
    };
    let envoy_filter = EnvoyFilterSpec {
        config_patches: vec![ConfigPatch {
            apply_to: ApplyTo::Cluster,
            matches: ObjectMatch { cluster: ClusterMatch { name: format!("outbound|8443|mtls|{}", host()) } },
            patch: Patch { operation: PatchOperation::Merge, value: json!({ "connect_timeout": "1s" }) },
        }],
    };
    let gateway = |mode| Server {
        port: Port { number: 15443, protocol: "TLS".into(), name: format!("tls-{mode:?}").to_lowercase() },
        hosts: vec![host()],
        tls: Some(ServerTls { mode: Some(mode) }),
    };
    let route = || vec![RouteDestination { destination: Destination { host: host(), ..Default::default() }, weight: None }];
    let virtual_service = VirtualServiceSpec {
        hosts: vec![host()],
        gateways: vec!["demo/server".into()],
        tls: vec![TlsRoute {
            matches: vec![TlsMatch { sni_hosts: vec![host()], port: Some(15443), gateways: vec!["demo/server".into()] }],
            route: vec![RouteDestination {
                destination: Destination { host: host(), subset: Some("mtls".into()), port: Some(PortSelector { number: 8443 }) },
                weight: Some(100),
            }],
        }],
        http: vec![HttpRoute { route: route(), timeout: Some("5s".into()) }],
        tcp: vec![TcpRoute { route: route() }],
        export_to: everywhere(),
    };
    let peer_authentication = PeerAuthenticationSpec {
        selector: selector(),
        mtls: Some(MutualTls { mode: Some(MutualTlsMode::Permissive) }),
        port_level_mtls: [(8443, MutualTls { mode: Some(MutualTlsMode::Strict) })].into(),
    };
    let authorization_policy = AuthorizationPolicySpec {
        selector: selector(),
        action: Some(Action::Allow),
        rules: vec![AuthorizationRule {
            from: vec![From {
                source: Source { principals: vec!["other1.domain/*".into()], not_principals: vec!["other1.domain/ns/a/sa/b".into()] },
            }],
            to: vec![To { operation: Operation { ports: vec!["8443".into()], not_ports: vec!["22".into()] } }],
            when: vec![Condition { key: "destination.port".into(), values: vec!["8443".into()], not_values: vec!["22".into()] }],
        }],
    };
    vec![
        json!(ServiceEntry::new(metadata(), service_entry(vec![endpoint.clone()], None))),
        json!(ServiceEntry::new(
            ObjectMeta { name: Some("selected".into()), ..metadata() },
            service_entry(Vec::new(), Some(LabelSelector { labels: labels.clone().into() }))
        )),
        json!(WorkloadEntry::new(metadata(), endpoint)),
        json!(DestinationRule::new(metadata(), destination_rule)),
        json!(EnvoyFilter::new(metadata(), envoy_filter)),
        json!(Gateway::new(
            metadata(),
            GatewaySpec {
                selector: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
                servers: vec![gateway(ServerTlsMode::Passthrough), gateway(ServerTlsMode::AutoPassthrough)],
            }
        )),
        json!(VirtualService::new(metadata(), virtual_service)),
        json!(PeerAuthentication::new(metadata(), peer_authentication)),
        json!(AuthorizationPolicy::new(metadata(), authorization_policy)),
    ]
}
