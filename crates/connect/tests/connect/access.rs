//! Who may call what: every method, as every kind of caller.

use std::collections::{BTreeMap, BTreeSet};

use cofide_connect::authorization::{self, Access};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::{Client, Plane};

/// Sends an empty message and takes any answer: the walk asks who gets past the gate, not what the handlers say.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;
    fn encode(&mut self, (): (), buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&[]);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

/// The code of a call with an empty message; a stream that stays open counts as OK.
pub(crate) async fn call(client: &Client, path: &str) -> Code {
    let mut grpc = tonic::client::Grpc::new(client.service());
    grpc.ready().await.unwrap();
    match grpc.server_streaming(Request::new(()), path.parse().unwrap(), Raw).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// Every method that the embedded descriptors define, and those of the table beyond them (ADS, health, reflection).
fn every_method() -> BTreeSet<String> {
    let descriptors = prost_types::FileDescriptorSet::decode(cofide_api::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = BTreeSet::new();
    for file in &descriptors.file {
        let package = if file.package().is_empty() { String::new() } else { format!("{}.", file.package()) };
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| format!("/{package}{}/{}", service.name(), method.name())));
        }
    }
    for (service, listed) in authorization::TABLE {
        methods.extend(listed.iter().map(|(method, _)| format!("/{service}/{method}")));
    }
    methods
}

/// Who may call each method, as the page for people says it: not by the function that the gate itself asks.
fn the_page() -> BTreeMap<String, Access> {
    let kinds = [Access::Anyone, Access::JoinToken, Access::User, Access::Agent, Access::UserOrAgent];
    let kind =
        |words: &str| kinds.into_iter().find(|kind| kind.describe() == words).unwrap_or_else(|| panic!("no kind of caller: {words}"));
    let rows = include_str!("../../../../docs/authorization.md").lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| row.split_once("` | ").unwrap()).map(|(method, words)| (format!("/{method}"), kind(words))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Nobody,
    BadToken,
    User,
    AgentOfA,
    AgentOfB,
    /// A certificate of zone A, but not an agent's.
    WorkloadOfA,
    /// A certificate of zone A that names a cluster of B.
    AgentOfAnotherCluster,
}

/// What the caller gets for an empty message; what a handler says to one is its own business.
fn expected(access: Option<Access>, who: Who) -> &'static [Code] {
    const HANDLED: &[Code] = &[Code::Ok, Code::InvalidArgument, Code::NotFound, Code::Unimplemented];
    match (access, who) {
        (Some(Access::Anyone), _) => &[Code::Ok],
        (Some(Access::JoinToken), _) => &[Code::InvalidArgument],
        (_, Who::Nobody | Who::BadToken) => &[Code::Unauthenticated],
        (_, Who::WorkloadOfA | Who::AgentOfAnotherCluster) => &[Code::PermissionDenied],
        (None, _) => &[Code::Unimplemented],
        (Some(Access::UserOrAgent), _) | (Some(Access::User), Who::User) | (Some(Access::Agent), Who::AgentOfA | Who::AgentOfB) => HANDLED,
        _ => &[Code::PermissionDenied],
    }
}

#[tokio::test]
async fn every_method_admits_exactly_the_callers_of_the_page() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let callers = [
        (Who::Nobody, plane.anonymous().await),
        (Who::BadToken, plane.user("cofide-admin-wrong").await),
        (Who::User, plane.admin().await),
        (Who::AgentOfA, plane.joined(&a, "one").await.agent),
        (Who::AgentOfB, plane.joined(&b, "two").await.agent),
        (Who::WorkloadOfA, plane.workload(a.authority.svid("/ns/demo/sa/server")).await),
        (Who::AgentOfAnotherCluster, plane.workload(a.authority.agent("two")).await),
    ];
    let methods = every_method();
    assert!(methods.len() > 80, "{}", methods.len());
    let page = the_page();
    let unknown: Vec<_> = page.keys().filter(|path| !methods.contains(*path)).collect();
    assert!(page.len() > 70 && unknown.is_empty(), "{} rows, and no method is {unknown:?}", page.len());
    let mut wrong = BTreeMap::new();
    for path in &methods {
        let access = page.get(path).copied();
        for (who, client) in &callers {
            let code = call(client, path).await;
            if !expected(access, *who).contains(&code) {
                wrong.insert((path.clone(), *who), (access, code));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_token_decides_before_a_certificate() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let status = "/proto.connect.agent_service.v1alpha1.AgentService/UpdateAgentStatus";
    assert_eq!(call(&cluster.agent, status).await, Code::InvalidArgument);
    assert_eq!(call(&cluster.agent.clone().with("authorization", "Bearer wrong"), status).await, Code::Unauthenticated);
    let as_user = cluster.agent.clone().with("authorization", &format!("Bearer {}", plane.token()));
    assert_eq!(call(&as_user, status).await, Code::PermissionDenied, "the call is the user's, and users report no agent status");
}

#[tokio::test]
async fn claims_in_the_metadata_make_nobody_anyone() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let cluster = plane.joined(&zone, "one").await;
    let liar = plane
        .anonymous()
        .await
        .with("agent-id", &cluster.agent_id)
        .with("cluster-id", &cluster.id)
        .with("x-forwarded-client-cert", "URI=spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent")
        .with("x-jwt-claim-sub", "admin");
    for path in [
        "/proto.connect.agent_service.v1alpha1.AgentService/ListFederatedServices",
        "/proto.connect.trust_zone_service.v1alpha1.TrustZoneService/ListTrustZones",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    ] {
        assert_eq!(call(&liar, path).await, Code::Unauthenticated, "{path}");
    }
}
