//! An agent that has lost what it remembered: it takes nothing down on ignorance, and tidies up once it knows.

use std::collections::{BTreeMap, BTreeSet};

use cofide_api::types::audit::EventType;
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::eventually;

use crate::world::{
    A, B, connect_is_missed, fence, imported, not_imported, resolved, service, status_says, still_imported, two_federated_zones, two_zones,
};

const SERVER: &str = "server.demo.a.test";

/// How the memory is lost.
#[derive(Clone, Copy)]
enum Loss {
    Removed,
    Damaged,
}

const MANIFESTS: &[&str] = &["manifests"];
const PLAN: &[&str] = &["plan"];
const BOTH: &[&str] = &["manifests", "plan"];

fn lose(zone: &Zone, memories: &[&str], loss: Loss) {
    for memory in memories {
        let file = zone.state_file(memory);
        match loss {
            Loss::Removed => std::fs::remove_file(&file).unwrap(),
            Loss::Damaged => {
                let mut content = std::fs::read(&file).unwrap();
                content.truncate(content.len() / 2);
                std::fs::write(&file, content).unwrap();
            }
        }
    }
}

/// Zones A and B trust each other; A exports `server`, and has an identity for it that trusts B.
async fn serving() -> (Plane, String) {
    let plane = two_federated_zones().await;
    let binding = plane.bind(A, "/ns/demo/sa/server", &[B]).await.unwrap();
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    let entries = || async { entries(&plane.zones[A]).await };
    eventually("the identity trusts B", entries, |entries| entries.values().any(|(_, trusts)| trusts.contains("b.test"))).await;
    (plane, binding)
}

/// The agent's entries in the SPIFFE server by SPIFFE ID: their ids, which a new entry would not have, and whom they trust.
async fn entries(zone: &Zone) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let entries = zone.spire().read().await.unwrap().entries.into_iter().filter(|entry| entry.is_ours());
    let trusts = |domains: &BTreeSet<cofide_core::TrustDomain>| domains.iter().map(ToString::to_string).collect();
    entries.map(|entry| (entry.key.spiffe_id, (entry.id, trusts(&entry.content.federates_with)))).collect()
}

