use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use cofide_core::{GatewayAddress, GatewayKind, ImportedService, TlsMode};
use cofide_test_objects::{domain, imported_service, port};
use cofide_xds::Resource;
use cofide_xds::envoy::envoy::config::listener::v3::{FilterChain, Listener};
use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER};
use proptest::prelude::*;
use prost::Message;

use super::{Rendered, SidecarSettings, TrustBundles, golden, sidecar_clusters, sidecar_listeners};
use crate::desired::{Backend, DesiredImport, GatewayPlan, GatewayRoute, desired};

const ALL: TrustBundles = TrustBundles::All;

fn gateway(plan: &GatewayPlan) -> Rendered {
    super::gateway(plan, ALL)
}

fn client(imports: &[DesiredImport]) -> Rendered {
    super::client(imports, ALL)
}

fn sidecar(imports: &[DesiredImport], settings: &SidecarSettings) -> Rendered {
    sidecar_clusters(imports, ALL).into_iter().chain(sidecar_listeners(imports, settings)).collect()
}

fn sdk(imports: &[DesiredImport]) -> Rendered {
    super::sdk(imports, ALL)
}

#[test]
fn bundles_have_the_name_of_the_mesh_where_there_is_one() {
    let imports = [import("server.demo.a.test", &[(INGRESS, "192.0.2.1")])];
    for (bundles, named, not) in [(ALL, "ALL", "ROOTCA"), (TrustBundles::RootCa, "ROOTCA", "ALL")] {
        let text = golden::text(&super::client(&imports, bundles));
        assert!(text.contains(&format!("name: {named}")) && !text.contains(&format!("name: {not}")), "{text}");
    }
}

fn address(text: &str) -> GatewayAddress {
    text.parse().map_or_else(|_| GatewayAddress::Hostname(text.parse().unwrap()), GatewayAddress::Ip)
}

fn route(hostname: &str, mode: TlsMode, admitted: &[&str], backends: &[(&str, u16)]) -> GatewayRoute {
    GatewayRoute {
        hostname: hostname.parse().unwrap(),
        port: port(8443),
        mode,
        admitted: admitted.iter().map(|name| domain(name)).collect(),
        backends: backends.iter().map(|(host, number)| Backend { address: address(host), port: port(i64::from(*number)) }).collect(),
    }
}

fn plan(routes: Vec<GatewayRoute>) -> GatewayPlan {
    GatewayPlan { listen: "127.0.0.1:15443".parse().unwrap(), routes }
}

fn import(hostname: &str, gateways: &[(GatewayKind, &str)]) -> DesiredImport {
    let import = imported_service(hostname, gateways);
    DesiredImport { import, address: Some(Ipv4Addr::new(127, 77, 0, 1)) }
}

fn sidecar_settings() -> SidecarSettings {
    SidecarSettings {
        pool: "127.77.0.0/16".parse().unwrap(),
        resolver: "127.0.0.1:10053".parse().unwrap(),
        fallback_resolvers: BTreeSet::from(["10.0.0.10:53".parse().unwrap()]),
    }
}

fn find<'a>(rendered: &'a Rendered, type_url: &str, name: &str) -> Option<&'a Resource> {
    rendered.iter().map(|(_, resource)| resource).find(|resource| resource.type_url() == type_url && resource.name() == name)
}

fn listener_named(rendered: &Rendered, name: &str) -> Option<Listener> {
    find(rendered, LISTENER, name).map(|resource| Listener::decode(resource.body().value.as_slice()).unwrap())
}

const INGRESS: GatewayKind = GatewayKind::Ingress;

#[test]
fn a_gateway_passes_through_or_terminates() {
    let routes = vec![
        route("plain.demo.a.test", TlsMode::IstioMtls, &["b.test", "c.test"], &[("127.0.0.1", 8080)]),
        route("server.demo.a.test", TlsMode::Mtls, &["b.test"], &[("backend.internal", 8443), ("127.0.0.2", 8443)]),
    ];
    insta::assert_snapshot!(golden::text(&gateway(&plan(routes))));
}

#[test]
fn a_client_has_a_listener_and_two_clusters_for_an_import() {
    insta::assert_snapshot!(golden::text(&client(&[import("server.demo.a.test", &[(INGRESS, "192.0.2.1"), (INGRESS, "192.0.2.2")])])));
}

