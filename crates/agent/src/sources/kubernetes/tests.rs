//! Objects as the API server gives them, and what is decided about them.

use cofide_core::{DnsLabel, TrustDomain};
use cofide_k8s_api::{FederatedServiceObject, testdata};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decide::{CrossNamespace, SourceSettings, decide};
use super::gateways::{Discovery, GatewaySettings, discover};
use super::records::{ServiceObjectRecord, ServiceRecord, SliceRecord};
use crate::export::reasons;
use crate::view::{Backing, ClusterView, ServiceObject};

fn settings() -> SourceSettings {
    SourceSettings {
        gateways: GatewaySettings {
            namespace: "istio-system".to_owned(),
            ingress: "istio-ingressgateway".to_owned(),
            east_west: "istio-eastwestgateway".to_owned(),
            node_addresses: vec![],
        },
        cross_namespace: CrossNamespace::Nobody,
    }
}

fn own() -> TrustDomain {
    TrustDomain::new(testdata::TRUST_DOMAIN).unwrap()
}

fn read(object: &Value) -> FederatedServiceObject {
    serde_json::from_value(object.clone()).unwrap()
}

fn object(name: &str, created: &str, change: impl FnOnce(&mut Value)) -> ServiceObjectRecord {
    let mut object = testdata::federated_service();
    object["metadata"] = json!({
        "namespace": "demo", "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created, "generation": 1, "resourceVersion": "7",
    });
    change(&mut object);
    ServiceObjectRecord::new(&read(&object), &own(), None)
}

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-02-01T00:00:00Z";

fn service(spec: &Value) -> ServiceRecord {
    named("server", spec)
}

fn named(name: &str, spec: &Value) -> ServiceRecord {
    let metadata = json!({ "namespace": "demo", "name": name });
    let service: Service = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
    (&service).into()
}

