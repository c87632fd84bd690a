//! The product's xDS server with endpoints and nothing else, as SDK clients ask for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cofide_xds::envoy::envoy::config::core::v3::socket_address::PortSpecifier;
use cofide_xds::envoy::envoy::config::core::v3::{Address, SocketAddress, address};
use cofide_xds::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use cofide_xds::{Cache, Node, Peer, Receipt, Resource, Router, type_url};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

pub(crate) struct EndpointServer {
    cache: Arc<Cache>,
    receipts: watch::Receiver<usize>,
    pub(crate) address: SocketAddr,
}

/// The same view for everyone; counts the answers that clients have acknowledged.
struct OneView {
    cache: Arc<Cache>,
    receipts: watch::Sender<usize>,
}

#[tonic::async_trait]
impl Router for OneView {
    async fn cache_for(&self, _: &Peer, _: &Node, _: &str) -> Result<Arc<Cache>, Status> {
        Ok(self.cache.clone())
    }

    async fn on_receipt(&self, _: Receipt) {
        self.receipts.send_modify(|count| *count += 1);
    }
}

impl EndpointServer {
    pub(crate) async fn start() -> Self {
        let cache = Arc::new(Cache::new());
        cache.mark_ready();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receipts) = watch::channel(0);
        let server = cofide_xds::Server::new(OneView { cache: cache.clone(), receipts: sender });
        let server = tonic::transport::Server::builder().add_service(server.aggregated());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { cache, receipts, address }
    }

    /// Waits until clients have taken this many answers.
    pub(crate) async fn until_asked(&self, count: usize) {
        let mut receipts = self.receipts.clone();
        let enough = receipts.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("the answers are taken before the deadline").unwrap();
    }

    pub(crate) fn set(&self, cluster: &str, endpoints: &[SocketAddr]) {
        let endpoint = |address: &SocketAddr| {
            let socket = SocketAddress {
                address: address.ip().to_string(),
                port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
                ..SocketAddress::default()
            };
            let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
            let endpoint = Endpoint { address, ..Endpoint::default() };
            LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
        };
        let locality = LocalityLbEndpoints { lb_endpoints: endpoints.iter().map(endpoint).collect(), ..LocalityLbEndpoints::default() };
        let assignment =
            ClusterLoadAssignment { cluster_name: cluster.into(), endpoints: vec![locality], ..ClusterLoadAssignment::default() };
        self.cache.set(type_url::ENDPOINT, Resource::new(type_url::ENDPOINT, cluster, &assignment));
    }
}
