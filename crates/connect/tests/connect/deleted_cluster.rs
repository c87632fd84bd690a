//! What the agent of a deleted cluster can still do: nothing.

use cofide_api::connect::agent_service::ListFederatedServicesRequest;
use cofide_api::connect::cluster_service::DestroyClusterRequest;
use tonic::Code::PermissionDenied;

use crate::support::{Plane, refused};

#[tokio::test]
async fn an_id_that_names_no_cluster_does_not_become_the_only_agent_that_is_left() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let (one, two) = (plane.joined(&zone, "one").await, plane.joined(&zone, "two").await);
    for cluster in [&one, &two] {
        cluster.agent.agents().list_federated_services(ListFederatedServicesRequest::default()).await.unwrap();
    }
    let destroy = DestroyClusterRequest { cluster_id: Some(one.id.clone()) };
    plane.admin().await.clusters().destroy_cluster(destroy).await.unwrap();

    let nameless = plane.workload(zone.authority.svid("/ns/cofide/sa/cofide-agent")).await;
    let answer = nameless.agents().list_federated_services(ListFederatedServicesRequest::default()).await;
    refused(answer, PermissionDenied, &["names no cluster", "/cluster/<cluster>/ns/cofide/sa/cofide-agent"]);
    two.agent
        .agents()
        .list_federated_services(ListFederatedServicesRequest::default())
        .await
        .expect("the one that is left is still itself");
}
