//! Goldens, which the tests with the real `istioctl` read too, and what must hold for all services.

use std::collections::BTreeMap;

use cofide_core::{
    ExportRefusal, ExportTarget, Gateway, GatewayKind, Hostname, ImportedGateway, ImportedService, ServiceName, TlsMode, TrustDomain,
};
use cofide_k8s_api::ServiceSpec;
use cofide_test_objects::{gateway, port};

use super::client::imports;
use super::server::{Exporting, exports};
use super::*;
use crate::export::export;
use crate::own_cluster::OwnCluster;
use crate::own_cluster::testing::own_cluster;
use crate::render::object::RenderedObject;
use crate::view::{Backing, ClusterView, GatewayService, Kind, ObjectKey, Origin, ServiceObject};

fn cluster() -> OwnCluster {
    own_cluster("local.domain")
}

fn settings() -> MeshSettings {
    MeshSettings { agent_namespace: "cofide".into(), root_namespace: "istio-system".into(), cluster_domain: "cluster.local".into() }
}

fn domains(names: &[&str]) -> std::collections::BTreeSet<TrustDomain> {
    names.iter().map(|name| TrustDomain::new(*name).unwrap()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn discovered(kind: GatewayKind, number: i64) -> GatewayService {
    GatewayService {
        kind,
        namespace: "istio-system".into(),
        name: kind.to_string(),
        service_type: "LoadBalancer".into(),
        selector: map(&[("istio", kind.as_str().trim_start_matches("istio-"))]),
        port: port(number),
        entries: vec![gateway(kind, "192.0.2.1", number)],
    }
}

fn service(object: &str, name: &str, mode: TlsMode) -> ServiceObject {
    let name = ServiceName { name: name.parse().unwrap(), namespace: "demo".parse().unwrap() };
    let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".into(), name: object.into() };
    ServiceObject {
        origin: Origin::Object { key: key.clone(), uid: format!("uid-of-{object}") },
        key,
        age: 0,
        generation: 1,
        spec: Some(ServiceSpec {
            hostname: name.hostname(&cluster().trust_domain).unwrap(),
            name,
            exported_trust_domains: domains(&["other1.domain", "other2.domain"]),
            workload_labels: map(&[("app", "ping-pong-server")]),
            port: port(8443),
            tls_mode: mode,
            spiffe_id_paths: vec![],
            gateways: vec![],
        }),
        problems: vec![],
        backing: Some(Backing { service: Some("ping-pong".into()), target_ports: [port(8443)].into(), ..Backing::default() }),
    }
}

fn spec(object: &mut ServiceObject) -> &mut ServiceSpec {
    object.spec.as_mut().unwrap()
}

fn exported_with(services: Vec<ServiceObject>, gateways: &[GatewayService], targets: Option<&[ExportTarget]>) -> Rendered {
    let view = ClusterView { services, ..ClusterView::default() };
    let entries: Vec<_> = gateways.iter().flat_map(|gateway| gateway.entries.clone()).collect();
    let exporting = export(&cluster(), &entries, &view);
    exports(Exporting {
        own: &cluster().trust_domain,
        exports: &exporting,
        gateways,
        targets: &|_| targets.map(<[_]>::to_vec),
        taken: &BTreeMap::new(),
        settings: &settings(),
    })
}

fn exported(services: Vec<ServiceObject>, gateways: &[GatewayService]) -> Rendered {
    exported_with(services, gateways, None)
}

fn import(name: &str, mode: TlsMode, gateways: &[Gateway]) -> ImportedService {
    ImportedService {
        hostname: format!("{name}.demo.remote.domain").parse().unwrap(),
        port: port(8443),
        tls_mode: mode,
        trust_domain: TrustDomain::new("remote.domain").unwrap(),
        spiffe_id_paths: vec![],
        gateways: gateways
            .iter()
            .map(|gateway| ImportedGateway { gateway: gateway.clone(), cluster_name: "one".parse().unwrap() })
            .collect(),
    }
}

fn imported(services: &[ImportedService]) -> Rendered {
    imports(services, &BTreeMap::new(), &settings())
}

/// What a person would apply, with the notes above it.
fn text(rendered: &Rendered) -> String {
    let mut text = String::new();
    for (hostname, notes) in &rendered.notes {
        for note in notes {
            text += &format!("# {hostname}: {note}\n");
        }
    }
    for object in rendered.objects.values() {
        text += &format!("---\n{}", serde_saphyr::to_string(&object.json()).unwrap());
    }
    text
}

const INGRESS: GatewayKind = GatewayKind::Ingress;
const EAST_WEST: GatewayKind = GatewayKind::EastWest;

#[test]
fn an_mtls_service_behind_both_gateways() {
    let rendered = exported(vec![service("ping-pong", "server", TlsMode::Mtls)], &[discovered(INGRESS, 443), discovered(EAST_WEST, 15443)]);
    insta::assert_snapshot!(text(&rendered));
}

#[test]
fn an_istio_mtls_service_behind_both_gateways() {
    let rendered =
        exported(vec![service("ping-pong", "server", TlsMode::IstioMtls)], &[discovered(INGRESS, 443), discovered(EAST_WEST, 15443)]);
    insta::assert_snapshot!(text(&rendered));
}

#[test]
fn a_service_without_a_gateway() {
    insta::assert_snapshot!(text(&exported(vec![service("ping-pong", "server", TlsMode::Mtls)], &[])));
}

#[test]
fn a_service_with_manual_gateways_alone() {
    let mut object = service("ping-pong", "server", TlsMode::Mtls);
    spec(&mut object).gateways = vec![gateway(INGRESS, "gw.example.com", 5432), gateway(EAST_WEST, "1.2.3.4", 4321)];
    insta::assert_snapshot!(text(&exported(vec![object], &[])));
}

#[test]
fn two_services_whose_pods_listen_elsewhere_than_their_services() {
    let mut first = service("ping-pong", "server", TlsMode::Mtls);
    first.backing.as_mut().unwrap().target_ports = [port(9443)].into();
    let mut second = service("other", "other", TlsMode::IstioMtls);
    second.backing.as_mut().unwrap().target_ports = [port(9443), port(9444)].into();
    insta::assert_snapshot!(text(&exported(vec![first, second], &[discovered(INGRESS, 443)])));
}

#[test]
fn a_service_of_another_namespace_than_its_manifest() {
    let mut object = service("ping-pong", "server", TlsMode::Mtls);
    object.key.namespace = "team".into();
    object.origin = Origin::Object { key: object.key.clone(), uid: "uid".into() };
    insta::assert_snapshot!(text(&exported(vec![object], &[discovered(INGRESS, 443)])));
}

#[test]
fn an_mtls_import_from_two_clusters_and_three_gateways() {
    let gateways =
        [gateway(EAST_WEST, "192.0.2.1", 15443), gateway(EAST_WEST, "2001:db8::1", 15443), gateway(EAST_WEST, "gw.example.com", 15443)];
    insta::assert_snapshot!(text(&imported(&[import("server", TlsMode::Mtls, &gateways)])));
}

#[test]
fn an_istio_mtls_import_with_spiffe_ids() {
    let mut import = import("server", TlsMode::IstioMtls, &[gateway(EAST_WEST, "192.0.2.1", 15443), gateway(INGRESS, "192.0.2.2", 443)]);
    import.spiffe_id_paths = vec!["/ns/demo/sa/one".parse().unwrap(), "/ns/demo/sa/two".parse().unwrap()];
    insta::assert_snapshot!(text(&imported(&[import])));
}

#[test]
fn two_imports_through_gateways_with_names() {
    let names = [gateway(INGRESS, "gw-a.example.com", 443), gateway(INGRESS, "gw-b.example.com", 8443)];
    let imports = [import("one", TlsMode::Mtls, &names), import("two", TlsMode::IstioMtls, &names)];
    insta::assert_snapshot!(text(&imported(&imports)));
}

fn find(rendered: &Rendered, kind: &str) -> serde_json::Value {
    rendered.objects.values().find(|object| object.name.kind == kind).unwrap().json()
}

#[test]
fn who_cannot_import_a_service_is_not_admitted() {
    let refused =
        ExportTarget { trust_domain: TrustDomain::new("other1.domain").unwrap(), refusal: Some(ExportRefusal::UnknownTrustDomain) };
    let admitted = ExportTarget { trust_domain: TrustDomain::new("other2.domain").unwrap(), refusal: None };
    let services = vec![service("ping-pong", "server", TlsMode::IstioMtls)];
    let rendered = exported_with(services, &[discovered(INGRESS, 443)], Some(&[refused, admitted]));
    let source = &find(&rendered, "AuthorizationPolicy")["spec"]["rules"][0]["from"][0]["source"];
    assert_eq!(source["notPrincipals"], serde_json::json!(["local.domain/*", "other2.domain/*"]));
}

#[test]
fn hosts_of_others_and_of_the_cluster_itself_are_left_alone() {
    let taken = BTreeMap::from([("one.demo.remote.domain".parse().unwrap(), "ServiceEntry demo/theirs".to_owned())]);
    let gateways = [gateway(EAST_WEST, "192.0.2.1", 15443)];
    let mut own = import("kubernetes", TlsMode::Mtls, &gateways);
    own.hostname = "kubernetes.default.svc.cluster.local".parse().unwrap();
    let rendered = imports(&[import("one", TlsMode::Mtls, &gateways), own.clone()], &taken, &settings());
    assert_eq!(rendered.objects.len(), 0);
    assert!(rendered.refused[&"one.demo.remote.domain".parse::<Hostname>().unwrap()].contains("ServiceEntry demo/theirs"));
    assert!(rendered.refused[&own.hostname].contains("Service of this cluster"));
}

#[test]
fn an_import_without_gateways_has_no_objects() {
    let rendered = imported(&[import("server", TlsMode::Mtls, &[])]);
    assert_eq!((rendered.objects.len(), rendered.refused.len()), (0, 1));
}

#[test]
fn an_object_that_somebody_changed_is_known_by_what_we_wrote() {
    let rendered = imported(&[import("server", TlsMode::Mtls, &[gateway(EAST_WEST, "192.0.2.1", 15443)])]);
    for object in rendered.objects.values() {
        let mut live = object.json();
        live["metadata"]["uid"] = "x".into();
        live["metadata"]["labels"]["team"] = "b".into();
        live["status"] = serde_json::json!({ "addresses": [{ "value": "240.240.0.1" }] });
        assert!(object.is_in(&live), "{}", object.name);
        live["metadata"]["labels"][SERVICE_LABEL] = "other".into();
        assert!(!object.is_in(&live), "{}", object.name);
        let mut live = object.json();
        live["spec"] = serde_json::json!({});
        assert!(!object.is_in(&live), "{}", object.name);
    }
}

#[test]
fn names_of_the_longest_service_fit() {
    let long = "a".repeat(63);
    let mut object = service(&"b".repeat(253), &long, TlsMode::IstioMtls);
    spec(&mut object).workload_labels = map(&[("app", &long)]);
    let rendered = exported(vec![object], &[discovered(INGRESS, 443), discovered(EAST_WEST, 15443)]);
    assert_eq!(rendered.objects.len(), 6);
    for name in rendered.objects.keys() {
        assert!(name.name.len() <= 63, "{name}");
    }
}
