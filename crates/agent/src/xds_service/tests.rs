use std::time::Duration;

use cofide_core::GatewayKind;
use cofide_test_objects::imported_service;
use cofide_xds::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use cofide_xds::envoy::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use cofide_xds::envoy::google::rpc;
use cofide_xds::type_url::{CLUSTER, ENDPOINT};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::Streaming;

use super::*;
use crate::published::Wake;

const DEADLINE: Duration = Duration::from_secs(10);

fn import(hostname: &str, gateway: &str) -> DesiredImport {
    DesiredImport { import: imported_service(hostname, &[(GatewayKind::Ingress, gateway)]), address: None }
}

fn service() -> Arc<XdsService> {
    XdsService::new(SidecarSettings {
        pool: Default::default(),
        resolver: "127.0.0.1:10053".parse().unwrap(),
        fallback_resolvers: Default::default(),
    })
}

/// The state-of-the-world stream of one client.
struct Stream {
    node: Node,
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Stream {
    /// Connects to the service on a port of its own, and asks for names of a type.
    async fn open(service: &Arc<XdsService>, node_cluster: &str, type_url: &str, names: &[&str]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(service.server(CancellationToken::new()).aggregated());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
        let (requests, receiver) = mpsc::channel(8);
        let node = Node { id: "test".into(), cluster: node_cluster.into(), ..Default::default() };
        let resource_names = names.iter().map(|&name| name.to_owned()).collect();
        let request = DiscoveryRequest { node: Some(node.clone()), type_url: type_url.into(), resource_names, ..Default::default() };
        requests.send(request).await.unwrap();
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { node, requests, responses }
    }

    async fn next(&mut self) -> DiscoveryResponse {
        tokio::time::timeout(DEADLINE, self.responses.message()).await.expect("a response").unwrap().expect("an open stream")
    }

    async fn answer(&self, response: &DiscoveryResponse, names: &[&str], error: Option<&str>) {
        let request = DiscoveryRequest {
            node: Some(self.node.clone()),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            type_url: response.type_url.clone(),
            resource_names: names.iter().map(|&name| name.to_owned()).collect(),
            error_detail: error.map(|message| rpc::Status { code: 13, message: message.into(), details: vec![] }),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
    }
}

async fn until(service: &XdsService, condition: impl Fn(&[Proxy]) -> bool) -> Arc<Vec<Proxy>> {
    let wake = Wake::default();
    service.proxies().wakes(&wake);
    loop {
        let proxies = service.proxies().get();
        if condition(&proxies) {
            return proxies;
        }
        tokio::time::timeout(DEADLINE, wake.woken()).await.unwrap_or_else(|_| panic!("proxies stay {proxies:?}"));
    }
}

#[tokio::test]
async fn an_sdk_that_asks_for_endpoints_alone_follows_its_service() {
    let service = service();
    let name = "server.demo.a.test_cluster";
    service.publish_imports(vec![]);
    let mut stream = Stream::open(&service, "", ENDPOINT, &[name]).await;
    let unknown = stream.next().await;
    let endpoints = |response: &DiscoveryResponse| {
        let assignments = response.resources.iter().map(|body| ClusterLoadAssignment::decode(body.value.as_slice()).unwrap());
        assignments.map(|assignment| assignment.endpoints.iter().map(|locality| locality.lb_endpoints.len()).sum()).collect::<Vec<usize>>()
    };
    assert_eq!(endpoints(&unknown).iter().sum::<usize>(), 0, "not imported yet");
    stream.answer(&unknown, &[name], None).await;

    // Something else is imported as well: only what was asked for is sent, and it comes first.
    service.publish_imports(vec![import("a.demo.a.test", "192.0.2.1"), import("server.demo.a.test", "gateway.example.com")]);
    let known = stream.next().await;
    assert_eq!(endpoints(&known), [1]);
    let text = String::from_utf8_lossy(&known.resources[0].value).into_owned();
    assert!(text.contains("gateway.example.com"), "{text:?}");
    stream.answer(&known, &[name], None).await;

    service.publish_imports(vec![]);
    assert_eq!(endpoints(&stream.next().await).iter().sum::<usize>(), 0, "imported no longer");
}

#[tokio::test]
async fn a_view_that_is_not_known_yet_is_not_served_as_an_empty_one() {
    let service = service();
    let mut stream = Stream::open(&service, "cofide-client", CLUSTER, &[]).await;
    until(&service, |proxies| !proxies.is_empty()).await;
    service.publish_imports(vec![import("server.demo.a.test", "192.0.2.1")]);
    assert_eq!(stream.next().await.resources.len(), 2, "the first answer is the whole");
}

#[tokio::test]
async fn a_refused_resource_is_remembered_until_it_is_accepted_or_the_proxy_leaves() {
    let service = service();
    service.publish_imports(vec![import("server.demo.a.test", "192.0.2.1")]);
    let mut stream = Stream::open(&service, "cofide-client", CLUSTER, &[]).await;
    let response = stream.next().await;
    stream.answer(&response, &[], Some("Error adding/updating cluster(s) server.demo.a.test_cluster: no\nsuch thing")).await;
    let proxies = until(&service, |proxies| proxies.iter().any(|proxy| !proxy.rejected.is_empty())).await;
    let rejected: Vec<_> = proxies[0].rejected.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(rejected, ["server.demo.a.test_cluster"], "the other cluster of the response was applied");
    let reason = proxies[0].rejected.values().next().unwrap();
    assert_eq!(reason, "Error adding/updating cluster(s) server.demo.a.test_cluster: no such thing", "on one line");
    assert_eq!(proxies[0].role, Role::Client);

    service.publish_imports(vec![import("server.demo.a.test", "gateway.example.com")]);
    let response = stream.next().await;
    stream.answer(&response, &[], None).await;
    until(&service, |proxies| proxies.iter().all(|proxy| proxy.rejected.is_empty())).await;

    drop(stream);
    until(&service, <[Proxy]>::is_empty).await;
}

#[test]
fn a_port_that_is_taken_is_told_with_its_listener_and_address() {
    let text = "Error adding/updating listener(s) x.demo.a.test_listener: cannot bind '127.77.0.1:8443': Address already in use\n\
                y.demo.a.test_listener: duplicate";
    let names = ["demo.a.test_listener", "x.demo.a.test_listener", "y.demo.a.test_listener"];
    assert_eq!(taken_ports(text, &names), [TakenPort { listener: "x.demo.a.test_listener", address: "127.77.0.1:8443" }]);
    let gateway = "Error adding/updating listener(s) gateway: cannot bind '127.0.1.1:15443': Address already in use";
    assert_eq!(taken_ports(gateway, &["gateway"]), [TakenPort { listener: "gateway", address: "127.0.1.1:15443" }]);
    assert_eq!(
        taken_ports("gateway: cannot bind '192.0.2.1:1': Cannot assign requested address", &["gateway"]),
        [],
        "that is another matter"
    );
    assert_eq!(taken_ports("Error adding/updating cluster(s) x: no such thing", &["x"]), []);
}

#[test]
fn a_name_is_not_found_within_a_longer_one() {
    let text = "Error adding/updating listener(s) x.demo.a.test_listener: cannot bind '127.77.0.1:8443'";
    assert!(mentions(text, "x.demo.a.test_listener"));
    for other in ["demo.a.test_listener", "x.demo.a.test", "y.demo.a.test_listener"] {
        assert!(!mentions(text, other), "{other}");
    }
}
