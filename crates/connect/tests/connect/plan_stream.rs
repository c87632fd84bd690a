//! What agents are sent, when, and what is kept of their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cofide_api::connect::receipt_service::{ListReceiptsRequest, Receipt};
use cofide_api::connect::trust_zone_service::UpdateTrustZoneBundleRequest;
use cofide_api::convert::plan::{CONTROL_PLANE_TRUST, EXPORTED_SERVICE, FEDERATED_TRUST, IMPORTED_SERVICE, TYPE_URLS, standby_for};
use cofide_api::plan;
use cofide_api::types::federated_service::FederatedService;
use cofide_xds::Node;
use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest};
use cofide_xds::envoy::google::rpc;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code::InvalidArgument;
use tonic::Streaming;

use crate::federated_services::{deregister, register, service, update};
use crate::support::{Authority, Client, JoinedCluster, Plane, eventually, introduction, refused};

/// Type URL -> name -> version.
pub(crate) type Versions = BTreeMap<String, BTreeMap<String, String>>;

/// The delta protocol, request by request, so that a test sees what is on the wire.
pub(crate) struct Follower {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    pub(crate) held: Versions,
    pub(crate) bodies: BTreeMap<(String, String), Vec<u8>>,
    /// Types that have answered for the first time.
    answered: BTreeSet<String>,
}

impl Follower {
    pub(crate) async fn open(client: &Client, held: &Versions) -> Self {
        Self::open_as(client, Node::default(), held).await
    }