/// What nobody has touched keeps these: the entries, and the service with the time of its registration.
async fn untouched(plane: &Plane) -> String {
    let services = plane.services().await.unwrap();
    let services: Vec<_> =
        services.iter().filter(|service| service.name == "server").map(|service| (&service.id, service.created_at)).collect();
    let gone = plane.events(EventType::FederatedServiceDeregistration).await.unwrap();
    format!("{:?}\n{services:?}\n{:?}", entries(&plane.zones[A]).await, gone.iter().map(|event| &event.message).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_memory_takes_nothing_down_that_is_wanted() {
    let (mut plane, _) = serving().await;
    let before = untouched(&plane).await;
    for (memories, loss) in [(MANIFESTS, Loss::Removed), (PLAN, Loss::Removed), (BOTH, Loss::Removed), (BOTH, Loss::Damaged)] {
        plane.zones[A].stop_agent().await.unwrap();
        lose(&plane.zones[A], memories, loss);
        plane.zones[A].start_agent().await.unwrap();
        // Both directions, so that the agent has said and heard everything.
        fence(&plane.zones[A], &[&plane.zones[B]]).await;
        fence(&plane.zones[B], &[&plane.zones[A]]).await;
        still_imported(&plane.zones[B], SERVER).await;
        assert_eq!(untouched(&plane).await, before, "{memories:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_loses_its_memory_while_connect_is_away_takes_nothing_down_that_is_wanted() {
    let (mut plane, _) = serving().await;
    plane.zones[B].write_manifest("other.yaml", &service("other", &["a.test"], 15443)).unwrap();
    imported(&plane.zones[A], "other.demo.b.test").await;
    let address = resolved(&plane.zones[A], "other.demo.b.test").await;
    let before = untouched(&plane).await;
    for (memories, loss) in [(MANIFESTS, Loss::Removed), (PLAN, Loss::Removed), (BOTH, Loss::Damaged)] {
        plane.stop_connect().await.unwrap();
        plane.zones[A].stop_agent().await.unwrap();
        lose(&plane.zones[A], memories, loss);
        plane.zones[A].start_agent().await.unwrap();

        // It has read its manifests, has an identity, and has found that nobody answers.
        status_says(&plane.zones[A], "server.yaml", &["gatewayEntries"]).await;
        connect_is_missed(&plane.zones[A]).await;
        let entries_now = entries(&plane.zones[A]).await;
        assert!(before.starts_with(&format!("{entries_now:?}\n")), "{entries_now:?}\n{before}");
        still_imported(&plane.zones[B], SERVER).await;
        if memories == MANIFESTS {
            still_imported(&plane.zones[A], "other.demo.b.test").await;
        }

        plane.start_connect().await.unwrap();
        imported(&plane.zones[A], "other.demo.b.test").await;
        fence(&plane.zones[A], &[&plane.zones[B]]).await;
        fence(&plane.zones[B], &[&plane.zones[A]]).await;
        still_imported(&plane.zones[B], SERVER).await;
        assert_eq!(untouched(&plane).await, before, "{memories:?}");
        assert_eq!(plane.zones[A].resolve("other.demo.b.test").await, address, "an import keeps its address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_when_its_manifest_is_seen_to_be_gone_and_not_while_nobody_can_look() {
    let (mut plane, _) = serving().await;
    plane.zones[A].stop_agent().await.unwrap();
    lose(&plane.zones[A], MANIFESTS, Loss::Removed);
    let folder = plane.zones[A].manifest_dir();
    let away = folder.with_file_name("away");
    std::fs::rename(&folder, &away).unwrap();
    plane.zones[A].start_agent().await.unwrap();
    // The agent is at work, but for its manifests.
    fence(&plane.zones[B], &[&plane.zones[A]]).await;
    assert!(plane.services().await.unwrap().iter().any(|service| service.name == "server"));
    still_imported(&plane.zones[B], SERVER).await;
    assert_eq!(plane.events(EventType::FederatedServiceDeregistration).await.unwrap(), []);

    std::fs::remove_file(away.join("server.yaml")).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    not_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_goes_when_connect_says_so_and_not_while_the_plan_is_unknown() {
    let (mut plane, binding) = serving().await;
    plane.bind(A, "/ns/demo/sa/stays", &[B]).await.unwrap();
    eventually("both identities exist", || async { entries(&plane.zones[A]).await }, |entries| entries.len() == 2).await;
    let before = entries(&plane.zones[A]).await;

    plane.zones[A].stop_agent().await.unwrap();
    plane.unbind(binding).await.unwrap();
    plane.stop_connect().await.unwrap();
    lose(&plane.zones[A], PLAN, Loss::Removed);
    plane.zones[A].start_agent().await.unwrap();
    status_says(&plane.zones[A], "server.yaml", &["gatewayEntries"]).await;
    connect_is_missed(&plane.zones[A]).await;
    assert_eq!(entries(&plane.zones[A]).await, before);

    plane.start_connect().await.unwrap();
    let after = eventually("one identity is gone", || async { entries(&plane.zones[A]).await }, |entries| entries.len() == 1).await;
    let (id, kept) = after.iter().next().unwrap();
    assert!(id.ends_with("/ns/demo/sa/stays"), "{id}");
    assert_eq!(kept, &before[id], "the other was not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_goes_with_its_federation_although_the_agent_had_forgotten_that_it_set_it_up() {
    let mut plane = two_zones().await;
    let federation = plane.federate(A, B).await.unwrap();
    plane.federate(B, A).await.unwrap();
    let bundles =
        async |zone: &Zone| zone.spire().read().await.unwrap().bundles.into_keys().map(|name| name.to_string()).collect::<Vec<_>>();
    eventually("A trusts B", || bundles(&plane.zones[A]), |bundles| bundles == &["b.test"]).await;
    plane.zones[A].stop_agent().await.unwrap();
    lose(&plane.zones[A], &["trust"], Loss::Removed);
    plane.zones[A].start_agent().await.unwrap();
    eventually("it remembers again", || async { plane.zones[A].state_file("trust").exists() }, |exists| *exists).await;
    assert_eq!(bundles(&plane.zones[A]).await, ["b.test"], "nothing was taken down on ignorance");
    plane.unfederate(federation).await.unwrap();
    eventually("A trusts nobody", || bundles(&plane.zones[A]), |bundles| bundles.is_empty()).await;
}
