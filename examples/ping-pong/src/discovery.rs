//! Where a service is: by DNS, or by asking an xDS server for endpoints as SDK clients do.

use std::net::SocketAddr;
use std::time::Duration;

use cofide_xds::envoy::envoy::config::core::v3::Node;
use cofide_xds::envoy::envoy::config::core::v3::address::Address;
use cofide_xds::envoy::envoy::config::core::v3::socket_address::PortSpecifier;
use cofide_xds::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use cofide_xds::envoy::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use cofide_xds::envoy::envoy::service::discovery::v3::DiscoveryRequest;
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hickory_resolver::config::{NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use prost::Message;

use crate::failure::{Failure, Reason};

const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// Resolves a host name, with the DNS server given or the system's. Who has not answered within `patience` does not answer.
pub async fn by_dns(host: &str, port: u16, server: Option<SocketAddr>, patience: Duration) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let not_found = |error: &dyn std::fmt::Display| Failure::new(Reason::NameNotFound, format!("cannot resolve {host}: {error}"));
    let silent = |error: &dyn std::fmt::Display| match server {
        Some(server) => {
            let message = format!("cannot resolve {host}: the DNS server {server} does not answer ({error}); check --dns-server");
            Failure::new(Reason::Unreachable, message)
        }
        None => Failure::new(Reason::Unreachable, format!("cannot resolve {host}: the system's DNS server does not answer ({error})")),
    };
    let resolver = match server {
        Some(server) => at(server).map_err(|error| not_found(&error))?,
        None => TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(|error| not_found(&error))?,
    };
    // The trailing dot keeps search domains out of it.
    match tokio::time::timeout(patience, resolver.lookup_ip(format!("{host}."))).await {
        Ok(Ok(answer)) => Ok(answer.iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        Ok(Err(error @ (NetError::Io(_) | NetError::Timeout | NetError::NoConnections))) => Err(silent(&error)),
        Ok(Err(error)) => Err(not_found(&error)),
        Err(_) => Err(silent(&format!("waited for {patience:?}"))),
    }
}

fn at(server: SocketAddr) -> Result<TokioResolver, NetError> {
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        if matches!(connection.protocol, ProtocolConfig::Udp | ProtocolConfig::Tcp) {
            connection.port = server.port();
        }
    }
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let mut options = ResolverOpts::default();
    // Each call asks anew: a demonstration must not show a cached answer.
    options.cache_size = 0;
    options.attempts = 1;
    options.timeout = Duration::from_secs(2);
    Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

/// Asks an xDS server for the endpoints of `<host>_cluster`, and for nothing else: endpoint discovery over one
/// state-of-the-world aggregated stream, as the Go SDK does. Gives the addresses in the order of the answer.
pub async fn by_xds(host: &str, server: &str, patience: Duration) -> Result<Vec<(String, u16)>, Failure> {
    let what = |error: &dyn std::fmt::Display| Failure::new(Reason::Other, format!("xDS server {server}: {error}"));
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let mut client = AggregatedDiscoveryServiceClient::connect(url)
        .await
        .map_err(|error| Failure::new(Reason::Unreachable, format!("xDS server {server}: {error}")))?;
    let subscription = DiscoveryRequest {
        node: Some(Node { id: "node".to_owned(), ..Node::default() }),
        resource_names: vec![format!("{host}_cluster")],
        type_url: ENDPOINTS.to_owned(),
        ..DiscoveryRequest::default()
    };
    // The stream of requests must stay open, or the server takes the client for gone.
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let subscribed = requests.send(subscription.clone()).await;
    debug_assert!(subscribed.is_ok(), "the receiver is right here");
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut answers = client.stream_aggregated_resources(stream).await.map_err(|error| what(&error))?.into_inner();
    let first_endpoints = async {
        loop {
            let Some(answer) = answers.message().await.map_err(|error| what(&error))? else {
                return Err(what(&"the stream ended"));
            };
            if let Some(resource) = answer.resources.first() {
                let assignment = ClusterLoadAssignment::decode(resource.value.as_slice()).map_err(|error| what(&error))?;
                let endpoints = addresses(&assignment);
                if !endpoints.is_empty() {
                    return Ok(endpoints);
                }
            }
            // "None yet" is an answer that has to be acknowledged like any other before the next one comes.
            let acknowledgement =
                DiscoveryRequest { version_info: answer.version_info, response_nonce: answer.nonce, ..subscription.clone() };
            requests.send(acknowledgement).await.map_err(|_| what(&"the stream ended"))?;
        }
    };
    match tokio::time::timeout(patience, first_endpoints).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Reason::NameNotFound, format!("xDS server {server} knows no endpoint of {host}_cluster"))),
    }
}

fn addresses(assignment: &ClusterLoadAssignment) -> Vec<(String, u16)> {
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    endpoints
        .filter_map(|endpoint| match endpoint.host_identifier.as_ref()? {
            HostIdentifier::Endpoint(endpoint) => match endpoint.address.as_ref()?.address.as_ref()? {
                Address::SocketAddress(socket) => match socket.port_specifier.as_ref()? {
                    PortSpecifier::PortValue(port) => Some((socket.address.clone(), u16::try_from(*port).ok()?)),
                    PortSpecifier::NamedPort(_) => None,
                },
                _ => None,
            },
            HostIdentifier::EndpointName(_) => None,
        })
        .collect()
}
