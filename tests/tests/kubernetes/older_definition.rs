//! A cluster in which the definition of FederatedService is an older one: `spiffeIDPaths` required, no rules in CEL, conditions as
//! one list.

use anyhow::ensure;
use cofide_k8s_api::federated_service::crd;
use cofide_k8s_api::testdata::OLDER_CRD;
use serde_json::{Value, json};

use crate::support::{Server, Speaks, World, federated_service};

const NAMESPACE: &str = "older";

fn service(name: &str, field: &str, value: Value) -> Value {
    let mut service = federated_service(NAMESPACE, name, name, 8443, "Mtls");
    service["spec"]["exportedTrustDomains"] = json!(["other1.domain"]);
    service["spec"]["spiffeIDPaths"] = json!(["ns/demo/sa/server"]);
    service["spec"][field] = value;
    service
}

pub(crate) async fn a_cluster_with_the_older_definition_exports_all_the_same_and_a_bad_object_there_harms_only_itself(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.plain, NAMESPACE, "server", 8443, Speaks::Mtls(&["other1.domain"])).await.unwrap();
    let cluster = &world.plain.cluster;
    // What only the present definition takes, and what only the older one does.
    let (mut modern, broken) = (service("modern", "port", json!(8443)), service("broken", "port", json!(0)));
    modern["spec"].as_object_mut().unwrap().remove("spiffeIDPaths");
    cluster.apply_yaml(OLDER_CRD).await.unwrap();
    world
        .until("the older definition is in force", async || {
            ensure!(cluster.apply(&modern).await.is_err(), "spiffeIDPaths is not required");
            cluster.apply(&broken).await
        })
        .await;
    cluster.apply(&service("server", "port", json!(8443))).await.unwrap();

    let reached = async || world.in_mesh.ping_mtls(&world.client, "server.older.other2.domain:8443", "other2.domain").await;
    world.until("it is reached from a mesh", reached).await;
    let has = async |name: &str, kind: &str, status: &str, reason: &str| {
        let what = format!("{kind} of {name} is {status} for {reason}");
        world.until(&what, async || world.plain.has_condition(NAMESPACE, name, kind, (status, reason)).await).await
    };
    has("server", "Ready", "True", "Exported").await;
    let message = has("broken", "Accepted", "False", "Invalid").await;
    assert!(message.contains("spec.port"), "{message}");
    world.until("the other one is still reached", reached).await;

    cluster.delete_yaml(&broken.to_string()).await.unwrap();
    cluster.apply_yaml(&crd::yaml()).await.unwrap();
    world.until("the present definition is back", async || cluster.apply(&modern).await).await;
    cluster.delete_yaml(&modern.to_string()).await.unwrap();
    world.until("it is reached afterwards", reached).await;
}
