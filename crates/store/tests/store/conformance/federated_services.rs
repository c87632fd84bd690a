//! Federated services.

use cofide_core::{Gateway, GatewayAddress, GatewayKind, Timestamp, TlsMode};
use cofide_store::{ClustersMut, Database, FederatedServices, FederatedServicesMut};

use crate::builders::{cluster, gateway, id, port, service};
use crate::objects::{attempted, taken, two_zones, written};

pub(crate) async fn federated_services_are_kept_in_full_and_in_part<D: Database>(database: &D) {
    two_zones(database).await;
    let mut full = service("full", &cluster("one", "a"), &["b.test", "other.test", "under_score"]);
    full.workload_labels.insert("tier \"1\"".to_owned(), "ä".to_owned());
    full.port = port(65535);
    full.tls_mode = TlsMode::IstioMtls;
    let named = Gateway { kind: GatewayKind::Ingress, address: GatewayAddress::Hostname(id("gw.example.com")), port: port(1) };
    full.gateway_entries = vec![named, gateway(GatewayKind::EastWest, "2001:db8::1", 15443)];
    full.gateway_specs = vec![gateway(GatewayKind::EastWest, "192.0.2.7", 1)];
    full.spiffe_id_paths = vec![id("/ns/demo/sa/z"), id("/ns/demo/sa/a")];
    (full.created_at, full.updated_at) = (Timestamp(3), Timestamp(4));
    written(database, async |write| write.insert_federated_service(&full).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.federated_service(&full.id).await.unwrap().as_ref(), Some(&full));
    drop(read);
    let bare = cofide_core::FederatedService { gateway_entries: Vec::new(), ..service("full", &cluster("one", "a"), &["b.test"]) };
    written(database, async |write| write.update_federated_service(&bare).await).await;
    assert_eq!(database.begin_read().await.unwrap().federated_service(&full.id).await.unwrap(), Some(bare));
    written(database, async |write| write.delete_federated_service(&full.id).await).await;
    assert_eq!(database.begin_read().await.unwrap().federated_service(&full.id).await.unwrap(), None);
}

pub(crate) async fn a_hostname_is_taken_once_in_a_cluster<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = service("server", &cluster("one", "a"), &["b.test"]);
    again.id = id("again");
    let refused = attempted(database, async |write| write.insert_federated_service(&again).await).await;
    assert_eq!(taken(refused), "federated service with hostname server.demo.a.test in cluster one");
    let third = cluster("three", "a");
    written(database, async |write| {
        write.insert_cluster(&third).await?;
        write.insert_federated_service(&service("server", &third, &["b.test"])).await
    })
    .await;
}

pub(crate) async fn a_service_id_is_taken_once<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = service("other", &cluster("two", "b"), &["a.test"]);
    again.id = id("one-server");
    let refused = attempted(database, async |write| write.insert_federated_service(&again).await).await;
    assert_eq!(taken(refused), "federated service with id one-server");
}