    async fn open_as(client: &Client, node: Node, held: &Versions) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        for type_url in TYPE_URLS {
            let request = DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: type_url.into(),
                resource_names_subscribe: vec!["*".into()],
                initial_resource_versions: held.get(type_url).cloned().unwrap_or_default().into_iter().collect(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(request).await.unwrap();
        }
        let responses = client.discovery().delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, responses, held: held.clone(), bodies: BTreeMap::new(), answered: BTreeSet::new() }
    }

    pub(crate) async fn response(&mut self) -> DeltaDiscoveryResponse {
        let waited = tokio::time::timeout(Duration::from_secs(10), self.responses.message()).await;
        waited.unwrap_or_else(|_| panic!("no response within ten seconds; held: {:#?}", self.held)).unwrap().expect("the stream has ended")
    }

    pub(crate) async fn answer(&mut self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| rpc::Status { code: 3, message: message.into(), details: vec![] }),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    /// Takes the next response and acknowledges it; answers what it set and what it removed.
    pub(crate) async fn take(&mut self) -> (Vec<String>, Vec<String>) {
        let response = self.response().await;
        self.answer(&response, None).await;
        self.answered.insert(response.type_url.clone());
        let short = response.type_url.rsplit('.').next().unwrap().to_owned();
        let held = self.held.entry(response.type_url.clone()).or_default();
        let mut set = Vec::new();
        for resource in response.resources {
            held.insert(resource.name.clone(), resource.version);
            self.bodies.insert((response.type_url.clone(), resource.name.clone()), resource.resource.unwrap().value);
            set.push(format!("{short} {}", resource.name));
        }
        for name in &response.removed_resources {
            held.remove(name);
        }
        (set, response.removed_resources.iter().map(|name| format!("{short} {name}")).collect())
    }

    /// Takes the first answer of every type.
    pub(crate) async fn settle(&mut self) {
        while self.answered.len() < TYPE_URLS.len() {
            self.take().await;
        }
    }

    /// Takes responses until these have been set, and no others.
    pub(crate) async fn sets(&mut self, expected: &[&str]) {
        let mut missing: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        while !missing.is_empty() {
            let (set, removed) = self.take().await;
            assert!(removed.is_empty(), "{removed:?} went while waiting for {missing:?}");
            for name in set {
                assert!(missing.remove(&name), "{name} came while waiting for {missing:?}");
            }
        }
    }

    pub(crate) fn body<M: Message + Default>(&self, type_url: &str, name: &str) -> M {
        let body = self.bodies.get(&(type_url.to_owned(), name.to_owned()));
        M::decode(body.unwrap_or_else(|| panic!("{name} is not there: {:?}", self.bodies.keys())).as_slice()).unwrap()
    }

    /// Waits until the server, or the connection, has ended the stream.
    pub(crate) async fn ended(&mut self) {
        let end = async { while let Ok(Some(_)) = self.responses.message().await {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("the stream goes on");
    }
}

pub(crate) async fn receipts(plane: &Plane) -> Vec<Receipt> {
    plane.admin().await.receipts().list_receipts(ListReceiptsRequest::default()).await.unwrap().into_inner().receipts
}

#[tokio::test]
async fn a_service_reaches_the_clusters_that_may_import_it_and_nobody_else() {
    let plane = Plane::start().await;
    let (a, b, c) = (plane.zone("a").await, plane.zone("b").await, plane.zone("c").await);
    let (server, client, other) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await, plane.joined(&c, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    plane.federate(&a, &c).await;
    plane.federate(&c, &a).await;
    let mut followers = [
        Follower::open(&server.agent, &Versions::new()).await,
        Follower::open(&client.agent, &Versions::new()).await,
        Follower::open(&other.agent, &Versions::new()).await,
    ];
    for follower in &mut followers {
        follower.settle().await;
        let trust: plan::ControlPlaneTrust = follower.body(CONTROL_PLANE_TRUST, "management.local");
        assert_eq!(trust.spiffe_id, "spiffe://management.local/ns/connect/sa/cofide-connect-api");
    }
    let [server_plan, client_plan, other_plan] = &mut followers;

    let id = register(&server.agent, service("server", &["b.test"])).await.unwrap();
    server_plan.sets(&[&format!("ExportedService {id}")]).await;
    client_plan.sets(&["ImportedService server.demo.a.test"]).await;
    let import: plan::ImportedService = client_plan.body(IMPORTED_SERVICE, "server.demo.a.test");
    assert_eq!((import.port, import.trust_domain.as_str(), import.gateways.len()), (8443, "a.test", 1));
    let export: plan::ExportedService = server_plan.body(EXPORTED_SERVICE, &id);
    assert!(export.targets[0].refusal.is_none(), "{export:?}");

    // The third zone has been sent nothing in between: the next thing that it sees is its own.
    update(&server.agent, FederatedService { id: id.clone(), ..service("server", &["b.test", "c.test"]) }).await.unwrap();
    other_plan.sets(&["ImportedService server.demo.a.test"]).await;
    server_plan.sets(&[&format!("ExportedService {id}")]).await;

    deregister(&server.agent, &id).await.unwrap();
    for follower in [client_plan, other_plan] {
        assert_eq!(follower.take().await, (vec![], vec!["ImportedService server.demo.a.test".to_owned()]));
    }
}

#[tokio::test]
async fn who_comes_back_with_what_it_holds_is_sent_the_difference_only() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (server, client) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    let kept = register(&server.agent, service("kept", &["b.test"])).await.unwrap();
    register(&server.agent, service("gone", &["b.test"])).await.unwrap();
    let mut follower = Follower::open(&client.agent, &Versions::new()).await;
    follower.settle().await;
    let held = follower.held.clone();
    assert_eq!(held[IMPORTED_SERVICE].len(), 2);
    drop(follower);

    // A restart forgets every cache; versions are hashes of the content, so they stay.
    let folder = plane.stop().await;
    let plane = Plane::start_in(folder, |_| {}).await;
    let agent = plane.workload(b.authority.agent("one")).await;
    let mut follower = Follower::open(&agent, &held).await;
    let server_agent = plane.workload(a.authority.agent("one")).await;
    update(&server_agent, FederatedService { id: kept, port: 9443, ..service("kept", &["b.test"]) }).await.unwrap();
    let mut seen = Vec::new();
    while seen.is_empty() {
        let (set, removed) = follower.take().await;
        assert!(removed.is_empty(), "{removed:?}");
        seen.extend(set);
    }
    assert_eq!(seen, ["ImportedService kept.demo.a.test"], "what was held already was not sent again");
    drop(follower);

    // What went while the agent was away is taken from it.
    let mut held = held;
    held.get_mut(IMPORTED_SERVICE).unwrap().insert("never.demo.a.test".into(), "0".into());
    let mut follower = Follower::open(&agent, &held).await;
    let mut gone = Vec::new();
    while gone.is_empty() {
        gone = follower.take().await.1;
    }
    assert_eq!(gone, ["ImportedService never.demo.a.test"]);
}

#[tokio::test]
async fn names_that_an_agent_makes_up_leave_no_receipts() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (server, client) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    register(&server.agent, service("server", &["b.test"])).await.unwrap();
    let mut follower = Follower::open(&client.agent, &Versions::new()).await;
    follower.settle().await;
    let mut held = follower.held.clone();
    drop(follower);
    let imports = held.get_mut(IMPORTED_SERVICE).unwrap();
    imports.extend((0..4_000).map(|number| (format!("made-up-{number}"), "0".to_owned())));
    // It says that it holds this one in another version: that is news of the plan, and comes after the rest.
    imports.insert("server.demo.a.test".into(), "older".into());
    // It never acknowledges that they go, so nothing would take such receipts back.
    let _follower = Follower::open(&client.agent, &held).await;
    let is_resumed = |receipts: &Vec<Receipt>| receipts.iter().any(|receipt| receipt.version == "older");
    let found = eventually(|| receipts(&plane), is_resumed).await;
    let made_up = found.iter().filter(|receipt| receipt.resource_name.starts_with("made-up"));
    assert_eq!(made_up.count(), 0, "of {}", found.len());
}