#[test]
fn an_import_behind_a_host_name_is_resolved_by_envoy() {
    let imports = [import("server.demo.a.test", &[(INGRESS, "gateway.example.com"), (INGRESS, "192.0.2.2")])];
    insta::assert_snapshot!(golden::text(&client(&imports)));
}

#[test]
fn a_sidecar_tells_imports_apart_by_original_destination() {
    let rendered = sidecar(&[import("server.demo.a.test", &[(INGRESS, "192.0.2.1")])], &sidecar_settings());
    insta::assert_snapshot!(golden::text(&rendered));
}

#[test]
fn without_routes_nothing_listens() {
    assert!(gateway(&plan(vec![])).is_empty());
    assert!(listener_named(&gateway(&plan(vec![route("server.demo.a.test", TlsMode::Mtls, &["b.test"], &[])])), "gateway").is_some());
}

#[test]
fn a_service_that_admits_nobody_is_not_there() {
    // To Envoy, a list of accepted names that is empty accepts every name. Where TLS is passed through, a client that has
    // not heard yet that its zone trusts this one no more would still be let in.
    for mode in [TlsMode::IstioMtls, TlsMode::Mtls] {
        assert!(gateway(&plan(vec![route("server.demo.a.test", mode, &[], &[("127.0.0.1", 8080)])])).is_empty());
    }
}

#[test]
fn the_gateway_of_two_clusters_is_one_endpoint() {
    let mut twice = import("server.demo.a.test", &[(INGRESS, "192.0.2.1"), (INGRESS, "192.0.2.1")]);
    twice.import.gateways[1].cluster_name = "two".parse().unwrap();
    let once = import("server.demo.a.test", &[(INGRESS, "192.0.2.1")]);
    assert_eq!(client(&[twice]), client(&[once]));
}

#[test]
fn a_terminated_service_is_asked_for_in_istios_way_at_every_gateway() {
    for kind in [GatewayKind::EastWest, INGRESS] {
        let mut import = import("server.demo.a.test", &[(kind, "192.0.2.1")]);
        let said = |import: &DesiredImport| {
            let rendered = client(std::slice::from_ref(import));
            let cluster =
                golden::text(&rendered.into_iter().filter(|(_, resource)| resource.name() == "server.demo.a.test_cluster").collect());
            let line = |name: &str| cluster.lines().find_map(|line| line.trim().strip_prefix(name).map(str::to_owned)).unwrap_or_default();
            (line("sni: "), cluster.contains("alpn_protocols"))
        };
        assert_eq!(said(&import), ("server.demo.a.test".to_owned(), false));
        import.import.tls_mode = TlsMode::IstioMtls;
        assert_eq!(said(&import), ("outbound_.8443_._.server.demo.a.test".to_owned(), true));
    }
}

#[test]
fn an_import_that_names_its_servers_accepts_no_other() {
    let mut import = import("server.demo.a.test", &[(INGRESS, "192.0.2.1")]);
    let accepts = |import: &DesiredImport| {
        let text = golden::text(&client(std::slice::from_ref(import)));
        text.lines().map(|line| line.trim().to_owned()).filter(|line| line.contains("spiffe://")).collect::<Vec<_>>()
    };
    assert_eq!(accepts(&import), ["match_pattern: Prefix spiffe://a.test/"]);
    import.import.spiffe_id_paths = vec!["ns/demo/sa/one".parse().unwrap(), "ns/demo/sa/two".parse().unwrap()];
    assert_eq!(
        accepts(&import),
        ["match_pattern: Exact spiffe://a.test/ns/demo/sa/one", "match_pattern: Exact spiffe://a.test/ns/demo/sa/two"]
    );
}

#[test]
fn an_import_without_an_address_is_there_for_sdks_only() {
    let imports = [DesiredImport { address: None, ..import("server.demo.a.test", &[(INGRESS, "192.0.2.1")]) }];
    assert!(client(&imports).iter().all(|(type_url, _)| type_url != LISTENER));
    let outbound = listener_named(&sidecar(&imports, &sidecar_settings()), "outbound").unwrap();
    assert!(outbound.filter_chains.iter().all(|chain| chain.name.starts_with("refuse_")));
    assert!(find(&sdk(&imports), ENDPOINT, "server.demo.a.test_cluster").is_some());
}

