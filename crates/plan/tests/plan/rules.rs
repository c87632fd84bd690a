//! Each rule by example.

use cofide_core::{
    ControlPlaneTrust, Direction, ExportRefusal, GatewayKind, MAX_MATCHED_TRUST_ZONES, NounChange, NounId, SpiffeId, Timestamp, TlsMode,
};
use cofide_plan::{ClusterPlan, Key, PlanResource, Snapshot, partners, plan, resource};

use crate::builders::{binding, bundle, cluster, domain, federation, gateway, id, policy, port, service, zone};
use crate::world::{World, two_zones};

const SERVER: &str = "server.demo.a.test";

fn import(snapshot: &Snapshot, cluster: &str) -> Option<cofide_core::ImportedService> {
    match resource(snapshot, &id(cluster), &Key::Import(id(SERVER))) {
        Some(PlanResource::Import(import)) => Some(import),
        Some(other) => panic!("{other:?} is no import"),
        None => None,
    }
}

fn without(mut world: World, noun: NounId) -> Snapshot {
    world.apply(&NounChange::Remove(noun));
    world.snapshot()
}

#[test]
fn a_service_is_imported_where_it_is_exported_and_both_zones_trust_each_other() {
    let import = import(&two_zones().snapshot(), "two").unwrap();
    assert_eq!(import.trust_domain, domain("a.test"));
    assert_eq!(import.port, port(8443));
    assert_eq!(import.gateways.len(), 1);
    assert_eq!(import.gateways[0].cluster_name.as_str(), "one");
}

#[test]
fn a_service_is_not_imported_into_its_own_zone() {
    assert_eq!(import(&two_zones().with(cluster("three", "a")).snapshot(), "three"), None);
}

#[test]
fn each_of_the_two_federations_is_needed() {
    for missing in ["a-b", "b-a"] {
        assert_eq!(import(&without(two_zones(), NounId::Federation(id(missing))), "two"), None, "without {missing}");
    }
}

#[test]
fn a_zone_that_is_not_in_the_export_list_imports_nothing() {
    let world = two_zones().with(zone("c")).with(cluster("three", "c")).with(federation("a", "c")).with(federation("c", "a"));
    assert_eq!(import(&world.snapshot(), "three"), None);
}

#[test]
fn a_service_without_a_gateway_cannot_be_entered_and_is_not_imported() {
    let mut server = service("server", &cluster("one", "a"), &["b.test"]);
    server.gateway_entries.clear();
    assert_eq!(import(&two_zones().with(server).snapshot(), "two"), None);
}

#[test]
fn gateways_written_by_hand_replace_those_found() {
    let mut server = service("server", &cluster("one", "a"), &["b.test"]);
    server.gateway_specs = vec![gateway(GatewayKind::EastWest, "192.0.2.9", 15443)];
    let import = import(&two_zones().with(server.clone()).snapshot(), "two").unwrap();
    assert_eq!(import.gateways.into_iter().map(|imported| imported.gateway).collect::<Vec<_>>(), server.gateway_specs);
}

#[test]
fn clusters_that_agree_are_merged_into_one_import() {
    let third = cluster("three", "a");
    let mut server = service("server", &third, &["b.test"]);
    server.gateway_entries = vec![gateway(GatewayKind::Ingress, "192.0.2.3", 443)];
    let import = import(&two_zones().with(third).with(server).snapshot(), "two").unwrap();
    let clusters: Vec<_> = import.gateways.iter().map(|gateway| gateway.cluster_name.as_str()).collect();
    assert_eq!(clusters, ["one", "three"]);
}

