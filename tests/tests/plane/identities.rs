//! Who holds which bundle: the three steps of setting up trust, and the one that is easy to miss.

use std::collections::BTreeSet;
use std::sync::Arc;

use cofide_api::connect::ap_binding_service::UpdateApBindingRequest;
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::receipt_service::receipt_service_client::ReceiptServiceClient;
use cofide_api::connect::receipt_service::{FederationStatus, ListFederationStatusesRequest, federation_status};
use cofide_api::types::ap_binding::ApBinding;
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::eventually;
use spiffe::x509_source::SvidPicker;
use spiffe::{SpiffeId, X509Source, X509Svid};

use crate::world::{A, B, two_federated_zones, two_zones};

/// The trust domains whose bundles the workload with this path holds; `None` while it has no identity.
async fn bundles_of(source: &X509Source) -> BTreeSet<String> {
    let context = source.x509_context();
    context.map(|context| context.bundle_set().iter().map(|(domain, _)| domain.to_string()).collect()).unwrap_or_default()
}

/// Everything in the plane is one process with many identities: a workload is told apart by its ID.
struct One(SpiffeId);

impl SvidPicker for One {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| svid.spiffe_id() == &self.0)
    }
}

async fn workload(zone: &Zone, path: &str) -> X509Source {
    let id = SpiffeId::new(format!("spiffe://{}{path}", zone.trust_domain)).unwrap();
    let endpoint = format!("unix://{}", zone.workload_api_socket().display());
    X509Source::builder().endpoint(endpoint).picker(One(id)).build().await.unwrap()
}

fn domains(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_without_federates_with_gives_a_workload_its_own_bundle_only() {
    let plane = two_federated_zones().await;
    let binding_id = plane.bind(B, "/ns/demo/sa/client", &[]).await.unwrap();
    let source = workload(&plane.zones[B], "/ns/demo/sa/client").await;
    eventually("it holds its own bundle", || bundles_of(&source), |held| *held == domains(&["b.test"])).await;

    let binding = ApBinding {
        id: Some(binding_id.clone()),
        trust_zone_id: Some(plane.zones[B].id.to_string()),
        policy_id: policy_of(&plane, &binding_id).await,
        federations: plane.binding_federations(&[A]),
        ..ApBinding::default()
    };
    let request = UpdateApBindingRequest { binding: Some(binding) };
    ApBindingServiceClient::new(plane.admin().await.unwrap()).update_ap_binding(request).await.unwrap();
    eventually("it holds both, with no restart", || bundles_of(&source), |held| *held == domains(&["a.test", "b.test"])).await;
    source.shutdown().await;
}

async fn policy_of(plane: &Plane, binding_id: &str) -> Option<String> {
    let request = cofide_api::connect::ap_binding_service::GetApBindingRequest { binding_id: Some(binding_id.to_owned()) };
    let answer = ApBindingServiceClient::new(plane.admin().await.unwrap()).get_ap_binding(request).await.unwrap();
    answer.into_inner().binding.and_then(|binding| binding.policy_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_is_directed() {
    let plane = two_zones().await;
    plane.federate(A, B).await.unwrap();
    plane.bind(A, "/ns/demo/sa/server", &[B]).await.unwrap();
    plane.bind(B, "/ns/demo/sa/client", &[]).await.unwrap();
    let (server, client) = (workload(&plane.zones[A], "/ns/demo/sa/server").await, workload(&plane.zones[B], "/ns/demo/sa/client").await);
    eventually("A trusts B", || bundles_of(&server), |held| *held == domains(&["a.test", "b.test"])).await;
    eventually("B does not trust A", || bundles_of(&client), |held| *held == domains(&["b.test"])).await;

    let refused = plane.bind(B, "/ns/demo/sa/other", &[A]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("federation"), "a binding needs the federation first: {refused:#}");
    server.shutdown().await;
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_each_direction_comes_from_what_agents_applied() {
    let mut plane = two_zones().await;
    plane.federate_both_ways(A, B).await.unwrap();
    let silent = plane.create_zone("c").await.unwrap();
    plane.federate(A, silent).await.unwrap();
    plane.federate(silent, A).await.unwrap();

    let states = || async {
        let request = ListFederationStatusesRequest { filter: None };
        let answer = ReceiptServiceClient::new(plane.admin().await.unwrap()).list_federation_statuses(request).await;
        let name = |id: &str| plane.zones.iter().find(|zone| zone.id.as_str() == id).unwrap().name.clone();
        let line = |status: FederationStatus| {
            (name(&status.trust_zone_id), name(&status.remote_trust_zone_id), status.state().as_str_name().to_owned())
        };
        answer.unwrap().into_inner().statuses.into_iter().map(line).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<_> = [
        ("trust-zone-a", "trust-zone-b", federation_status::State::Healthy),
        ("trust-zone-b", "trust-zone-a", federation_status::State::Healthy),
        ("trust-zone-a", "trust-zone-c", federation_status::State::Waiting),
        ("trust-zone-c", "trust-zone-a", federation_status::State::Unknown),
    ]
    .map(|(from, to, state)| (from.to_owned(), to.to_owned(), state.as_str_name().to_owned()))
    .into();
    eventually("each direction has its state", states, |found| *found == expected).await;
}
