//! What people are told, word for word.

use cofide_core::{Finding, GatewayKind, NounChange, NounId, Severity, Timestamp};
use cofide_plan::explain;

use crate::builders::{binding, cluster, federation, gateway, id, policy, port, service, zone};
use crate::world::{World, two_zones};

fn told(world: &World, client: &str, hostname: &str) -> String {
    explain(&world.snapshot(), &id(client), &id(hostname)).iter().map(line).collect()
}

fn line(finding: &Finding) -> String {
    let mark = match finding.severity {
        Severity::Ok => "ok     ",
        Severity::Waiting => "waiting",
        Severity::Broken => "broken ",
    };
    let remedy = finding.remedy.as_ref().map(|remedy| format!("\n          mend: {remedy}")).unwrap_or_default();
    format!("{mark} {}: {}{remedy}\n", finding.check, finding.message)
}

fn removed(mut world: World, nouns: &[NounId]) -> World {
    for noun in nouns {
        world.apply(&NounChange::Remove(noun.clone()));
    }
    world
}

const SERVER: &str = "server.demo.a.test";

#[test]
fn a_working_chain_is_ok_from_end_to_end() {
    insta::assert_snapshot!(told(&two_zones(), "b", SERVER));
}

#[test]
fn both_missing_directions_are_named_with_the_commands_that_mend_them() {
    insta::assert_snapshot!(told(&removed(two_zones(), &[NounId::Federation(id("a-b")), NounId::Federation(id("b-a"))]), "b", SERVER));
}

#[test]
fn the_forgotten_step_keeps_what_the_binding_says_already() {
    let world = two_zones().with(zone("c")).with(federation("b", "c")).with(binding("b", "ping-pong", &["c"]));
    insta::assert_snapshot!(told(&world, "b", SERVER));
}

#[test]
fn a_zone_without_bindings_is_told_to_add_one() {
    insta::assert_snapshot!(told(&removed(two_zones(), &[NounId::AttestationPolicyBinding(id("a-ping-pong"))]), "b", SERVER));
}

#[test]
fn bindings_that_do_not_federate_are_named_beside_those_that_do() {
    let world = two_zones().with(policy("batch")).with(binding("b", "batch", &[]));
    insta::assert_snapshot!(told(&world, "b", SERVER));
}

#[test]
fn an_export_list_without_the_client_is_named() {
    let world = two_zones().with(service("server", &cluster("one", "a"), &["c.test", "d.test"]));
    insta::assert_snapshot!(told(&world, "b", SERVER));
}

#[test]
fn a_bundle_that_has_not_come_or_is_tainted_is_named() {
    let mut a = zone("a");
    let mut b = zone("b");
    a.bundle = None;
    b.bundle.as_mut().unwrap().x509_authorities[0].tainted = true;
    insta::assert_snapshot!(told(&two_zones().with(a).with(b), "b", SERVER));
}

#[test]
fn a_service_without_a_gateway_waits() {
    let mut server = service("server", &cluster("one", "a"), &["b.test"]);
    server.gateway_entries.clear();
    insta::assert_snapshot!(told(&two_zones().with(server), "b", SERVER));
}

#[test]
fn a_cluster_that_disagrees_is_named_although_the_service_works() {
    let third = cluster("three", "a");
    let mut younger = service("server", &third, &["b.test"]);
    younger.created_at = Timestamp(1);
    younger.port = port(9443);
    younger.gateway_entries = vec![gateway(GatewayKind::EastWest, "192.0.2.3", 15443)];
    insta::assert_snapshot!(told(&two_zones().with(third).with(younger), "b", SERVER));
}

#[test]
fn a_name_that_nobody_registered_leads_to_its_owner_or_to_the_list() {
    let world = two_zones();
    insta::assert_snapshot!([told(&world, "b", "other.demo.a.test"), told(&world, "b", "server.demo.elsewhere.test")].concat());
}

#[test]
fn the_own_zone_and_an_unknown_zone_are_refused_with_a_reason() {
    let world = two_zones();
    insta::assert_snapshot!([told(&world, "a", SERVER), told(&world, "nowhere", SERVER)].concat());
}
