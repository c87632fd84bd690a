//! A cluster that was deleted in Connect and added again: by name the same, by ID another.

use crate::world::{A, B, imported, not_imported, resolved, service, two_federated_zones};

const SERVER: &str = "server.demo.a.test";
const REMOTE: &str = "remote.demo.b.test";

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_a_cluster_that_was_made_anew_joins_again_and_its_clients_keep_their_addresses() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.zones[B].write_manifest("remote.yaml", &service("remote", &["a.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    imported(&plane.zones[A], REMOTE).await;
    let before = resolved(&plane.zones[A], REMOTE).await;

    plane.zones[A].stop_agent().await.unwrap();
    plane.make_cluster_anew(A).await.unwrap();
    not_imported(&plane.zones[B], SERVER).await;
    let token = plane.join_token(A).await.unwrap();
    plane.write_bootstrap(A, token).unwrap();
    plane.zones[A].start_agent().await.unwrap();
    imported(&plane.zones[B], SERVER).await;
    imported(&plane.zones[A], REMOTE).await;
    assert_eq!(resolved(&plane.zones[A], REMOTE).await, before);
}
