//! Parts go away and come back; what works goes on, and nothing is deleted on ignorance.

use std::path::Path;

use cofide_agent::world::Link;
use cofide_api::connect::trust_zone_service::GetTrustZoneRequest;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_core::Bundle;
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::eventually;
use cofide_testkit::workload::{Workload, authorities};

use crate::world::{
    A, B, connect_is_missed, connected, fence, imported, not_imported, resolved, service, status_says, still_imported, two_federated_zones,
};

const SERVER: &str = "server.demo.a.test";

#[tokio::test(flavor = "multi_thread")]
async fn without_connect_a_restarted_agent_serves_its_last_plan() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    let address = resolved(&plane.zones[B], SERVER).await;

    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[B]).await;
    still_imported(&plane.zones[B], SERVER).await;

    plane.zones[B].stop_agent().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    assert_eq!(imported(&plane.zones[B], SERVER).await, [("127.0.0.9".to_owned(), 15443)]);
    let again = resolved(&plane.zones[B], SERVER).await;
    assert_eq!(again, address, "an import keeps its address over a restart");

    plane.start_connect().await.unwrap();
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_during_an_outage_goes_when_connect_returns() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.zones[A].write_manifest("stays.yaml", &service("stays", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    imported(&plane.zones[B], "stays.demo.a.test").await;

    plane.stop_connect().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    plane.start_connect().await.unwrap();

    not_imported(&plane.zones[B], SERVER).await;
    fence(&plane.zones[A], &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], "stays.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_while_a_manifest_went_withdraws_it_when_it_returns() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;

    plane.zones[A].stop_agent().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    // The agent has said goodbye, and another stream of news shows that nothing came of it.
    let other = plane.add_zone("c").await.unwrap();
    plane.federate_both_ways(other, B).await.unwrap();
    fence(&plane.zones[other], &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], SERVER).await;
    plane.zones[A].start_agent().await.unwrap();
    not_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_before_connect_and_its_spiffe_server_waits_for_both() {
    let mut plane = cofide_testkit::plane::Plane::start().await.unwrap();
    let a = plane.create_zone("a").await.unwrap();
    let token = plane.join_token(a).await.unwrap();
    plane.write_bootstrap(a, token).unwrap();
    plane.stop_connect().await.unwrap();
    plane.zones[a].start_agent().await.unwrap();
    plane.zones[a].start_trust_zone_server().await.unwrap();
    plane.start_connect().await.unwrap();

    let b = plane.add_zone("b").await.unwrap();
    plane.federate_both_ways(a, b).await.unwrap();
    plane.zones[a].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[b], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_authority_was_replaced_while_connect_was_away_is_refused_until_its_bundle_is_set() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.bind(B, "/ns/demo/sa/client", &[A]).await.unwrap();
    let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    imported(&plane.zones[B], SERVER).await;
    let before = plane.zones[A].spire().own_bundle().await.unwrap();
    holds(&client, &before).await;

    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[A]).await;
    replace_authority(&plane.zones[A]).await;
    let after = plane.zones[A].spire().own_bundle().await.unwrap();
    assert!(authorities(&before).is_disjoint(&authorities(&after)));

    plane.start_connect().await.unwrap();
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    // Nobody vouches for the agent of A: it is refused, and what it says counts for nothing.
    connected(&plane.zones[B]).await;
    status_says(&plane.zones[A], "second.yaml", &["AgentRefused", "cofidectl trust-zone set-bundle"]).await;
    let refusal = "spiffe://a.test/cluster/cluster-a/ns/cofide/sa/cofide-agent is not signed by an authority of trust domain a.test";
    eventually("Connect refuses the agent of A", || async { plane.connect_log() }, |log| log.contains(refusal)).await;
    holds(&client, &before).await;
    still_imported(&plane.zones[B], SERVER).await;
    assert_eq!(plane.services().await.unwrap().len(), 1);
    // It says so at each attempt, and not only when the alert happens to outrun the end of the connection.
    let attempts = || async { plane.connect_log().matches(refusal).count() };
    let before_that = attempts().await;
    eventually("the agent of A has tried again and again", attempts, |attempts| *attempts >= before_that + 2).await;
    status_says(&plane.zones[A], "second.yaml", &["AgentRefused"]).await;

    plane.set_bundle(A).await.unwrap();
    holds(&client, &after).await;
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
    connected(&plane.zones[A]).await;
    crate::world::federations_are_healthy(&plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_identity_is_taken_back_speaks_to_connect_no_more_until_it_has_one_again() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;

    // The entry of the agent is for another program now.
    let program = std::mem::replace(&mut plane.zones[A].agent_program, "/usr/bin/another-agent".into());
    plane.zones[A].stop_trust_zone_server().await.unwrap();
    plane.zones[A].start_trust_zone_server().await.unwrap();
    let log = plane.zones[A].folder.join("agent.log");
    let said = || async { std::fs::read_to_string(&log).unwrap_or_default() };
    eventually("the identity of A's agent is taken back", said, |log| log.contains("no identity at the moment")).await;

    // A connection lasts as long as it does; none is made with what was taken back.
    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[A]).await;
    plane.start_connect().await.unwrap();
    connected(&plane.zones[B]).await;
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    status_says(&plane.zones[A], "second.yaml", &["ConnectUnreachable", "no identity at the moment"]).await;
    assert!(matches!(plane.zones[A].link(), Some(Link::Disconnected(_))), "{:?}", plane.zones[A].link());
    assert_eq!(plane.services().await.unwrap().len(), 1, "what it said before stands, and nothing is added");
    still_imported(&plane.zones[B], SERVER).await;

    plane.zones[A].agent_program = program;
    plane.zones[A].stop_trust_zone_server().await.unwrap();
    plane.zones[A].start_trust_zone_server().await.unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_comes_back_with_an_older_database_is_told_the_bundle_again() {
    let mut plane = two_federated_zones().await;
    plane.bind(B, "/ns/demo/sa/client", &[A]).await.unwrap();
    let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    let before = plane.zones[A].spire().own_bundle().await.unwrap();
    holds(&client, &before).await;
    let (folder, copy) = (plane.folder().join("connect"), plane.folder().join("connect-copy"));
    plane.stop_connect().await.unwrap();
    copy_folder(&folder, &copy);
    plane.start_connect().await.unwrap();
    connected(&plane.zones[A]).await;

    // The next authority, which signs nothing yet.
    plane.zones[A].authorities().await.unwrap().prepare().await.unwrap();
    let after = plane.zones[A].spire().own_bundle().await.unwrap();
    assert_ne!(authorities(&before), authorities(&after));
    holds(&client, &after).await;
    assert_eq!(stored_authorities(&plane).await, after.x509_authorities.len());

    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[A]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&copy, &folder);
    plane.start_connect().await.unwrap();
    let stored = || stored_authorities(&plane);
    eventually("Connect has the bundle of A as it is now", stored, |stored| *stored == after.x509_authorities.len()).await;
    holds(&client, &after).await;
}

