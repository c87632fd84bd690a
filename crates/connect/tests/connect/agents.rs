//! How an agent joins, and what others try in its name.

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_api::connect::agent_service::{
    CreateAgentJoinTokenRequest, GetFederatedServiceRequest, ListFederatedServicesRequest, UpdateAgentStatusRequest,
};
use cofide_api::connect::cluster_service::DestroyClusterRequest;
use cofide_api::connect::receipt_service::{ListAgentStatusesRequest, list_agent_statuses_request};
use cofide_api::connect::trust_zone_service::{
    GetTrustZoneRequest, RegisterAgentRequest, RegisterAgentResponse, UpdateTrustZoneBundleRequest,
};
use cofide_api::spire::types::Bundle;
use cofide_api::types::agent::AgentStatus;
use cofide_api::types::audit::EventType;
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated};
use tonic::{Response, Status};

use crate::federated_services::{register as register_service, service};
use crate::support::{Authority, Client, Plane, Zone, eventually, introduction, refused};

async fn register(plane: &Plane, request: RegisterAgentRequest) -> Result<Response<RegisterAgentResponse>, Status> {
    plane.anonymous().await.trust_zones().register_agent(request).await
}

async fn list(client: &Client) -> Result<(), Status> {
    client.agents().list_federated_services(ListFederatedServicesRequest::default()).await.map(drop)
}

async fn stored_bundle(plane: &Plane, zone: &Zone) -> Option<Bundle> {
    let request = GetTrustZoneRequest { trust_zone_id: Some(zone.id.clone()) };
    plane.admin().await.trust_zones().get_trust_zone(request).await.unwrap().into_inner().trust_zone.unwrap().bundle
}

#[tokio::test]
async fn an_agent_joins_once_with_a_token_and_is_known_by_its_certificate_from_then_on() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let token = plane.join_token(&zone, &cluster).await;
    let agent_id = register(&plane, introduction(&zone, &cluster, &token)).await.unwrap().into_inner().agent_id;
    assert!(!agent_id.is_empty());
    assert_eq!(stored_bundle(&plane, &zone).await, Some(zone.authority.bundle()));

    let agent = plane.workload(zone.authority.agent("one")).await;
    list(&agent).await.expect("the SVID is the credential from now on");
    let status = AgentStatus { status: Some(1), status_message: Some("fine".into()), last_updated: Some(1), ..AgentStatus::default() };
    agent.agents().update_agent_status(UpdateAgentStatusRequest { status: Some(status) }).await.unwrap();

    refused(register(&plane, introduction(&zone, &cluster, &token)).await, Unauthenticated, &["agent_token", "join-token create"]);
}

#[tokio::test]
async fn whoever_has_no_valid_token_does_not_wait_for_those_who_write_nor_they_for_it() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let token = plane.join_token(&zone, &cluster).await;
    let database = cofide_store::Store::open(plane.folder.path().join("data/connect.db")).await.unwrap();
    let writing = database.begin_write().await.unwrap();
    for _ in 0..20 {
        let guess = register(&plane, introduction(&zone, &cluster, "cofide-join-guess"));
        let answer = tokio::time::timeout(Duration::from_secs(5), guess).await.expect("it is answered while somebody writes");
        refused(answer, Unauthenticated, &["join token is not known"]);
    }
    drop(writing);
    register(&plane, introduction(&zone, &cluster, &token)).await.unwrap();
}

