//! An API server that has forgotten, that asks for patience, and that says somebody was faster: 410, 429, 409.

use std::net::SocketAddr;

use cofide_k8s_api::FederatedServiceObject;
use cofide_k8s_api::federated_service::crd;
use cofide_testkit::lab::Cluster;
use cofide_testkit::wait::{eventually, works};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{World, named};

/// A way to an API server that can be closed.
struct Way {
    address: SocketAddr,
    to: SocketAddr,
    open: CancellationToken,
}

impl Way {
    async fn open(address: SocketAddr, to: SocketAddr) -> Self {
        let mut way = Self { address, to, open: CancellationToken::new() };
        way.open_again().await;
        way
    }

    async fn open_again(&mut self) {
        let (listener, to) = (TcpListener::bind(self.address).await.unwrap(), self.to);
        self.address = listener.local_addr().unwrap();
        self.open = CancellationToken::new();
        let open = self.open.clone();
        tokio::spawn(self.open.clone().run_until_cancelled_owned(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                tokio::spawn(open.clone().run_until_cancelled_owned(async move {
                    let mut outgoing = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await
                }));
            }
        }));
    }

    /// Ends what goes by it, too.
    fn close(&self) {
        self.open.cancel();
    }
}

#[tokio::test]
async fn an_agent_that_was_away_for_longer_than_the_api_server_remembers_loses_nothing_and_writes_nothing_twice() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    let mut way = Way::open((world.lab.address(), 0).into(), (world.cluster.host.address, 6443).into()).await;
    let kubeconfig = world.cluster.kubeconfig_by_way_of(way.address).unwrap();
    world.start_agent(|config| config.kubeconfig = Some(kubeconfig)).await;
    for name in ["stays", "goes", "changes"] {
        world.apply(&named(name)).await;
        world.ready(name).await;
    }
    let services: Api<FederatedServiceObject> = Api::namespaced(world.cluster.client().unwrap(), "demo");
    let seen = services.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
    let stays = world.version("stays").await;

    way.close();
    world.cluster.delete_yaml(&named("goes").to_string()).await.unwrap();
    world.patch("changes", &json!({ "spec": { "tlsMode": "IstioMtls" } })).await;
    world.apply(&named("comes")).await;
    // One that starts remembers nothing of before.
    world.cluster.stop_api_server().await.unwrap();
    world.cluster.start_api_server().await.unwrap();
    let from_there = services.watch(&WatchParams::default(), &seen).await;
    let code = match from_there {
        Ok(events) => match Box::pin(events).next().await.unwrap().unwrap() {
            WatchEvent::Error(error) => error.code,
            event => panic!("it remembers: {event:?}"),
        },
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(code, 410, "what the agent has seen is too old");

    way.open_again().await;
    world.ready("comes").await;
    eventually("Connect knows what there is", || world.registered(), |names| *names == ["changes.demo", "comes.demo", "stays.demo"]).await;
    let modes =
        || async { world.plane.services().await.unwrap().into_iter().find(|service| service.name == "changes").unwrap().tls_mode() };
    eventually("Connect knows of the change", modes, |mode| format!("{mode:?}") == "IstioMtls").await;
    world.fence("fence").await;
    assert_eq!(world.version("stays").await, stays, "a status was written that had not changed");
}

/// How often a request ended with this code, as the API server counts; `labels` say of which.
async fn answered(cluster: &Cluster, code: u16, labels: &[&str]) -> u64 {
    let request = http::Request::get("/metrics").body(vec![]).unwrap();
    let metrics = cluster.client().unwrap().request_text(request).await.unwrap();
    let code = format!("code=\"{code}\"");
    let is_meant = |line: &&str| {
        line.starts_with("apiserver_request_total{") && line.contains(&code) && labels.iter().all(|label| line.contains(label))
    };
    metrics.lines().filter(is_meant).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Lets one write happen at a time, and refuses what comes meanwhile.
const ONE_AT_A_TIME: &[&str] = &["--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1"];

/// So many services at a time while the API server has no time for them, and so many at the most.
const MANY: usize = 12;
const MOST: usize = 200;

#[tokio::test]
async fn an_api_server_that_asks_for_patience_gets_it_and_everything_is_there_when_it_has_time() {
    let mut world = World::start().await;
    world.ping_pong().await;
    world.apply(&named("before")).await;
    world.ready("before").await;
    let before = world.version("before").await;
    world.cluster.stop_api_server().await.unwrap();
    world.cluster.start_api_server_with(ONE_AT_A_TIME).await.unwrap();
    // The agent has found its way back.
    world.fence("back").await;
    // So many at once that several of the agent's writes meet, and again until they have. Who administers the cluster, as this test
    // does, is never refused.
    let mut names = Vec::new();
    while names.is_empty() || answered(&world.cluster, 429, &[]).await == 0 {
        assert!(names.len() < MOST, "the agent was never asked for patience");
        let more: Vec<_> = (names.len()..names.len() + MANY).map(|number| format!("during-{number}")).collect();
        let applied = more.iter().map(|name| works("it is applied", async || world.cluster.apply(&named(name)).await));
        futures::future::join_all(applied).await;
        names.extend(more);
    }

    world.cluster.stop_api_server().await.unwrap();
    world.cluster.start_api_server().await.unwrap();
    world.fence("after").await;
    for name in &names {
        world.ready(name).await;
    }
    let versions = async || futures::future::join_all(names.iter().map(|name| world.version(name))).await;
    let at_rest = versions().await;
    world.fence("at-rest").await;
    assert_eq!((world.version("before").await, versions().await), (before, at_rest), "a status was written that had not changed");
}

#[tokio::test]
async fn a_lease_that_somebody_else_writes_in_the_same_moment_is_neither_overwritten_nor_lost() {
    let world = World::start().await;
    world.ping_pong().await;
    world.led_by(0, std::time::Duration::from_secs(15)).await;
    let leases: Api<Lease> = Api::namespaced(world.cluster.client().unwrap(), "cofide");
    let of_leases = ["resource=\"leases\""];
    // The agent reads and then writes what it has read; one of these comes between the two sooner or later.
    let mut number = 0;
    while answered(&world.cluster, 409, &of_leases).await == 0 {
        let until = std::time::Instant::now() + std::time::Duration::from_millis(500);
        while std::time::Instant::now() < until {
            number += 1;
            let touch = json!({ "metadata": { "annotations": { "touched": number.to_string() } } });
            leases.patch("cofide-agent", &PatchParams::default(), &Patch::Merge(touch)).await.unwrap();
        }
        assert!(number < 100_000, "nothing ever came between");
    }
    world.led_by(0, std::time::Duration::from_secs(15)).await;
    let lease = leases.get("cofide-agent").await.unwrap();
    assert!(lease.metadata.annotations.is_some_and(|annotations| annotations.contains_key("touched")), "the agent has overwritten it");
    world.fence("fence").await;
}