#[tokio::test]
async fn a_client_of_the_older_protocol_sees_the_same_world() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (server, client) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    register(&server.agent, service("server", &["b.test"])).await.unwrap();
    let (requests, receiver) = mpsc::channel(4);
    requests.send(DiscoveryRequest { type_url: IMPORTED_SERVICE.into(), ..DiscoveryRequest::default() }).await.unwrap();
    let mut responses = client.agent.discovery().stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let response = tokio::time::timeout(Duration::from_secs(10), responses.message()).await.unwrap().unwrap().unwrap();
    let [resource] = response.resources.try_into().unwrap();
    assert_eq!(plan::ImportedService::decode(resource.value.as_slice()).unwrap().hostname, "server.demo.a.test");
}

#[tokio::test]
async fn what_agents_answer_is_kept_as_receipts() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (server, client) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    let mut follower = Follower::open(&client.agent, &Versions::new()).await;
    follower.settle().await;
    let is_about = |receipt: &&Receipt| receipt.type_url == IMPORTED_SERVICE && receipt.cluster_id == client.id;

    let id = register(&server.agent, service("server", &["b.test"])).await.unwrap();
    follower.sets(&["ImportedService server.demo.a.test"]).await;
    let found = eventually(|| receipts(&plane), |receipts| receipts.iter().any(|receipt| is_about(&receipt))).await;
    let receipt = found.iter().find(is_about).unwrap();
    assert!(receipt.applied && receipt.current && receipt.error_detail.is_empty() && receipt.agent_id == client.agent_id, "{receipt:?}");
    assert_eq!(receipt.version, follower.held[IMPORTED_SERVICE]["server.demo.a.test"]);

    update(&server.agent, FederatedService { id: id.clone(), port: 9443, ..service("server", &["b.test"]) }).await.unwrap();
    let response = follower.response().await;
    let found = receipts(&plane).await;
    assert!(!found.iter().find(is_about).unwrap().current, "an older version was applied, a newer one is wanted");
    follower.answer(&response, Some("no\n\tro\u{1b}[31mom")).await;
    let rejected = |receipts: &Vec<Receipt>| receipts.iter().find(is_about).is_some_and(|receipt| !receipt.applied);
    let found = eventually(|| receipts(&plane), rejected).await;
    let receipt = found.iter().find(is_about).unwrap();
    assert!(receipt.current && receipt.error_detail == "no ro [31mom", "one line without controls: {receipt:?}");

    deregister(&server.agent, &id).await.unwrap();
    follower.take().await;
    eventually(|| receipts(&plane), |receipts| receipts.iter().find(is_about).is_none()).await;
}

#[tokio::test]
async fn an_authority_that_envoy_could_not_read_is_refused_to_its_zone_and_holds_up_no_other() {
    let plane = Plane::start().await;
    let (a, b, c) = (plane.zone("a").await, plane.zone("b").await, plane.zone("c").await);
    let (sound, client, odd) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await, plane.joined(&c, "one").await);
    plane.federate(&b, &a).await;
    plane.federate(&b, &c).await;
    let mut follower = Follower::open(&client.agent, &Versions::new()).await;
    follower.settle().await;
    let push = async |cluster: &JoinedCluster, bundle| {
        let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle), trust_zone_id: String::new() };
        cluster.agent.trust_zones().update_trust_zone_bundle(request).await
    };

    let mut bundle = c.authority.bundle();
    let mut unreadable = bundle.x509_authorities[0].clone();
    unreadable.asn1.push(0);
    bundle.x509_authorities.push(unreadable);
    refused(push(&odd, bundle).await, InvalidArgument, &["bundle.x509_authorities[1].asn1", "1 bytes follow it"]);

    let mut rotated = a.authority.clone();
    rotated.0.prepare(std::time::SystemTime::now()).unwrap();
    push(&sound, rotated.bundle()).await.unwrap();
    follower.sets(&["FederatedTrust a.test"]).await;
}