#[tokio::test]
async fn a_token_is_told_once_and_kept_nowhere() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let token = plane.join_token(&zone, &cluster).await;
    let tail = token.rsplit_once("join-").expect("the form of a token").1;
    assert!(tail.len() >= 32, "the secret part is long enough to be found by: {}", tail.len());
    let secret = |bytes: &[u8]| bytes.windows(tail.len()).any(|window| window == tail.as_bytes());
    let read = |plane: &Plane| -> BTreeMap<String, Vec<u8>> {
        let files = std::fs::read_dir(plane.folder.path().join("data")).unwrap().map(Result::unwrap);
        let files = files.filter(|file| file.file_type().unwrap().is_file());
        files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
    };
    let looked_at = |files: &BTreeMap<String, Vec<u8>>| {
        let written = files.values().any(|bytes| bytes.windows(cluster.len()).any(|window| window == cluster.as_bytes()));
        assert!(written, "the database is among the files, and names the cluster: {:?}", files.keys());
        let telling: Vec<_> = files.iter().filter(|(_, bytes)| secret(bytes)).map(|(name, _)| name).collect();
        assert!(telling.is_empty(), "{telling:?} holds the token");
    };
    // The database and its log, as they are while Connect runs.
    let files = read(&plane);
    assert!(files.keys().any(|name| name.ends_with("-wal")), "{:?}", files.keys());
    looked_at(&files);
    register(&plane, introduction(&zone, &cluster, &token)).await.expect("it is the token");
    looked_at(&read(&plane));
}

#[tokio::test]
async fn a_token_is_for_one_cluster_and_a_mistake_does_not_use_it_up() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let [one, two, other] = [plane.cluster(&a, "one").await, plane.cluster(&a, "two").await, plane.cluster(&b, "one").await];
    let token = plane.join_token(&a, &one).await;

    refused(register(&plane, introduction(&a, &two, &token)).await, PermissionDenied, &["agent_token", "two"]);
    refused(register(&plane, introduction(&b, &other, &token)).await, PermissionDenied, &["agent_token"]);
    refused(register(&plane, introduction(&a, &other, &token)).await, InvalidArgument, &["agent.cluster_id"]);
    refused(register(&plane, introduction(&a, "cl-none", &token)).await, InvalidArgument, &["agent.cluster_id", "cl-none"]);
    let foreign = RegisterAgentRequest { bundle: Some(b.authority.bundle()), ..introduction(&a, &one, &token) };
    refused(register(&plane, foreign).await, InvalidArgument, &["bundle.trust_domain", "a.test", "b.test"]);
    let silent = RegisterAgentRequest { bundle: None, ..introduction(&a, &one, &token) };
    refused(register(&plane, silent).await, InvalidArgument, &["bundle"]);
    assert_eq!(stored_bundle(&plane, &a).await, None);
    assert_eq!(stored_bundle(&plane, &b).await, None);
    register(&plane, introduction(&a, &one, &token)).await.expect("the token was not used up by what was refused");
}

#[tokio::test]
async fn a_newer_token_replaces_an_older_one_and_both_expire() {
    let plane = Plane::start_with(|config| config.join_token_ttl = std::time::Duration::from_secs(1)).await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let older = plane.join_token(&zone, &cluster).await;
    let newer = plane.join_token(&zone, &cluster).await;
    refused(register(&plane, introduction(&zone, &cluster, &older)).await, Unauthenticated, &["not known"]);
    // A registration that would be refused for its bundle tells when the token has expired, without using it up.
    let probe = || async {
        let request = RegisterAgentRequest { bundle: Some(Authority::new("b.test").bundle()), ..introduction(&zone, &cluster, &newer) };
        register(&plane, request).await.unwrap_err()
    };
    eventually(probe, |status| status.code() == Unauthenticated && status.message().contains("expired")).await;
    refused(register(&plane, introduction(&zone, &cluster, &newer)).await, Unauthenticated, &[]);
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_learnt_about_zones_and_clusters() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let known = register(&plane, introduction(&zone, &cluster, "cofide-join-guess")).await.unwrap_err();
    let unknown = Zone { id: "tz-none".into(), authority: Authority::new("x.test") };
    let unknown = register(&plane, introduction(&unknown, "cl-none", "cofide-join-guess")).await.unwrap_err();
    assert_eq!((known.code(), known.message()), (unknown.code(), unknown.message()));
    refused(register(&plane, introduction(&zone, &cluster, "")).await, Unauthenticated, &[]);
}