#[test]
fn the_oldest_cluster_decides_and_those_that_disagree_are_left_out() {
    let third = cluster("three", "a");
    let younger = |change: fn(&mut cofide_core::FederatedService)| {
        let mut server = service("server", &third, &["b.test"]);
        server.created_at = Timestamp(1);
        server.gateway_entries = vec![gateway(GatewayKind::Ingress, "192.0.2.3", 443)];
        change(&mut server);
        import(&two_zones().with(third.clone()).with(server).snapshot(), "two").unwrap()
    };
    for import in [
        younger(|server| server.port = port(9443)),
        younger(|server| server.tls_mode = TlsMode::IstioMtls),
        younger(|server| server.spiffe_id_paths = vec![id("/ns/demo/sa/other")]),
    ] {
        assert_eq!((import.port, import.tls_mode, import.spiffe_id_paths.len()), (port(8443), TlsMode::Mtls, 0));
        assert_eq!(import.gateways.len(), 1, "{import:?}");
    }
}

#[test]
fn the_oldest_cluster_decides_even_while_it_has_no_gateway() {
    let third = cluster("three", "a");
    let mut oldest = service("server", &cluster("one", "a"), &["b.test"]);
    oldest.gateway_entries.clear();
    let mut younger = service("server", &third, &["b.test"]);
    younger.created_at = Timestamp(1);
    younger.port = port(9443);
    let world = two_zones().with(third).with(oldest).with(younger);
    assert_eq!(import(&world.snapshot(), "two"), None, "clients are not moved to another port for as long as a gateway is away");
}

#[test]
fn trust_follows_one_direction_alone() {
    let snapshot = without(two_zones(), NounId::Federation(id("b-a")));
    let trust = |cluster: &str, domain_name: &str| resource(&snapshot, &id(cluster), &Key::Trust(domain(domain_name)));
    assert!(trust("one", "b.test").is_some(), "a trusts b");
    assert_eq!(trust("two", "a.test"), None, "b no longer trusts a");
}

#[test]
fn a_federation_is_announced_before_the_bundle_is_there() {
    let mut late = zone("b");
    late.bundle = None;
    let Some(PlanResource::Trust(trust)) = resource(&two_zones().with(late).snapshot(), &id("one"), &Key::Trust(domain("b.test"))) else {
        panic!("no trust");
    };
    assert_eq!((trust.bundle, trust.trust_zone_name.as_str()), (None, "b"));
}

#[test]
fn a_registration_names_only_domains_with_a_federation() {
    let world = two_zones().with(zone("c")).with(federation("a", "c")).with(binding("a", "ping-pong", &["c", "b"]));
    let federates_with = |snapshot: &Snapshot| match resource(snapshot, &id("one"), &Key::Registration(id("a-ping-pong"))) {
        Some(PlanResource::Registration(registration)) => {
            registration.federates_with.iter().map(|domain| domain.to_string()).collect::<Vec<_>>()
        }
        other => panic!("{other:?} is no registration"),
    };
    assert_eq!(federates_with(&world.snapshot()), ["b.test", "c.test"], "sorted");
    assert_eq!(federates_with(&without(world.clone(), NounId::Federation(id("a-b")))), ["c.test"]);
    assert_eq!(federates_with(&without(world, NounId::TrustZone(id("c")))), ["b.test"]);
}

#[test]
fn a_binding_is_registered_in_its_own_zone_only() {
    let snapshot = two_zones().snapshot();
    assert!(resource(&snapshot, &id("one"), &Key::Registration(id("a-ping-pong"))).is_some());
    assert_eq!(resource(&snapshot, &id("two"), &Key::Registration(id("a-ping-pong"))), None);
}

#[test]
fn an_exporter_learns_what_became_of_each_domain() {
    let world = two_zones().with(service("server", &cluster("one", "a"), &["b.test", "c.test", "unknown.test"])).with(zone("c"));
    let Some(PlanResource::Export(export)) = resource(&world.snapshot(), &id("one"), &Key::Export(id("one-server"))) else {
        panic!("no export");
    };
    let targets: Vec<_> = export.targets.iter().map(|target| (target.trust_domain.as_str(), target.refusal.clone())).collect();
    let direction = |from: &str, to: &str| Direction { trust_zone: id(from), remote_trust_zone: id(to) };
    assert_eq!(
        targets,
        [
            ("b.test", None),
            ("c.test", Some(ExportRefusal::FederationMissing(vec![direction("a", "c"), direction("c", "a")]))),
            ("unknown.test", Some(ExportRefusal::UnknownTrustDomain)),
        ]
    );
    assert_eq!(resource(&world.snapshot(), &id("two"), &Key::Export(id("one-server"))), None, "others are not told");
}