/// How many authorities Connect's bundle of zone A has.
async fn stored_authorities(plane: &Plane) -> usize {
    let request = GetTrustZoneRequest { trust_zone_id: Some(plane.zones[A].id.to_string()) };
    let answer = TrustZoneServiceClient::new(plane.admin().await.unwrap()).get_trust_zone(request).await.unwrap();
    answer.into_inner().trust_zone.unwrap().bundle.unwrap().x509_authorities.len()
}

/// As somebody does who puts back a backup: folders, files and who may read them.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_folder(&entry.path(), &to.join(entry.file_name())),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            _ => {}
        }
    }
}

/// Waits until the workload accepts exactly the authorities of a bundle.
async fn holds(workload: &Workload, bundle: &Bundle) {
    let authorities = authorities(bundle);
    let held = || async { workload.authorities_of(&bundle.trust_domain) };
    eventually("the workload accepts the authorities of the bundle", held, |held| *held == authorities).await;
}

/// All three steps at once; nothing that the old authority has signed is in use afterwards.
async fn replace_authority(zone: &Zone) {
    let mut authorities = zone.authorities().await.unwrap();
    let next = authorities.prepare().await.unwrap();
    let old = authorities.activate(next).await.unwrap();
    authorities.retire(old).await.unwrap();
}