#[tokio::test]
async fn a_token_is_made_for_what_exists() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let one = plane.cluster(&a, "one").await;
    let create = async |zone: &str, cluster: &str| {
        let request = CreateAgentJoinTokenRequest { trust_zone_id: Some(zone.into()), cluster_id: Some(cluster.into()) };
        plane.admin().await.agents().create_agent_join_token(request).await
    };
    refused(create("tz-none", &one).await, InvalidArgument, &["trust_zone_id", "tz-none"]);
    refused(create(&a.id, "cl-none").await, InvalidArgument, &["cluster_id", "cl-none"]);
    refused(create(&b.id, &one).await, InvalidArgument, &["cluster_id", "one", "b"]);
    refused(create(&a.id, "").await, InvalidArgument, &["cluster_id"]);
}

#[tokio::test]
async fn an_agent_keeps_its_id_when_it_joins_again_and_cannot_take_that_of_another() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let first = plane.joined(&zone, "one").await;
    let second = plane.joined(&zone, "two").await;
    let token = plane.join_token(&zone, &first.id).await;
    let mut stolen = introduction(&zone, &first.id, &token);
    stolen.agent.as_mut().unwrap().agent_id = second.agent_id.clone();
    refused(register(&plane, stolen).await, AlreadyExists, &["agent.agent_id", &second.agent_id]);
    let again = register(&plane, introduction(&zone, &first.id, &token)).await.unwrap().into_inner();
    assert_eq!(again.agent_id, first.agent_id);

    let token = plane.join_token(&zone, &first.id).await;
    let mut renamed = introduction(&zone, &first.id, &token);
    renamed.agent.as_mut().unwrap().agent_id = "agent-7".into();
    assert_eq!(register(&plane, renamed).await.unwrap().into_inner().agent_id, "agent-7");
    list(&first.agent).await.expect("it is the cluster's agent as before");
}

#[tokio::test]
async fn a_certificate_speaks_for_its_own_domain_only_whoever_signed_it() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    plane.joined(&a, "one").await;
    plane.joined(&b, "one").await;

    // An authority that says it is A's: not the one in A's bundle, though B's own is trusted for B.
    let forged = Authority::new("a.test").agent("one");
    let answer = match plane.connect(Some(forged)).await {
        Ok(channel) => list(&Client::new(channel, None)).await,
        // TLS 1.3: the client may learn of the refusal with its first read, or with its handshake.
        Err(_) => Err(Status::unavailable("the handshake was refused")),
    };
    answer.expect_err("an authority of A's name is not A's authority");

    // B's certificate, on A's objects.
    let intruder = plane.workload(b.authority.agent("one")).await;
    let request = UpdateTrustZoneBundleRequest { bundle: Some(a.authority.bundle()), trust_zone_id: a.id.clone() };
    refused(intruder.trust_zones().update_trust_zone_bundle(request).await, PermissionDenied, &["b.test", "own trust zone"]);
    let request = UpdateTrustZoneBundleRequest { bundle: Some(a.authority.bundle()), trust_zone_id: b.id.clone() };
    refused(intruder.trust_zones().update_trust_zone_bundle(request).await, InvalidArgument, &["bundle.trust_domain"]);
    assert_eq!(stored_bundle(&plane, &a).await, Some(a.authority.bundle()));
}