#[tokio::test]
async fn of_an_agent_that_stands_by_there_is_no_receipt_for_what_another_one_puts_in_effect() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (server, client) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    register(&server.agent, service("server", &["b.test"])).await.unwrap();
    let said = async || {
        let of_import = |receipt: &Receipt| receipt.type_url == IMPORTED_SERVICE && receipt.cluster_id == client.id;
        receipts(&plane).await.into_iter().find(of_import).map(|receipt| (receipt.applied, receipt.error_detail))
    };
    let mut leader = Follower::open(&client.agent, &Versions::new()).await;
    let refused = loop {
        let response = leader.response().await;
        let is_import = response.type_url == IMPORTED_SERVICE && !response.resources.is_empty();
        leader.answer(&response, is_import.then_some("no room")).await;
        if is_import {
            break (false, "no room".to_owned());
        }
    };
    eventually(said, |said| said.as_ref() == Some(&refused)).await;

    // The same identity, and another agent. It takes everything, and comes back with it.
    let standby = Node { client_features: vec![standby_for(IMPORTED_SERVICE)], ..Node::default() };
    let mut other = Follower::open_as(&client.agent, standby.clone(), &Versions::new()).await;
    other.settle().await;
    let mut again = Follower::open_as(&client.agent, standby, &other.held).await;
    again.settle().await;
    // What is said of another type counts, and comes after all that.
    let of_trust =
        async || receipts(&plane).await.iter().any(|receipt| receipt.type_url == FEDERATED_TRUST && receipt.cluster_id == client.id);
    eventually(of_trust, |found| *found).await;
    assert_eq!(said().await, Some(refused));
}

#[tokio::test]
async fn what_an_agent_comes_back_with_counts_as_applied() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    plane.joined(&b, "one").await;
    let one = plane.joined(&a, "one").await;
    plane.federate(&a, &b).await;
    let mut follower = Follower::open(&one.agent, &Versions::new()).await;
    follower.settle().await;
    let applied_by = async |agent_id: &str| {
        let receipts = receipts(&plane).await;
        receipts
            .iter()
            .any(|receipt| receipt.resource_name == "b.test" && receipt.agent_id == agent_id && receipt.applied && receipt.current)
    };
    eventually(async || applied_by(&one.agent_id).await, |applied| *applied).await;

    // Under a new id the agent's receipts are gone; what it holds is not, and is not sent again.
    let token = plane.join_token(&a, &one.id).await;
    let mut renamed = introduction(&a, &one.id, &token);
    renamed.agent.as_mut().unwrap().agent_id = "agent-7".into();
    plane.anonymous().await.trust_zones().register_agent(renamed).await.unwrap();
    assert!(!applied_by(&one.agent_id).await && !applied_by("agent-7").await);
    let again = plane.workload(a.authority.agent("one")).await;
    let _follower = Follower::open(&again, &follower.held).await;
    eventually(async || applied_by("agent-7").await, |applied| *applied).await;
}

#[tokio::test]
async fn a_bundle_arrives_where_it_is_trusted_and_is_the_one_delivered() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let one = plane.joined(&a, "one").await;
    plane.federate(&a, &b).await;
    let mut follower = Follower::open(&one.agent, &Versions::new()).await;
    follower.settle().await;
    let waiting: plan::FederatedTrust = follower.body(FEDERATED_TRUST, "b.test");
    assert!(waiting.bundle.is_none(), "the federation stands before the partner has a bundle");
    plane.joined(&b, "one").await;
    follower.sets(&["FederatedTrust b.test"]).await;
    let trust: plan::FederatedTrust = follower.body(FEDERATED_TRUST, "b.test");
    assert_eq!(trust.bundle, Some(b.authority.bundle()));
    assert_ne!(trust.bundle, Some(Authority::new("b.test").bundle()));
}
