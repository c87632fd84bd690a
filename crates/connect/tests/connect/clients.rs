//! The control plane through the crate that the agent and cofidectl use, from the files that it writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofide_api::connect::trust_zone_service::ListTrustZonesRequest;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_connect_client::{Bootstrap, Credential, Node, PlanStream, Versions};
use cofide_core::JoinTokenSecret;
use cofide_plan::{Key, PlanResource};
use cofide_svid::{BundleSet, IdentitySlot};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

use crate::federated_services::{register, service};
use crate::plan_stream::{Follower, Versions as Held};
use crate::support::{Plane, Zone, introduction};

fn credential(plane: &Plane) -> Credential {
    Credential::read(&plane.folder.path().join("data/admin-credential.json")).unwrap()
}

/// As `cofidectl agent join-token create` fills it from the credential and the answer.
async fn bootstrap(plane: &Plane, zone: &Zone, cluster: &str) -> Bootstrap {
    let credential = credential(plane);
    let cluster_id = plane.cluster(zone, cluster).await;
    Bootstrap {
        connect_url: credential.connect_url.unwrap(),
        connect: credential.connect.unwrap(),
        trust_zone_id: zone.id.parse().unwrap(),
        trust_domain: zone.trust_domain().clone(),
        agent_token: JoinTokenSecret::new(plane.join_token(zone, &cluster_id).await),
        cluster_id: cluster_id.parse().unwrap(),
        cluster_name: cluster.parse().unwrap(),
    }
}

#[tokio::test]
async fn the_credential_file_is_all_that_a_user_needs() {
    let plane = Plane::start().await;
    let channel = cofide_connect_client::connect_as_user(&credential(&plane)).await.unwrap();
    let zones = TrustZoneServiceClient::new(channel).list_trust_zones(ListTrustZonesRequest::default()).await.unwrap().into_inner();
    assert_eq!(zones.trust_zones.len(), 1);
}

#[tokio::test]
async fn an_agent_joins_by_its_bootstrap_file_and_follows_its_plan() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let server = plane.joined(&a, "one").await;
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    register(&server.agent, service("server", &["b.test"])).await.unwrap();

    let bootstrap = bootstrap(&plane, &b, "one").await;
    let channel = cofide_connect_client::connect_to_join(&bootstrap).await.unwrap();
    let request = introduction(&b, bootstrap.cluster_id.as_str(), bootstrap.agent_token.expose());
    TrustZoneServiceClient::new(channel).register_agent(request).await.unwrap();

    let bundles = Arc::new(BundleSet::from_iter([bootstrap.connect.bundle.clone()]));
    let identity = Arc::new(IdentitySlot::new(b.authority.agent("one")));
    let channel = cofide_connect_client::connect_as_agent(&bootstrap.connect_url, bootstrap.connect.spiffe_id.clone(), bundles, identity);
    let mut stream = PlanStream::new(channel, Node::default(), Versions::new());
    let mut received = BTreeMap::new();
    while received.len() < 3 {
        let changes = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap_or_else(|_| panic!("only {received:#?}"));
        assert!(changes.receipt.rejected.is_empty(), "{:?}", changes.receipt);
        received.extend(changes.set.into_iter().map(|received| (received.resource.key(), received.resource)));
        stream.acknowledge(changes.receipt).await;
    }
    assert_eq!(received[&Key::ControlPlaneTrust], PlanResource::ControlPlaneTrust(bootstrap.connect.clone()));
    let PlanResource::Trust(trust) = &received[&Key::Trust(a.trust_domain().clone())] else { panic!("{received:#?}") };
    assert_eq!(trust.bundle.as_ref().map(|bundle| bundle.x509_authorities.len()), Some(1));
    assert!(received.contains_key(&Key::Import("server.demo.a.test".parse().unwrap())));
}

#[tokio::test]
async fn of_two_that_join_with_one_token_one_does() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let token = plane.join_token(&zone, &cluster).await;
    let (first, second) = (plane.anonymous().await, plane.anonymous().await);
    let (mut first, mut second) = (first.trust_zones(), second.trust_zones());
    let request = || introduction(&zone, &cluster, &token);
    let (one, other) = tokio::join!(first.register_agent(request()), second.register_agent(request()));
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|joined| **joined).count(), 1, "{one:?} {other:?}");
}

#[tokio::test]
async fn health_is_for_anyone_and_reflection_lists_the_services() {
    let plane = Plane::start().await;
    let anonymous = plane.anonymous().await;
    for name in ["", "proto.connect.trust_zone_service.v1alpha1.TrustZoneService"] {
        let request = HealthCheckRequest { service: name.into() };
        let answer = HealthClient::new(anonymous.service()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name:?}");
    }
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let admin = plane.admin().await;
    let mut reflection = ServerReflectionClient::new(admin.service());
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = service.into_iter().map(|service| service.name).collect();
    for name in ["proto.connect.agent_service.v1alpha1.AgentService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_agents_that_stay() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let mut follower = Follower::open(&cluster.agent, &Held::new()).await;
    follower.settle().await;
    let stopped = tokio::time::timeout(Duration::from_secs(8), plane.stop());
    let folder = stopped.await.expect("it stops although an agent follows its plan");
    assert!(!folder.path().join("data/connect.db-wal").exists(), "the database was closed");
}

#[tokio::test]
async fn the_admin_port_counts_what_happens() {
    let plane = Plane::start_with(|config| config.admin_address = Some("127.0.0.1:0".parse().unwrap())).await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let mut follower = Follower::open(&cluster.agent, &Held::new()).await;
    follower.settle().await;
    let metrics = plane.scrape("/metrics").await;
    for line in [
        r#"cofide_connect_calls_total{method="/proto.connect.trust_zone_service.v1alpha1.TrustZoneService/CreateTrustZone",code="Ok"} 1"#,
        "cofide_connect_followed_clusters 1",
        "cofide_connect_revision 4",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(plane.scrape("/healthz/ready").await.starts_with("HTTP/1.1 200"));
}