#[test]
fn an_sdk_is_given_names_and_an_envoy_is_not() {
    let imports = [import("server.demo.a.test", &[(INGRESS, "gateway.example.com")])];
    assert!(find(&client(&imports), ENDPOINT, "server.demo.a.test_cluster").is_none());
    let rendered = sdk(&imports);
    let endpoints = find(&rendered, ENDPOINT, "server.demo.a.test_cluster").unwrap();
    assert!(golden::text(&vec![(ENDPOINT.into(), endpoints.clone())]).contains("address: gateway.example.com"));
    assert!(rendered.iter().all(|(type_url, _)| type_url != LISTENER));
}

#[test]
fn a_sidecar_refuses_the_pools_other_addresses_at_every_port() {
    let mut other_port = import("other.demo.a.test", &[]);
    other_port.import.port = port(9000);
    other_port.address = Some(Ipv4Addr::new(127, 77, 0, 2));
    let rendered = sidecar(&[import("server.demo.a.test", &[]), other_port], &sidecar_settings());
    let chains = listener_named(&rendered, "outbound").unwrap().filter_chains;
    let refused = |chain: &FilterChain| {
        chain.filters.is_empty().then(|| chain.filter_chain_match.clone().unwrap().destination_port.map(|port| port.value))
    };
    let refused: BTreeSet<Option<u32>> = chains.iter().filter_map(refused).collect();
    assert_eq!(refused, BTreeSet::from([None, Some(8443), Some(9000), Some(10000)]));
}

fn arbitrary_route() -> impl Strategy<Value = GatewayRoute> {
    let mode = prop_oneof![Just(TlsMode::Mtls), Just(TlsMode::IstioMtls)];
    (0u8..8, mode, proptest::collection::vec(0u8..4, 0..3), 0u8..4).prop_map(|(name, mode, admitted, backend)| {
        let admitted: Vec<String> = admitted.iter().map(|index| format!("client{index}.test")).collect();
        let admitted: Vec<&str> = admitted.iter().map(String::as_str).collect();
        route(&format!("s{name}.demo.a.test"), mode, &admitted, &[(&format!("127.0.1.{backend}"), 8443)])
    })
}

fn arbitrary_import() -> impl Strategy<Value = ImportedService> {
    (0u8..8, proptest::collection::vec((0u8..4, any::<bool>()), 0..3), any::<bool>()).prop_map(|(name, gateways, terminated)| {
        let gateways: Vec<(GatewayKind, String)> = gateways
            .into_iter()
            .map(|(index, named)| (INGRESS, if named { format!("gw{index}.example.com") } else { format!("192.0.2.{index}") }))
            .collect();
        let gateways: Vec<(GatewayKind, &str)> = gateways.iter().map(|(kind, host)| (*kind, host.as_str())).collect();
        let mut import = import(&format!("s{name}.demo.a.test"), &gateways).import;
        if terminated {
            import.tls_mode = TlsMode::IstioMtls;
        }
        import
    })
}

fn chains(rendered: &Rendered) -> BTreeMap<String, Vec<u8>> {
    let listener = listener_named(rendered, "gateway").unwrap_or_default();
    listener.filter_chains.into_iter().map(|chain| (chain.name.clone(), chain.encode_to_vec())).collect()
}

/// The listener apart from its filter chains: if this differs, Envoy replaces the listener.
fn frame(rendered: &Rendered) -> Option<Listener> {
    listener_named(rendered, "gateway").map(|listener| Listener { filter_chains: vec![], ..listener })
}

