//! A running server over one cache, and clients that speak the bare protocol.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofide_xds::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use cofide_xds::envoy::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use cofide_xds::envoy::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint};
use cofide_xds::envoy::envoy::config::listener::v3::Listener;
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::Secret;
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER, SECRET};
use cofide_xds::{Cache, Client, Limits, Node, Peer, Receipt, Resource, Router, Server};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// A type that Envoy does not know.
pub(crate) const FREE: &str = "type.googleapis.com/test.Free";

/// Far longer than anything takes; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn free(name: &str, content: &str) -> Resource {
    Resource::new(FREE, name, &content.to_owned())
}

pub(crate) fn eds_cluster(name: &str, alt_stat_name: &str) -> Resource {
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: alt_stat_name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        ..Cluster::default()
    };
    Resource::new(CLUSTER, name, &message)
}

pub(crate) fn listener(name: &str) -> Resource {
    Resource::new(LISTENER, name, &Listener { name: name.to_owned(), ..Listener::default() })
}

pub(crate) fn secret(name: &str) -> Resource {
    Resource::new(SECRET, name, &Secret { name: name.to_owned(), ..Secret::default() })
}

pub(crate) fn endpoint(cluster_name: &str, port: u16) -> Resource {
    let socket_address = SocketAddress {
        address: "192.0.2.1".to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    let address = Address { address: Some(address::Address::SocketAddress(socket_address)) };
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    let lb_endpoint = LbEndpoint { host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let endpoints = vec![LocalityLbEndpoints { lb_endpoints: vec![lb_endpoint], ..LocalityLbEndpoints::default() }];
    let message = ClusterLoadAssignment { cluster_name: cluster_name.to_owned(), endpoints, ..ClusterLoadAssignment::default() };
    Resource::new(ENDPOINT, cluster_name, &message)
}

pub(crate) fn ready_cache() -> Arc<Cache> {
    let cache = Cache::new();
    cache.mark_ready();
    Arc::new(cache)
}

#[derive(Debug)]
pub(crate) enum Heard {
    Subscribed(String),
    Resumed(String, HashMap<String, String>),
    Receipt(Receipt),
    Closed,
}

struct OneCache {
    cache: Arc<Cache>,
    heard: mpsc::UnboundedSender<Heard>,
}

#[async_trait::async_trait]
impl Router for OneCache {
    async fn cache_for(&self, peer: &Peer, node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        assert!(peer.remote_addr.is_some_and(|address| address.ip().is_loopback()));
        match node.id.as_str() {
            "stranger" => Err(Status::permission_denied("nothing for strangers")),
            _ => Ok(self.cache.clone()),
        }
    }

    async fn on_receipt(&self, receipt: Receipt) {
        let _ = self.heard.send(Heard::Receipt(receipt));
    }

    async fn on_resume(&self, _client: &Arc<Client>, type_url: &str, held: HashMap<String, String>) {
        let _ = self.heard.send(Heard::Resumed(type_url.to_owned(), held));
    }

    async fn on_subscribe(&self, _client: &Arc<Client>, type_url: &str) {
        let _ = self.heard.send(Heard::Subscribed(type_url.to_owned()));
    }

    async fn on_closed(&self, _client: &Arc<Client>) {
        let _ = self.heard.send(Heard::Closed);
    }
}

pub(crate) struct TestServer {
    pub(crate) cache: Arc<Cache>,
    pub(crate) channel: Channel,
    pub(crate) shutdown: CancellationToken,
    heard: mpsc::UnboundedReceiver<Heard>,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl TestServer {
    pub(crate) async fn start(cache: Arc<Cache>) -> Self {
        Self::start_with(cache, Limits::default(), DEADLINE * 2).await
    }

    pub(crate) async fn start_with(cache: Arc<Cache>, limits: Limits, ack_wait: Duration) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let server = Server::with(OneCache { cache: cache.clone(), heard: sender }, shutdown.clone(), limits, ack_wait);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let routes = tonic::transport::Server::builder()
            .add_service(server.aggregated())
            .add_service(server.clusters())
            .add_service(server.endpoints())
            .add_service(server.listeners())
            .add_service(server.secrets());
        let stop = shutdown.clone().cancelled_owned();
        let serving = tokio::spawn(routes.serve_with_incoming_shutdown(TcpListenerStream::new(socket), stop));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { cache, channel, shutdown, heard, serving }
    }

    /// The next thing that the router was told.
    pub(crate) async fn heard(&mut self) -> Heard {
        within(self.heard.recv()).await.unwrap()
    }

    pub(crate) async fn receipt(&mut self) -> Receipt {
        loop {
            if let Heard::Receipt(receipt) = self.heard().await {
                return receipt;
            }
        }
    }

    pub(crate) async fn stopped(self) {
        drop(self.channel);
        within(self.serving).await.unwrap().unwrap();
    }

    pub(crate) async fn delta(&self) -> DeltaStream {
        let (requests, receiver) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel.clone());
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        DeltaStream { requests, responses }
    }

    pub(crate) async fn state_of_the_world(&self) -> WholeStream {
        let (requests, receiver) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel.clone());
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        WholeStream { requests, responses }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing happened for a long time")
}

pub(crate) fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) struct DeltaStream {
    pub(crate) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(crate) responses: Streaming<DeltaDiscoveryResponse>,
}