#[tokio::test]
async fn an_agent_whose_id_names_no_cluster_is_not_cut_off_by_a_second_cluster() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zone = plane.zone("a").await;
    plane.joined(&zone, "one").await;
    let token = {
        let second = plane.cluster(&zone, "early").await;
        plane.join_token(&zone, &second).await
    };
    let nameless = plane.workload(zone.authority.svid("/ns/cofide/sa/cofide-agent")).await;
    let id = register_service(&nameless, service("server", &["b.test"])).await.expect("the only agent of the zone");
    let two = plane.cluster(&zone, "two").await;
    let stored = admin.agents().get_federated_service(GetFederatedServiceRequest { service_id: id }).await.unwrap().into_inner();
    assert_eq!(stored.service.unwrap().cluster_name, "one", "it speaks for the cluster with whose token it joined");
    list(&nameless).await.expect("a cluster without an agent changes nothing for it");
    let created = crate::audit::events(&admin, crate::audit::of(&[EventType::ClusterCreation])).await;
    assert!(created[0].message.contains("cannot join before that of cluster one"), "{created:#?}");

    // A second agent would make it ambiguous: that is what is refused, first of all to the person who prepares it.
    let early = created.iter().find(|event| event.message.contains("cluster early")).unwrap().links[0].id.clone();
    let remedy = ["cluster one", "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent", "try again"];
    let request = CreateAgentJoinTokenRequest { trust_zone_id: Some(zone.id.clone()), cluster_id: Some(two.clone()) };
    refused(admin.agents().create_agent_join_token(request).await, FailedPrecondition, &remedy);
    refused(register(&plane, introduction(&zone, &early, &token)).await, FailedPrecondition, &remedy);
    list(&nameless).await.expect("nothing that worked is broken");

    // Once it has called with the name of its cluster, others may join, and the old form is over.
    list(&plane.workload(zone.authority.agent("one")).await).await.unwrap();
    register(&plane, introduction(&zone, &early, &token)).await.expect("the token was not used up");
    refused(list(&nameless).await, PermissionDenied, &["names no cluster", "/cluster/<cluster>/ns/cofide/sa/cofide-agent"]);
    list(&plane.workload(zone.authority.agent("early")).await).await.unwrap();
}

#[tokio::test]
async fn agents_are_listed_with_who_they_are_whether_they_are_there_and_how_far_they_have_come() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    plane.joined(&b, "two").await;
    let cluster = plane.cluster(&a, "one").await;
    let token = plane.join_token(&a, &cluster).await;
    register(&plane, introduction(&a, &cluster, &token)).await.unwrap();
    let agents = async || {
        let filter = list_agent_statuses_request::Filter { trust_zone_id: Some(a.id.clone()), cluster_id: None };
        let request = ListAgentStatusesRequest { filter: Some(filter) };
        let mut found = admin.receipts().list_agent_statuses(request).await.unwrap().into_inner().statuses;
        assert_eq!(found.len(), 1, "those of the zone that was asked for: {found:#?}");
        found.remove(0)
    };
    let before = agents().await;
    assert_eq!(before.agent.as_ref().unwrap().cluster_id(), cluster);
    assert!(before.spiffe_id.is_empty() && !before.connected && before.last_seen_at.is_none(), "it has only joined: {before:#?}");
    assert!(before.applied_revision.is_none() && before.outstanding > 0, "{before:#?}");

    let agent = plane.workload(a.authority.agent("one")).await;
    let mut stream = crate::plan_stream::Follower::open(&agent, &Default::default()).await;
    stream.settle().await;
    let status = AgentStatus {
        status: Some(1),
        status_message: Some("0 exported, 0 imported".into()),
        last_updated: Some(1),
        ..AgentStatus::default()
    };
    agent.agents().update_agent_status(UpdateAgentStatusRequest { status: Some(status.clone()) }).await.unwrap();
    let present = eventually(&agents, |status| status.applied_revision.is_some()).await;
    assert_eq!(present.spiffe_id, "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent");
    assert!(present.connected && present.outstanding == 0 && present.reported == Some(status.clone()), "{present:#?}");

    let forged = "fine\r\ntrust-zone-b\u{1b}[2J  running";
    let status = AgentStatus { status_message: Some(forged.into()), ..status };
    agent.agents().update_agent_status(UpdateAgentStatusRequest { status: Some(status) }).await.unwrap();
    let said = agents().await.reported.unwrap().status_message;
    assert_eq!(said.as_deref(), Some("fine trust-zone-b [2J running"), "its words make no row of their own in a table");

    drop((stream, agent));
    let gone = eventually(&agents, |status| !status.connected).await;
    assert!(gone.last_seen_at.unwrap().seconds >= present.last_seen_at.unwrap().seconds);
    assert!(gone.applied_revision.is_some(), "nothing has changed since: {gone:#?}");

    // What was seen outlives the process.
    let plane = Plane::start_in(plane.stop().await, |_| {}).await;
    let found = plane.admin().await.receipts().list_agent_statuses(ListAgentStatusesRequest::default()).await.unwrap().into_inner();
    let after = found.statuses.iter().find(|status| status.agent == gone.agent).expect("it is listed");
    assert_eq!((after.connected, &after.spiffe_id), (false, &gone.spiffe_id));
    assert_eq!(after.last_seen_at.unwrap().seconds, gone.last_seen_at.unwrap().seconds, "{after:#?}");
}