proptest! {
    /// Connections of a service live as long as its filter chain is the same and the listener's frame is.
    #[test]
    fn a_route_that_comes_goes_or_changes_leaves_the_other_chains_alone(
        routes in proptest::collection::vec(arbitrary_route(), 1..6),
        changed in arbitrary_route(),
    ) {
        let listen = "127.0.0.1:15443".parse().unwrap();
        let before = desired(listen, routes.clone(), [], &BTreeMap::new()).gateway;
        let after = desired(listen, std::iter::once(changed.clone()).chain(routes), [], &BTreeMap::new()).gateway;
        let (before, after) = (gateway(&before), gateway(&after));
        let (mut chains_before, mut chains_after) = (chains(&before), chains(&after));
        chains_before.remove(changed.hostname.as_str());
        chains_after.remove(changed.hostname.as_str());
        prop_assert_eq!(chains_before, chains_after);
        if let (Some(before), Some(after)) = (frame(&before), frame(&after)) {
            prop_assert_eq!(before, after);
        }
    }

    /// In either mode Envoy drains a chain when others are admitted than before, and only then.
    #[test]
    fn whom_a_route_admits_is_part_of_the_filter_chain(route in arbitrary_route(), other in arbitrary_route()) {
        let changed = GatewayRoute { admitted: other.admitted, ..route.clone() };
        let (before, after) = (chains(&gateway(&plan(vec![route.clone()]))), chains(&gateway(&plan(vec![changed.clone()]))));
        prop_assert_eq!(before == after, route.admitted == changed.admitted);
    }

    /// Backends come and go without a new filter chain.
    #[test]
    fn backends_are_not_part_of_the_filter_chain(mut route in arbitrary_route(), other in 1u8..250) {
        let before = gateway(&plan(vec![route.clone()]));
        route.backends = BTreeSet::from([Backend { address: address(&format!("127.0.2.{other}")), port: port(8443) }]);
        prop_assert_eq!(chains(&before), chains(&gateway(&plan(vec![route]))));
    }

    #[test]
    fn the_same_imports_render_to_the_same_bytes_in_any_order(
        imports in proptest::collection::vec(arbitrary_import(), 0..6).prop_flat_map(|imports| (Just(imports.clone()), Just(imports).prop_shuffle())),
    ) {
        let by_hostname = |imports: Vec<ImportedService>| imports.into_iter().map(|import| (import.hostname.clone(), import)).collect::<BTreeMap<_, _>>();
        let (mut ordered, mut shuffled) = imports;
        // Of two imports with one hostname the first wins, so keep one of each.
        ordered = by_hostname(ordered).into_values().collect();
        shuffled.retain(|import| ordered.contains(import));
        let addresses: BTreeMap<_, _> =
            ordered.iter().zip(1u8..).map(|(import, index)| (import.hostname.clone(), Ipv4Addr::new(127, 77, 0, index))).collect();
        let listen = "127.0.0.1:15443".parse().unwrap();
        let ordered = desired(listen, [], ordered, &addresses).imports;
        let shuffled = desired(listen, [], shuffled, &addresses).imports;
        prop_assert_eq!(client(&ordered), client(&shuffled));
        prop_assert_eq!(sdk(&ordered), sdk(&shuffled));
        prop_assert_eq!(sidecar(&ordered, &sidecar_settings()), sidecar(&shuffled, &sidecar_settings()));
    }

    /// What Envoy asks for is there: the clusters of listeners, and the endpoints of EDS clusters.
    #[test]
    fn every_name_that_is_used_is_rendered(imports in proptest::collection::vec(arbitrary_import(), 0..6)) {
        let addresses: BTreeMap<_, _> =
            imports.iter().map(|import| (import.hostname.clone(), Ipv4Addr::new(127, 77, 0, 1))).collect();
        let imports = desired("127.0.0.1:15443".parse().unwrap(), [], imports, &addresses).imports;
        for rendered in [client(&imports), sidecar(&imports, &sidecar_settings()), sdk(&imports)] {
            let text = golden::text(&rendered);
            for line in text.lines().map(str::trim) {
                if let Some(name) = line.strip_prefix("service_name: ") {
                    prop_assert!(find(&rendered, ENDPOINT, name).is_some(), "no endpoints {}", name);
                }
                if let Some(name) = line.strip_prefix("cluster_specifier: ") {
                    prop_assert!(find(&rendered, CLUSTER, name).is_some(), "no cluster {}", name);
                }
            }
            let names: BTreeSet<_> = rendered.iter().map(|(type_url, resource)| (type_url, resource.name())).collect();
            prop_assert_eq!(names.len(), rendered.len(), "each name once");
        }
    }
}
