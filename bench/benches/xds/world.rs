//! What both servers serve, encoded once.

use cofide_xds::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use cofide_xds::envoy::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address, config_source, socket_address,
};
use cofide_xds::envoy::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint};
use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as WireResource};
use cofide_xds::envoy::google::protobuf::Duration;
use cofide_xds::type_url::{CLUSTER, ENDPOINT};
use cofide_xds::{Any, Resource};
use prost::Message;

pub(crate) fn name(index: usize) -> String {
    format!("service-{index}.demo.a.demo.test_cluster")
}

/// All resources in one message, which is the form that both servers read.
pub(crate) fn encode(clusters: usize) -> Vec<u8> {
    let of = |index| {
        let name = name(index);
        [Resource::new(CLUSTER, name.clone(), &cluster(&name)), endpoint(&name, 15_443)]
    };
    let wire = |resource: Resource| WireResource {
        name: resource.name().to_owned(),
        resource: Some(resource.body().clone()),
        ..WireResource::default()
    };
    let resources = (0..clusters).flat_map(of).map(wire).collect();
    DeltaDiscoveryResponse { resources, ..DeltaDiscoveryResponse::default() }.encode_to_vec()
}

pub(crate) fn decode(encoded: &[u8]) -> anyhow::Result<Vec<(String, Resource)>> {
    let world = DeltaDiscoveryResponse::decode(encoded)?;
    let resource = |wire: WireResource| {
        let body: Any = wire.resource.unwrap_or_default();
        (body.type_url.clone(), Resource::from_any(wire.name, body))
    };
    Ok(world.resources.into_iter().map(resource).collect())
}

fn cluster(name: &str) -> Cluster {
    let eds_config = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    };
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(Duration { seconds: 5, nanos: 0 }),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::EdsClusterConfig { eds_config: Some(eds_config), service_name: String::new() }),
        alt_stat_name: name.to_owned(),
        ..Cluster::default()
    }
}

pub(crate) fn endpoint(cluster_name: &str, port: u16) -> Resource {
    let socket_address = SocketAddress {
        address: "192.0.2.1".to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    let endpoint =
        Endpoint { address: Some(Address { address: Some(address::Address::SocketAddress(socket_address)) }), ..Endpoint::default() };
    let lb_endpoint = LbEndpoint { host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let endpoints = vec![LocalityLbEndpoints { lb_endpoints: vec![lb_endpoint], ..LocalityLbEndpoints::default() }];
    Resource::new(ENDPOINT, cluster_name, &ClusterLoadAssignment { cluster_name: cluster_name.to_owned(), endpoints, ..Default::default() })
}

/// The port in an encoded load assignment.
pub(crate) fn port_of(body: &Any) -> Option<u16> {
    let assignment = ClusterLoadAssignment::decode(body.value.as_slice()).ok()?;
    let lb_endpoint::HostIdentifier::Endpoint(endpoint) = assignment.endpoints.first()?.lb_endpoints.first()?.host_identifier.as_ref()?
    else {
        return None;
    };
    let address::Address::SocketAddress(socket) = endpoint.address.as_ref()?.address.as_ref()? else { return None };
    match socket.port_specifier.as_ref()? {
        socket_address::PortSpecifier::PortValue(port) => u16::try_from(*port).ok(),
        socket_address::PortSpecifier::NamedPort(_) => None,
    }
}