impl DeltaStream {
    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, type_url: &str, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: texts(names),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn unsubscribe(&self, type_url: &str, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_unsubscribe: texts(names),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn resume(&self, type_url: &str, names: &[&str], held: &[(&str, &str)]) {
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: texts(names),
            initial_resource_versions: held.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        within(self.responses.message()).await.unwrap().expect("the server ended the stream")
    }

    /// The next response, acknowledged.
    pub(crate) async fn take(&mut self) -> DeltaDiscoveryResponse {
        let response = self.next().await;
        self.ack(&response).await;
        response
    }

    pub(crate) async fn status(&mut self) -> Status {
        within(self.responses.message()).await.expect_err("an error was expected")
    }

    /// Fails if the server had anything to say before it heard of this: asks for something else, whose answer must be
    /// the next response.
    pub(crate) async fn assert_silent(&mut self) {
        let marker = format!("type.googleapis.com/test.Marker{}", uuid());
        self.subscribe(&marker, &["none"]).await;
        let response = self.next().await;
        assert_eq!(response.type_url, marker, "expected silence, got {}", describe(&response));
    }
}

/// A different number at each call.
fn uuid() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// `cluster +a +b -c`: the last word of the type, what is set and what is removed, sorted.
pub(crate) fn describe(response: &DeltaDiscoveryResponse) -> String {
    let mut parts: Vec<String> = response.resources.iter().map(|resource| format!("+{}", resource.name)).collect();
    parts.extend(response.removed_resources.iter().map(|name| format!("-{name}")));
    parts.sort();
    parts.insert(0, response.type_url.rsplit('.').next().unwrap().to_owned());
    parts.join(" ")
}

pub(crate) struct WholeStream {
    pub(crate) requests: mpsc::Sender<DiscoveryRequest>,
    pub(crate) responses: Streaming<DiscoveryResponse>,
}

impl WholeStream {
    pub(crate) async fn send(&self, request: DiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// A first request, or a change of names that does not refer to a response.
    pub(crate) async fn ask(&self, type_url: &str, names: &[&str]) {
        self.send(DiscoveryRequest { type_url: type_url.to_owned(), resource_names: texts(names), ..DiscoveryRequest::default() }).await;
    }

    /// Acknowledges, and says what is wanted from now on.
    pub(crate) async fn ack(&self, response: &DiscoveryResponse, names: &[&str]) {
        self.send(DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: texts(names),
            ..DiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> DiscoveryResponse {
        within(self.responses.message()).await.unwrap().expect("the server ended the stream")
    }

    pub(crate) async fn take(&mut self, names: &[&str]) -> DiscoveryResponse {
        let response = self.next().await;
        self.ack(&response, names).await;
        response
    }

    pub(crate) async fn assert_silent(&mut self) {
        let marker = format!("type.googleapis.com/test.Marker{}", uuid());
        self.ask(&marker, &["none"]).await;
        let response = self.next().await;
        assert_eq!(response.type_url, marker, "expected silence, got {}", describe_whole(&response));
    }
}

/// `Cluster a b`: the last word of the type and the names in it. Every type in these tests has its name in field 1 or is
/// a bare string.
pub(crate) fn describe_whole(response: &DiscoveryResponse) -> String {
    let names = response.resources.iter().map(|body| {
        assert_eq!(body.type_url, response.type_url);
        String::decode(body.value.as_slice()).unwrap()
    });
    let kind = response.type_url.rsplit('.').next().unwrap().to_owned();
    std::iter::once(kind).chain(names).collect::<Vec<_>>().join(" ")
}
