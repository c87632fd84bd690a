//! Many services at once.

use cofide_k8s_api::{ConditionStatus, FederatedServiceObject};
use cofide_testkit::wait::within;
use futures::StreamExt;
use kube::Api;
use serde_json::json;

use crate::support::{World, federated_service};

const MANY: usize = 200;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn many_services_at_once_become_ready_and_each_status_is_written_once() {
    let mut world = World::start().await;
    world.ping_pong().await;
    let services: Api<FederatedServiceObject> = Api::namespaced(world.cluster.client().unwrap(), "demo");
    let objects = (0..MANY).map(|number| {
        let mut object = federated_service(&format!("many-{number}"));
        object["spec"]["name"] = json!(format!("many-{number}"));
        serde_json::from_value::<FederatedServiceObject>(object).unwrap()
    });
    let creations = futures::stream::iter(objects).map(async |object| services.create(&Default::default(), &object).await.unwrap());
    creations.buffer_unordered(8).collect::<Vec<_>>().await;
    let ready = || async {
        let objects = services.list(&Default::default()).await.unwrap().items;
        let is_ready = |object: &FederatedServiceObject| {
            let status = object.written_status();
            status.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == ConditionStatus::True)
        };
        objects.iter().filter(|object| is_ready(object)).count()
    };
    within(PATIENCE, "all are ready", ready, |ready| *ready == MANY).await;
    let written = status_writes(&world).await;
    assert!((MANY..=MANY + MANY / 20).contains(&written), "{written} writes for {MANY} services");

    world.take_agent(0).stop().await.unwrap();
    let kept = memory_writes(&world);
    world.start_agent(|_| {}).await;
    world.fence("fence").await;
    assert_eq!(status_writes(&world).await, written + 1, "a restart wrote more than the status of what is new");
    let kept_anew = memory_writes(&world) - kept;
    assert!(kept_anew <= 1, "beside what is new, the agent's memory was written {kept_anew} times, and nothing in it had changed");
}

/// How often agents have written what they keep in the cluster.
fn memory_writes(world: &World) -> usize {
    world.cluster.writes().unwrap().iter().filter(|write| write.resource == "configmaps" && write.name == "cofide-agent-state").count()
}

/// How often a status was written, as the API server counts.
async fn status_writes(world: &World) -> usize {
    let request = http::Request::get("/metrics").body(vec![]).unwrap();
    let metrics = world.cluster.client().unwrap().request_text(request).await.unwrap();
    let labels = ["resource=\"federatedservices\"", "subresource=\"status\"", "verb=\"PATCH\""];
    let is_meant = |line: &&str| line.starts_with("apiserver_request_total") && labels.iter().all(|label| line.contains(label));
    metrics.lines().filter(is_meant).filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}