#[tokio::test]
async fn an_agent_delivers_the_bundle_of_its_own_zone_without_naming_it() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let mut rotated = zone.authority.clone();
    rotated.0.prepare(std::time::SystemTime::now()).unwrap();
    let request = UpdateTrustZoneBundleRequest { bundle: Some(rotated.bundle()), trust_zone_id: String::new() };
    cluster.agent.trust_zones().update_trust_zone_bundle(request).await.unwrap();
    assert_eq!(stored_bundle(&plane, &zone).await, Some(rotated.bundle()));
    rotated.0.activate(std::time::SystemTime::now()).unwrap();
    list(&plane.workload(rotated.agent("one")).await).await.expect("an SVID of the new authority is good at once");
    list(&cluster.agent).await.expect("and one of the old authority still is");
}

/// The bundle of a SPIFFE server that prepares its next authority, so many changes after the first.
fn rotated(zone: &Zone, changes: u64) -> Bundle {
    let mut authority = zone.authority.clone();
    authority.0.prepare(std::time::SystemTime::now()).unwrap();
    Bundle { sequence_number: zone.authority.bundle().sequence_number + changes, ..authority.bundle() }
}

#[tokio::test]
async fn a_join_token_for_one_cluster_does_not_put_the_zone_under_other_authorities() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let one = plane.joined(&zone, "one").await;
    let two = plane.cluster(&zone, "two").await;
    let token = plane.join_token(&zone, &two).await;
    let stolen = |bundle| RegisterAgentRequest { bundle: Some(bundle), ..introduction(&zone, &two, &token) };
    let remedy = "cofidectl trust-zone set-bundle a --bundle-file FILE";

    let usurper = Authority::new("a.test");
    refused(register(&plane, stolen(usurper.bundle())).await, FailedPrecondition, &["bundle.x509_authorities", "trust zone a", remedy]);
    let newer = Bundle { sequence_number: u64::MAX, ..usurper.bundle() };
    refused(register(&plane, stolen(newer)).await, FailedPrecondition, &["bundle.x509_authorities", remedy]);
    assert_eq!(stored_bundle(&plane, &zone).await, Some(zone.authority.bundle()));
    list(&one.agent).await.expect("the zone's own agent is not put out");

    let older = Bundle { sequence_number: zone.authority.bundle().sequence_number - 1, ..zone.authority.bundle() };
    refused(register(&plane, stolen(older)).await, FailedPrecondition, &["bundle.sequence_number", "older", remedy]);

    // Nor may it add one: the zone's present bundle is public, so having an authority in common proves nothing.
    let mut extended = rotated(&zone, 7);
    extended.x509_authorities.extend(usurper.bundle().x509_authorities);
    register(&plane, stolen(extended)).await.expect("the token was not used up, and a rotation is no other authority");
    assert_eq!(stored_bundle(&plane, &zone).await, Some(zone.authority.bundle()), "a join changes nothing in whom the zone trusts");
}

#[tokio::test]
async fn an_agent_does_not_replace_every_authority_and_a_user_does() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let one = plane.joined(&zone, "one").await;
    let rebuilt = Authority::new("a.test");
    let request = || UpdateTrustZoneBundleRequest { bundle: Some(rebuilt.bundle()), trust_zone_id: zone.id.clone() };
    let answer = one.agent.trust_zones().update_trust_zone_bundle(request()).await;
    refused(answer, FailedPrecondition, &["bundle.x509_authorities", "cofidectl trust-zone set-bundle a --bundle-file FILE"]);
    plane.admin().await.trust_zones().update_trust_zone_bundle(request()).await.unwrap();
    let token = plane.join_token(&zone, &one.id).await;
    let rejoin = RegisterAgentRequest { bundle: Some(rebuilt.bundle()), ..introduction(&zone, &one.id, &token) };
    register(&plane, rejoin).await.expect("that is the way back for the agents of a rebuilt SPIFFE server");
}