#[test]
fn each_cluster_follows_the_control_planes_own_rotation() {
    let spiffe_id = SpiffeId::new("spiffe://management.test/ns/connect/sa/cofide-connect-api").unwrap();
    let mut snapshot = two_zones().snapshot();
    assert_eq!(resource(&snapshot, &id("one"), &Key::ControlPlaneTrust), None);
    snapshot.set_control_plane_trust(ControlPlaneTrust { spiffe_id, bundle: bundle("management.test", 1) });
    assert!(resource(&snapshot, &id("one"), &Key::ControlPlaneTrust).is_some());
}

#[test]
fn an_unknown_cluster_receives_nothing() {
    assert_eq!(plan(&two_zones().snapshot(), &id("nobody")), ClusterPlan::default());
}

#[test]
fn setting_what_is_there_already_changes_nothing() {
    let snapshot = two_zones().snapshot();
    let mut held = plan(&snapshot, &id("two"));
    assert!(held.len() >= 3, "{held:?}");
    for (key, resource) in held.clone().iter() {
        assert_eq!(resource.key(), *key);
        assert!(!held.set(key.clone(), Some(resource.clone())), "{key}");
    }
    let key = Key::Import(id(SERVER));
    assert!(held.set(key.clone(), None), "the first removal is one");
    assert!(!held.set(key, None), "the second is none");
}

#[test]
fn a_policy_of_a_kind_that_the_agent_may_not_serve_is_sent_all_the_same() {
    let mut kubernetes = policy("ping-pong");
    kubernetes.kind = cofide_core::PolicyKind::Kubernetes(cofide_core::KubernetesPolicy::default());
    let snapshot = two_zones().with(kubernetes).snapshot();
    assert!(resource(&snapshot, &id("one"), &Key::Registration(id("a-ping-pong"))).is_some());
}

#[test]
fn a_pattern_stands_for_the_federated_zones_that_it_matches_up_to_a_bound_and_the_oldest_stay() {
    let remote = |number: usize| format!("remote-{number:03}");
    let federate = |number: usize| {
        let mut federation = federation("a", &remote(number));
        // The names are in the other order than the ages.
        federation.created_at = Timestamp(1000 - i64::try_from(number).unwrap());
        federation
    };
    let mut world = World::default().with(zone("a")).with(zone("other")).with(federation("a", "other")).with(cluster("one", "a"));
    world = world.with(policy("ping-pong")).with(binding("a", "ping-pong", &["other", "remote-*"]));
    for number in 0..MAX_MATCHED_TRUST_ZONES + 3 {
        world = world.with(zone(&remote(number))).with(federate(number));
    }
    world = world.with(zone("remote-not-federated"));
    let snapshot = world.snapshot();
    let binding = snapshot.binding(&id("a-ping-pong")).unwrap();
    let partners = partners(&snapshot, binding);
    assert_eq!(partners.named.iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>(), ["other"]);
    assert_eq!((partners.matched.len(), partners.left_out), (MAX_MATCHED_TRUST_ZONES, 3));
    assert_eq!(partners.matched[0].name.as_str(), remote(MAX_MATCHED_TRUST_ZONES + 2));
    assert!(partners.matched.iter().all(|zone| zone.name.as_str() > remote(2).as_str()), "the three youngest are left out");
    let Some(PlanResource::Registration(registration)) = resource(&snapshot, &id("one"), &Key::Registration(binding.id.clone())) else {
        panic!("no registration");
    };
    assert_eq!(registration.federates_with.len(), MAX_MATCHED_TRUST_ZONES + 1);
}