fn slice(service: &str, content: &Value) -> SliceRecord {
    let mut object = json!({
        "metadata": { "namespace": "demo", "name": format!("{service}-x"), "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": [],
    });
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    let slice: EndpointSlice = serde_json::from_value(object).unwrap();
    (&slice).into()
}

fn endpoints(ready: &[&str], waiting: &[&str]) -> Value {
    let endpoint = |(address, ready)| json!({ "addresses": [address], "conditions": { "ready": ready } });
    ready.iter().map(|address| (address, true)).chain(waiting.iter().map(|address| (address, false))).map(endpoint).collect()
}

fn backing(services: &[ServiceRecord], slices: &[SliceRecord]) -> Backing {
    let objects = [object("ping-pong", EARLY, |_| {})];
    decide(&settings(), &objects, services, slices).services.remove(0).backing.unwrap()
}

fn backends(backing: &Backing) -> Vec<String> {
    backing.backends.iter().map(|backend| format!("{}:{}", backend.address, backend.port)).collect()
}

const SELECTOR: &str = "ping-pong-server";

#[test]
fn the_port_of_a_service_is_found_by_its_number_and_by_where_it_leads() {
    let slices = [slice(
        "server",
        &json!({
            "ports": [{ "name": "tls", "port": 8443 }, { "name": "old", "port": 9443 }, { "name": "admin", "port": 9000 }],
            "endpoints": endpoints(&["10.0.0.2", "10.0.0.1"], &["10.0.0.3"]),
        }),
    )];
    let cases = [
        ("the same number", json!([{ "name": "tls", "port": 8443 }]), 8443),
        ("another target", json!([{ "name": "old", "port": 8443, "targetPort": 9443 }]), 9443),
        ("a named target", json!([{ "name": "old", "port": 8443, "targetPort": "secure" }]), 9443),
        ("where the server listens", json!([{ "name": "tls", "port": 443, "targetPort": 8443 }]), 8443),
        ("where the server listens, by name", json!([{ "name": "tls", "port": 443, "targetPort": "secure" }]), 8443),
        (
            "its own number first",
            json!([{ "name": "tls", "port": 443, "targetPort": 8443 }, { "name": "admin", "port": 8443, "targetPort": 9000 }]),
            9000,
        ),
        ("TCP before UDP", json!([{ "name": "quic", "port": 8443, "protocol": "UDP" }, { "name": "tls", "port": 8443 }]), 8443),
    ];
    for (name, ports, expected) in cases {
        let backing = backing(&[service(&json!({ "selector": { "app": SELECTOR }, "ports": ports }))], &slices);
        assert_eq!(backing.problem, None, "{name}");
        assert_eq!(backends(&backing), [format!("10.0.0.1:{expected}"), format!("10.0.0.2:{expected}")], "{name}");
        assert_eq!(backing.target_ports.iter().map(|port| port.get()).collect::<Vec<_>>(), [expected], "{name}");
    }
}

#[test]
fn a_service_that_cannot_be_reached_says_why_and_what_to_do() {
    let tls = json!([{ "name": "tls", "port": 8443 }]);
    let of = |selector: Value, ports: &Value| json!({ "selector": selector, "ports": ports });
    let mine = json!({ "app": SELECTOR });
    let cases: [(&str, Vec<ServiceRecord>, &str, &str); 10] = [
        ("no Service at all", vec![], reasons::NO_SERVICE, "no Service in namespace demo at all"),
        ("other labels", vec![service(&of(json!({ "app": "other" }), &tls))], reasons::NO_SERVICE, "server selects app=other"),
        ("no selector", vec![service(&of(json!({}), &tls))], reasons::NO_SERVICE, "server selects none"),
        (
            "one that selects more narrowly",
            vec![service(&of(json!({ "app": SELECTOR, "version": "v1" }), &tls))],
            reasons::NO_SERVICE,
            "server selects app=ping-pong-server,version=v1",
        ),
        ("another port", vec![service(&of(mine.clone(), &json!([{ "port": 80 }])))], reasons::NO_SERVICE_PORT, "ports 80 to 80"),
        (
            "UDP",
            vec![service(&of(mine.clone(), &json!([{ "port": 8443, "protocol": "UDP" }])))],
            reasons::PORT_NOT_TCP,
            "port 8443 of Service demo/server is for UDP",
        ),
        (
            "ExternalName",
            vec![service(&json!({ "type": "ExternalName", "externalName": "example.com", "selector": mine, "ports": tls }))],
            reasons::EXTERNAL_NAME,
            "leads out of the cluster to example.com",
        ),
        (
            "two that lead to different ports",
            vec![
                named("one", &of(mine.clone(), &tls)),
                named("two", &of(mine.clone(), &json!([{ "name": "tls", "port": 8443, "targetPort": 9443 }]))),
            ],
            reasons::AMBIGUOUS_SERVICE,
            "two (selects app=ping-pong-server; ports 8443 to 9443)",
        ),
        ("nobody", vec![named("empty", &of(mine.clone(), &tls))], reasons::NO_ENDPOINT, "Service demo/empty has no endpoint"),
        ("nobody ready", vec![named("slow", &of(mine, &tls))], reasons::NO_READY_ENDPOINT, "none of the 2 endpoints"),
    ];
    let slow =
        slice("slow", &json!({ "ports": [{ "name": "tls", "port": 8443 }], "endpoints": endpoints(&[], &["10.0.0.1", "10.0.0.2"]) }));
    for (name, services, reason, words) in cases {
        let backing = backing(&services, std::slice::from_ref(&slow));
        let problem = backing.problem.unwrap_or_else(|| panic!("{name}: no problem"));
        assert_eq!(problem.reason, reason, "{name}: {}", problem.message);
        assert!(problem.message.contains(words), "{name}: {}", problem.message);
        assert!(backing.backends.is_empty(), "{name}");
    }
}

#[test]
fn a_headless_service_will_do_alone_and_beside_another_one() {
    let ports = json!([{ "name": "tls", "port": 8443 }]);
    let headless = named("headless", &json!({ "clusterIP": "None", "selector": { "app": SELECTOR }, "ports": ports }));
    let ordinary = named("ordinary", &json!({ "selector": { "app": SELECTOR }, "ports": ports }));
    let of = |name: &str| slice(name, &json!({ "ports": [{ "name": "tls", "port": 8443 }], "endpoints": endpoints(&["10.0.0.1"], &[]) }));
    let slices = [of("headless"), of("ordinary")];
    assert_eq!(backends(&backing(std::slice::from_ref(&headless), &slices)), ["10.0.0.1:8443"]);
    assert_eq!(backends(&backing(&[ordinary, headless], &slices)), ["10.0.0.1:8443"]);
}

#[test]
fn a_pod_of_two_families_is_one_backend_and_of_the_family_that_the_service_prefers() {
    let ports = json!([{ "name": "tls", "port": 8443 }]);
    let of = |families: Value| service(&json!({ "selector": { "app": SELECTOR }, "ports": ports, "ipFamilies": families }));
    let part = |kind: &str, address: &str| {
        let ports = json!([{ "name": "tls", "port": 8443 }]);
        slice("server", &json!({ "addressType": kind, "ports": ports, "endpoints": endpoints(&[address], &[]) }))
    };
    let slices = [part("IPv4", "10.0.0.1"), part("IPv6", "fd00::1")];
    assert_eq!(backends(&backing(&[of(json!(["IPv4", "IPv6"]))], &slices)), ["10.0.0.1:8443"]);
    assert_eq!(backends(&backing(&[of(json!(["IPv6", "IPv4"]))], &slices)), ["fd00::1:8443"]);
}

fn gateway(name: &str, spec: &Value, ingress: &Value) -> ServiceRecord {
    let metadata = json!({ "namespace": "istio-system", "name": name });
    let status = json!({ "loadBalancer": { "ingress": ingress } });
    let service: Service = serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap();
    (&service).into()
}

fn found(discovery: &Discovery) -> Vec<String> {
    discovery.gateways.iter().flat_map(|gateway| &gateway.entries).map(ToString::to_string).collect()
}

#[test]
fn gateways_are_found_by_the_name_and_number_of_their_ports_with_every_address() {
    let spec = |ports: Value| json!({ "type": "LoadBalancer", "selector": { "istio": "gw" }, "ports": ports });
    let both = json!([{ "hostname": "gw.example.com" }, { "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }]);
    let cases = [
        ("istio-ingressgateway", json!([{ "name": "https", "port": 8443 }, { "name": "tls", "port": 443 }]), 8443),
        ("istio-ingressgateway", json!([{ "name": "http2", "port": 80 }, { "name": "secure", "port": 443 }]), 443),
        ("istio-eastwestgateway", json!([{ "name": "status-port", "port": 15021 }, { "name": "tls", "port": 443 }]), 443),
        ("istio-eastwestgateway", json!([{ "name": "other", "port": 15443 }]), 15443),
    ];
    for (name, ports, port) in cases {
        let discovery = discover(&settings().gateways, &[gateway(name, &spec(ports), &both)]);
        let expected =
            [format!("{name} gw.example.com:{port}"), format!("{name} 192.0.2.1:{port}"), format!("{name} [2001:db8::1]:{port}")];
        assert_eq!(found(&discovery), expected);
        assert_eq!(discovery.gateways[0].port.get(), port);
        assert_eq!(discovery.findings.len(), 1, "the other gateway is missing: {:?}", discovery.findings);
    }
}

#[test]
fn what_was_looked_for_in_vain_is_told_with_what_was_seen() {
    let spec = |service_type: &str, ports: Value| json!({ "type": service_type, "selector": { "istio": "gw" }, "ports": ports });
    let https = json!([{ "name": "https", "port": 443, "nodePort": 30443 }]);
    let cases = [
        (
            spec("LoadBalancer", json!([{ "name": "http2", "port": 80 }, { "name": "udp", "port": 443, "protocol": "UDP" }])),
            "its ports are: http2 80, udp 443/UDP",
        ),
        (spec("LoadBalancer", https.clone()), "has no address yet"),
        (spec("ClusterIP", https.clone()), "cannot be reached from outside"),
        (spec("NodePort", https.clone()), "gateway_node_addresses"),
        (spec("ExternalName", https.clone()), "of type ExternalName"),
        (json!({ "type": "LoadBalancer", "ports": https }), "has no selector"),
    ];
    for (spec, words) in cases {
        let discovery = discover(&settings().gateways, &[gateway("istio-ingressgateway", &spec, &json!([]))]);
        assert!(found(&discovery).is_empty());
        assert!(discovery.findings.iter().any(|finding| finding.contains(words)), "{words}: {:?}", discovery.findings);
    }
    let elsewhere = GatewaySettings { namespace: "mesh".to_owned(), ingress: String::new(), ..settings().gateways };
    assert_eq!(discover(&elsewhere, &[]).findings, ["there is no Service mesh/istio-eastwestgateway"]);
}

#[test]
fn node_ports_count_where_the_nodes_are_known_and_nothing_better_is() {
    let node_addresses = vec!["203.0.113.1".parse().map(cofide_core::GatewayAddress::Ip).unwrap()];
    let settings = GatewaySettings { node_addresses, ..settings().gateways };
    let ports = json!([{ "name": "https", "port": 443, "nodePort": 30443 }]);
    let spec = |kind: &str| json!({ "type": kind, "selector": { "istio": "gw" }, "ports": ports });
    let of = |kind: &str, ingress: Value| found(&discover(&settings, &[gateway("istio-ingressgateway", &spec(kind), &ingress)]));
    assert_eq!(of("NodePort", json!([])), ["istio-ingressgateway 203.0.113.1:30443"]);
    assert_eq!(of("LoadBalancer", json!([{ "ip": "192.0.2.1" }])), ["istio-ingressgateway 192.0.2.1:443"]);
    assert_eq!(discover(&settings, &[gateway("istio-ingressgateway", &spec("NodePort"), &json!([]))]).gateways[0].port.get(), 443);
}

#[test]
fn a_namespace_exports_its_own_pods_unless_the_operator_trusts_it() {
    let objects = [object("ping-pong", EARLY, |object| object["spec"]["namespace"] = json!("other"))];
    let decided = |cross_namespace| {
        let settings = SourceSettings { cross_namespace, ..settings() };
        decide(&settings, &objects, &[], &[]).services.remove(0)
    };
    let refused = decided(CrossNamespace::Nobody);
    assert!(refused.spec.is_none() && refused.problems[0].contains("cross_namespace_from"), "{:?}", refused.problems);
    let trusted = |namespace: &str| CrossNamespace::From(vec![namespace.parse::<DnsLabel>().unwrap()]);
    assert!(decided(trusted("other")).spec.is_none(), "the trusted one is where the object is");
    assert!(decided(trusted("demo")).spec.is_some());
    assert!(decided(CrossNamespace::Everybody).spec.is_some());
}

#[test]
fn the_last_valid_version_of_an_object_stays_known_and_that_of_its_namesake_does_not() {
    let valid = object("ping-pong", EARLY, |_| {});
    let mut broken = testdata::federated_service();
    broken["metadata"] = json!({ "namespace": "demo", "name": "ping-pong", "uid": "uid-ping-pong" });
    broken["spec"]["port"] = json!(0);
    let after = ServiceObjectRecord::new(&read(&broken), &own(), Some(&valid));
    assert_eq!(after.valid, valid.valid);
    assert!(after.problems[0].starts_with("spec.port"), "{:?}", after.problems);
    broken["metadata"]["uid"] = json!("another");
    assert_eq!(ServiceObjectRecord::new(&read(&broken), &own(), Some(&valid)).valid, None);
}

#[test]
fn an_object_that_waits_for_its_finalizers_is_withdrawn() {
    let going = object("ping-pong", EARLY, |object| object["metadata"]["deletionTimestamp"] = json!(LATE));
    assert_eq!(decide(&settings(), &[going], &[], &[]).services, []);
}

#[test]
fn the_older_of_two_objects_comes_first_whatever_their_names_are() {
    let objects = [object("a", LATE, |_| {}), object("b", EARLY, |_| {}), object("c", LATE, |_| {})];
    let names: Vec<_> =
        decide(&settings(), &objects, &[], &[]).services.into_iter().map(|service: ServiceObject| service.key.name).collect();
    assert_eq!(names, ["b", "a", "c"]);
}

proptest! {
    #[test]
    fn the_order_in_which_objects_come_does_not_matter(order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle()) {
        let ports = json!([{ "name": "tls", "port": 8443 }]);
        let objects = [object("a", LATE, |_| {}), object("b", EARLY, |_| {}), object("c", EARLY, |object| object["spec"]["port"] = json!(0))];
        let of = |app: &str| json!({ "selector": { "app": app }, "ports": ports });
        let services = [
            named("server", &of(SELECTOR)),
            named("second", &of(SELECTOR)),
            gateway("istio-ingressgateway", &json!({ "selector": { "a": "b" }, "ports": [{ "port": 443 }] }), &json!([{ "ip": "192.0.2.1" }])),
        ];
        let part = |name: &str, address: &str| {
            slice(name, &json!({ "ports": [{ "name": "tls", "port": 8443 }], "endpoints": endpoints(&[address], &[]) }))
        };
        let slices = [part("server", "10.0.0.1"), part("server", "10.0.0.2"), part("second", "10.0.0.3")];
        let in_order = |order: &[usize]| -> ClusterView {
            let of = |from: usize| order.iter().filter(move |&&at| (from..from + 3).contains(&at)).map(move |at| at - from);
            decide(
                &settings(),
                of(0).map(|at| &objects[at]),
                of(3).map(|at| &services[at]).collect::<Vec<_>>(),
                of(6).map(|at| &slices[at]),
            )
        };
        let sorted: Vec<_> = (0..9).collect();
        prop_assert_eq!(in_order(&order), in_order(&sorted));
    }
}
