//! What cofide-connect answers to programs other than cofidectl: probes, reflection, plain text.

use std::time::{Duration, Instant};

use cofide_connect_client::{Credential, connect_as_user};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::Connect;

async fn with_plain_text() -> (Connect, Channel) {
    let connect = Connect::start_with(&["--plaintext-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]).await;
    let url = format!("http://{}", connect.listening("plain text"));
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    (connect, channel)
}

fn list_services() -> tokio_stream::Once<ServerReflectionRequest> {
    tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) })
}

async fn listed(
    answer: tonic::Result<tonic::Response<tonic::Streaming<tonic_reflection::pb::v1::ServerReflectionResponse>>>,
) -> Vec<String> {
    let message = answer.unwrap().into_inner().message().await.unwrap().unwrap();
    match message.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|service| service.name).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn health_is_answered_to_anyone_for_the_whole_and_for_each_service() {
    let (_connect, channel) = with_plain_text().await;
    let mut health = HealthClient::new(channel);
    for service in ["", "proto.connect.trust_zone_service.v1alpha1.TrustZoneService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nothing".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_the_services_to_users_over_tls_and_in_plain_text() {
    let (connect, channel) = with_plain_text().await;
    let anonymous = ServerReflectionClient::new(channel.clone()).server_reflection_info(list_services()).await;
    assert_eq!(anonymous.unwrap_err().code(), Code::Unauthenticated);

    let mut request = Request::new(list_services());
    request.metadata_mut().insert("authorization", format!("Bearer {}", connect.token()).parse().unwrap());
    let in_plain_text = listed(ServerReflectionClient::new(channel).server_reflection_info(request).await).await;
    let as_user = connect_as_user(&Credential::read(&connect.credential()).unwrap()).await.unwrap();
    let over_tls = listed(ServerReflectionClient::new(as_user).server_reflection_info(list_services()).await).await;
    assert_eq!(over_tls, in_plain_text);
    for service in ["proto.connect.federation_service.v1alpha1.FederationService", "grpc.health.v1.Health"] {
        assert!(over_tls.iter().any(|name| name == service), "{over_tls:?}");
    }
}

#[tokio::test]
async fn the_admin_port_answers_probes_and_scrapers() {
    let (connect, _channel) = with_plain_text().await;
    let log = connect.log();
    let (_, rest) = log.split_once("http://").unwrap();
    let address = rest.split_once('/').unwrap().0;
    for (path, expected) in [("/healthz/live", "ok"), ("/healthz/ready", "\"ready\":true"), ("/metrics", "# EOF")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: connect\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(expected), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_on_is_told_and_does_not_keep_it_from_stopping() {
    let (connect, channel) = with_plain_text().await;
    let mut watch = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let began = Instant::now();
    let (status, _folder) = connect.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}
