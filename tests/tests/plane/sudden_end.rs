//! Programs that end between one step and the next, with no time to say or write anything.

use crate::world::{A, B, connected, fence, imported, not_imported, resolved, service, still_imported, two_federated_zones, two_zones};

const SERVER: &str = "server.demo.a.test";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_at_a_change_serves_it_after_a_restart_without_connect() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    // The moment at which the agent's clients have seen it.
    plane.zones[B].kill_agent().await.unwrap();
    plane.stop_connect().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    assert_eq!(imported(&plane.zones[B], SERVER).await, [("127.0.0.9".to_owned(), 15443)]);
    resolved(&plane.zones[B], SERVER).await;

    // The same for what goes.
    plane.start_connect().await.unwrap();
    connected(&plane.zones[B]).await;
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    not_imported(&plane.zones[B], SERVER).await;
    plane.zones[B].kill_agent().await.unwrap();
    plane.stop_connect().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    not_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_withdraws_nothing_and_goes_on_where_it_was() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.zones[A].write_manifest("goes.yaml", &service("goes", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    imported(&plane.zones[B], "goes.demo.a.test").await;
    plane.zones[A].kill_agent().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("goes.yaml")).unwrap();
    plane.zones[A].start_agent().await.unwrap();
    not_imported(&plane.zones[B], "goes.demo.a.test").await;
    fence(&plane.zones[A], &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connect_has_answered_survives_its_sudden_end() {
    let mut plane = two_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.federate(A, B).await.unwrap();
    plane.federate(B, A).await.unwrap();
    plane.kill_connect().await.unwrap();
    plane.start_connect().await.unwrap();
    imported(&plane.zones[B], SERVER).await;
    assert_eq!(plane.federation_states().await.unwrap().len(), 2);
}
