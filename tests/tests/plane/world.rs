//! What the tests of the plane ask the world: as an SDK, as a person with a terminal.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cofide_agent::world::Link;
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::eventually;
use cofide_xds::envoy::envoy::config::core::v3::Node;
use cofide_xds::envoy::envoy::config::core::v3::address::Address;
use cofide_xds::envoy::envoy::config::core::v3::socket_address::PortSpecifier;
use cofide_xds::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use cofide_xds::envoy::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use cofide_xds::envoy::envoy::service::discovery::v3::DiscoveryRequest;
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use prost::Message as _;

/// Two zones, `a` and `b`, that trust each other.
pub(crate) async fn two_federated_zones() -> Plane {
    let plane = two_zones().await;
    plane.federate_both_ways(A, B).await.unwrap();
    plane
}

pub(crate) async fn two_zones() -> Plane {
    let mut plane = Plane::start().await.unwrap();
    assert_eq!((plane.add_zone("a").await.unwrap(), plane.add_zone("b").await.unwrap()), (A, B));
    plane
}

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// A service that needs no gateway of this host: its owner says where remote clients enter.
pub(crate) fn service(name: &str, exported_to: &[&str], gateway_port: u16) -> String {
    let exported: Vec<String> = exported_to.iter().map(|domain| format!("    - {domain}\n")).collect();
    format!(
        "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata:\n  name: {name}\n  namespace: demo\nspec:\n  \
         name: {name}\n  namespace: demo\n  exportedTrustDomains:\n{}  workloadLabels:\n    app: {name}\n  port: 8443\n  tlsMode: Mtls\n  \
         gateways:\n    - type: istio-ingressgateway\n      ip: 127.0.0.9\n      port: {gateway_port}\n---\napiVersion: \
         networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: {name}\n  namespace: demo\nspec:\n  address: 127.0.0.9\n  \
         labels:\n    app: {name}\n",
        exported.concat()
    )
}

/// The endpoints that an SDK is given for a hostname, asked as SDKs ask: endpoints alone, one name, a new stream.
pub(crate) async fn endpoints(zone: &Zone, hostname: &str) -> Option<Vec<(String, u32)>> {
    let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{}", zone.xds_address)).await.ok()?;
    let request = DiscoveryRequest {
        node: Some(Node { id: "node".into(), ..Node::default() }),
        resource_names: vec![format!("{hostname}_cluster")],
        type_url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".into(),
        ..DiscoveryRequest::default()
    };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut answers = client.stream_aggregated_resources(requests).await.ok()?.into_inner();
    let answer = tokio::time::timeout(Duration::from_secs(5), answers.message()).await.ok()?.ok()??;
    let Some(resource) = answer.resources.first() else { return Some(Vec::new()) };
    let assignment = ClusterLoadAssignment::decode(resource.value.as_slice()).ok()?;
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    Some(
        endpoints
            .filter_map(|endpoint| {
                let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return None };
                let Some(Address::SocketAddress(socket)) = endpoint.address.as_ref()?.address.as_ref() else { return None };
                let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
                Some((socket.address.clone(), port))
            })
            .collect(),
    )
}

pub(crate) async fn imported(zone: &Zone, hostname: &str) -> Vec<(String, u32)> {
    let some = |found: &Option<Vec<_>>| found.as_ref().is_some_and(|endpoints| !endpoints.is_empty());
    eventually(&format!("{hostname} is imported in {}", zone.name), || endpoints(zone, hostname), some).await.unwrap()
}

/// It is imported at this very moment.
pub(crate) async fn still_imported(zone: &Zone, hostname: &str) {
    let found = endpoints(zone, hostname).await;
    assert!(found.as_ref().is_some_and(|found| !found.is_empty()), "{hostname} is not imported in {} any more: {found:?}", zone.name);
}

/// A moment at which it is not imported; that it stays so is for [`fence`] to show.
pub(crate) async fn not_imported(zone: &Zone, hostname: &str) {
    let none = |found: &Option<Vec<_>>| found.as_ref().is_some_and(Vec::is_empty);
    eventually(&format!("{hostname} is not imported in {}", zone.name), || endpoints(zone, hostname), none).await;
}

pub(crate) async fn resolved(zone: &Zone, hostname: &str) -> Vec<std::net::Ipv4Addr> {
    eventually(&format!("{hostname} resolves in {}", zone.name), || zone.resolve(hostname), |found| !found.is_empty()).await
}

pub(crate) async fn status_says(zone: &Zone, manifest: &str, words: &[&str]) -> String {
    let says = |status: &String| words.iter().all(|word| status.contains(word));
    eventually(&format!("the status of {manifest} says {words:?}"), || async { zone.status_of(manifest) }, says).await
}

/// Everything that was said before in the zone `from` has arrived in the zones `to`, which import from it: a service that is
/// exported now has, and what an agent says and what it hears both keep their order.
pub(crate) async fn fence(from: &Zone, to: &[&Zone]) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("fence-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let domains: Vec<_> = to.iter().map(|zone| zone.trust_domain.as_str()).collect();
    from.write_manifest(&format!("{name}.yaml"), &service(&name, &domains, 15443)).unwrap();
    for zone in to {
        imported(zone, &format!("{name}.demo.{}", from.trust_domain)).await;
    }
}

/// Waits until the zone's agent has noticed that Connect is away.
pub(crate) async fn connect_is_missed(zone: &Zone) {
    let missed = |link: &Option<Link>| matches!(link, Some(Link::Disconnected(_)));
    eventually(&format!("the agent of {} misses Connect", zone.name), || async { zone.link() }, missed).await;
}

pub(crate) async fn connected(zone: &Zone) {
    let connected = |link: &Option<Link>| *link == Some(Link::Connected);
    eventually(&format!("the agent of {} has found Connect", zone.name), || async { zone.link() }, connected).await;
}

/// Waits until each federation is healthy, as `cofidectl federation list` says.
pub(crate) async fn federations_are_healthy(plane: &Plane) {
    let states = || async { plane.federation_states().await.unwrap() };
    eventually("each federation is healthy", states, |states| states.iter().all(|(_, _, state)| *state == State::Healthy)).await;
}