#[tokio::test]
async fn the_first_bundle_of_a_zone_is_in_the_audit_log_with_its_authorities() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    plane.joined(&zone, "one").await;

    let admin = plane.admin().await;
    let updates = crate::audit::events(&admin, crate::audit::of(&[EventType::TrustZoneUpdate])).await;
    let data: Vec<serde_json::Value> = updates
        .iter()
        .filter(|event| event.actor == "join-token" && event.links.iter().any(|link| link.id == zone.id))
        .map(|event| serde_json::from_slice(&event.data).unwrap())
        .collect();
    let counts = |data: &serde_json::Value, key: &str| data[key]["x509"].as_array().unwrap().len();
    let seen: Vec<_> = data.iter().map(|data| (counts(data, "authorities_before"), counts(data, "authorities_after"))).collect();
    assert_eq!(seen, [(0, 1)], "{data:#?}");
    assert_eq!(data[0]["authorities_after"]["x509"][0].as_str().map(str::len), Some(64), "SHA-256 in hexadecimal");
}

#[tokio::test]
async fn a_connection_ends_with_the_authority_that_vouched_for_it() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let mut stream = crate::plan_stream::Follower::open(&cluster.agent, &Default::default()).await;
    stream.settle().await;

    let other = Authority::new("a.test");
    let request = UpdateTrustZoneBundleRequest { bundle: Some(other.bundle()), trust_zone_id: zone.id.clone() };
    plane.admin().await.trust_zones().update_trust_zone_bundle(request).await.unwrap();
    stream.ended().await;
    list(&cluster.agent).await.expect_err("nor is the certificate good for a new connection");
    list(&plane.workload(other.agent("one")).await).await.unwrap();
}

#[tokio::test]
async fn a_deleted_clusters_agent_is_nobody() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let mut stream = crate::plan_stream::Follower::open(&cluster.agent, &Default::default()).await;
    stream.settle().await;
    let destroy = DestroyClusterRequest { cluster_id: Some(cluster.id.clone()) };
    plane.admin().await.clusters().destroy_cluster(destroy).await.unwrap();
    stream.ended().await;
    // Its connection is closed, as often as it makes one; what it is told is asked on one that is new.
    let told = || async { list(&plane.workload(zone.authority.agent("one")).await).await.unwrap_err() };
    let is_told = |status: &Status, part: &str| status.code() == PermissionDenied && status.message().contains(part);
    eventually(told, |status| is_told(status, "no such cluster")).await;
    let again = plane.cluster(&zone, "one").await;
    assert_ne!(again, cluster.id);
    let status = eventually(told, |status| is_told(status, "has not joined")).await;
    assert!(status.message().contains("join-token create"), "{status:?}");
}

#[tokio::test]
async fn an_authority_of_one_zone_cannot_speak_for_another() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    plane.joined(&a, "one").await;
    plane.joined(&b, "one").await;
    // B's bundle holds an authority that issues identities in A's name: known to Connect, but for B alone.
    // Its certificate says that it is B's, since one that says what it is would be refused; as an anchor it is as good.
    let signer = Authority::new("a.test");
    let mut disguised = signer.bundle().x509_authorities.remove(0);
    let name = b"spiffe://a.test";
    let place = disguised.asn1.windows(name.len()).position(|bytes| bytes == name).unwrap();
    disguised.asn1[place..place + name.len()].copy_from_slice(b"spiffe://b.test");
    let mut bundle = b.authority.bundle();
    bundle.x509_authorities.push(disguised);
    let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle), trust_zone_id: b.id.clone() };
    plane.admin().await.trust_zones().update_trust_zone_bundle(request).await.unwrap();
    list(&plane.workload(b.authority.agent("one")).await).await.expect("B's own identity is good");

    let answer = match plane.connect(Some(signer.agent("one"))).await {
        Ok(channel) => list(&Client::new(channel, None)).await,
        Err(_) => Err(Status::unavailable("the handshake was refused")),
    };
    answer.expect_err("an authority of B has spoken for A");
}
