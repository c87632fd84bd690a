//! What the registrar asks of Connect: that work follows the change, and that what it does not know it looks up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cofide_agent::export::{Decision, Export, Offer, ServiceRegistration};
use cofide_agent::own_cluster::OwnCluster;
use cofide_agent::uplink::connect::Connect;
use cofide_agent::uplink::registrar::{Memory, Registrar};
use cofide_agent::view::{Kind, ObjectKey, Origin};
use cofide_agent::world::{Exports, Link, World};
use cofide_core::{FederatedService, Port, ServiceName, Timestamp, TlsMode, TrustDomain};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::register::Register;

const FOREVER: Duration = Duration::from_secs(3600);

fn cluster() -> OwnCluster {
    OwnCluster {
        trust_domain: TrustDomain::new("a.test").unwrap(),
        trust_zone_id: "tz-a".parse().unwrap(),
        cluster_id: "c-a".parse().unwrap(),
        cluster_name: "one".parse().unwrap(),
    }
}

fn service(name: &str, port: i64) -> FederatedService {
    let OwnCluster { trust_domain, trust_zone_id, cluster_id, cluster_name } = cluster();
    let name = ServiceName { name: name.parse().unwrap(), namespace: "demo".parse().unwrap() };
    FederatedService {
        id: cluster().service_id(&name),
        hostname: name.hostname(&trust_domain).unwrap(),
        name,
        trust_zone_id,
        cluster_id,
        cluster_name,
        trust_domain,
        workload_labels: BTreeMap::from([("app".to_owned(), "server".to_owned())]),
        exported_trust_domains: [TrustDomain::new("b.test").unwrap()].into(),
        port: Port::try_from(port).unwrap(),
        tls_mode: TlsMode::Mtls,
        gateway_entries: vec![],
        gateway_specs: vec![],
        spiffe_id_paths: vec![],
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    }
}

/// An agent of a cluster whose API server has listed everything, and its Connect.
struct Agent {
    connect: Register,
    world: Arc<World>,
    registrar: Registrar,
    _stop: DropGuard,
}

impl Agent {
    async fn start(relist: Duration) -> Self {
        let (connect, stop, world) = (Register::default(), CancellationToken::new(), Arc::new(World::default()));
        let channel = connect.serve(stop.clone()).await;
        let registrar = Registrar::open(cluster(), Connect::new(channel), Memory::Ids, world.clone(), relist).unwrap();
        Self { connect, world, registrar, _stop: stop.drop_guard() }
    }

    fn exports(&self, services: &[(&str, i64)]) {
        let export = |(name, port): &(&str, i64)| {
            let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: (*name).to_owned() };
            let origin = Origin::Object { key: key.clone(), uid: format!("uid-of-{name}") };
            let offer = Offer { service: service(name, *port), backends: BTreeSet::new(), unusable: vec![], backing: None };
            Export { key, origin, generation: 1, problems: vec![], decision: Decision::Offered(Box::new(offer)) }
        };
        self.world.exports.set(Some(Exports { exports: services.iter().map(export).collect(), ..Exports::default() }));
    }

    /// One run, and what it asked.
    async fn asks(&self) -> Vec<String> {
        let _ = self.registrar.reconcile().await;
        let mut calls = self.connect.calls();
        calls.sort();
        calls
    }

    fn registration(&self, name: &str) -> Option<ServiceRegistration> {
        self.world.service_registrations.get().get(&service(name, 1).id).cloned()
    }
}

#[tokio::test]
async fn a_service_that_changes_is_one_call_and_no_list() {
    let agent = Agent::start(FOREVER).await;
    agent.exports(&[("one", 1), ("two", 1)]);
    assert_eq!(agent.asks().await, ["list", "register one", "register two"]);
    agent.exports(&[("one", 1), ("two", 2)]);
    assert_eq!(agent.asks().await, ["update two"]);
    assert_eq!(agent.registration("two"), Some(ServiceRegistration::Registered));
    agent.exports(&[("one", 1), ("three", 1)]);
    assert_eq!(agent.asks().await, ["register three", "withdraw two"]);
    assert_eq!(agent.asks().await, [""; 0], "nothing has changed");
    assert_eq!(agent.connect.names().into_iter().collect::<BTreeSet<_>>(), ["one", "three"].map(str::to_owned).into());
}

#[tokio::test]
async fn connect_is_asked_again_after_the_way_to_it_has_changed_and_from_time_to_time() {
    let agent = Agent::start(FOREVER).await;
    agent.exports(&[("one", 1)]);
    assert_eq!(agent.asks().await, ["list", "register one"]);
    // As one does that was set up anew from an older copy.
    agent.connect.services.lock().unwrap().clear();
    agent.world.link.set(Link::Disconnected("restarting".to_owned()));
    agent.world.link.set(Link::Connected);
    assert_eq!(agent.asks().await, ["list", "register one"]);
    assert_eq!(agent.asks().await, [""; 0]);

    let agent = Agent::start(Duration::ZERO).await;
    agent.exports(&[("one", 1)]);
    for expected in [&["list", "register one"][..], &["list"]] {
        assert_eq!(agent.asks().await, expected);
    }
}

#[tokio::test]
async fn a_refusal_is_believed_after_a_look_at_what_connect_has_and_what_became_of_a_call_without_an_answer_is_looked_up() {
    let agent = Agent::start(FOREVER).await;
    agent.exports(&[("one", 1)]);
    agent.asks().await;
    *agent.connect.refusal.lock().unwrap() = Some(Status::not_found("no such service"));
    agent.exports(&[("one", 2)]);
    assert_eq!(agent.asks().await, ["list", "update one"]);
    *agent.connect.refusal.lock().unwrap() = None;
    agent.connect.services.lock().unwrap().clear();
    assert_eq!(agent.asks().await, ["list", "register one"]);
    assert_eq!(agent.registration("one"), Some(ServiceRegistration::Registered));

    agent.connect.silent.store(true, Ordering::SeqCst);
    agent.exports(&[("one", 2), ("two", 1)]);
    tokio::select! {
        outcome = agent.registrar.reconcile() => panic!("Connect has not answered: {outcome:?}"),
        () = async { while agent.connect.names().len() < 2 { tokio::task::yield_now().await } } => {}
    }
    agent.connect.silent.store(false, Ordering::SeqCst);
    agent.connect.calls();
    assert_eq!(agent.asks().await, ["list"], "it was told already");
    assert_eq!(agent.registration("two"), Some(ServiceRegistration::Registered));
}

#[tokio::test]
async fn an_agent_that_takes_over_withdraws_what_agents_of_its_cluster_registered_and_nobody_wants() {
    let agent = Agent::start(FOREVER).await;
    agent.exports(&[("goes", 1), ("stays", 1)]);
    agent.asks().await;
    agent.registrar.recall().await.unwrap();
    agent.exports(&[("stays", 1)]);
    assert_eq!(agent.asks().await, ["list", "withdraw goes"]);
}

#[tokio::test]
async fn of_many_services_the_first_are_known_to_be_registered_before_the_last_are_told() {
    let agent = Agent::start(FOREVER).await;
    let names: Vec<String> = (0..200).map(|number| format!("many-{number}")).collect();
    agent.exports(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    let known = async {
        loop {
            let known = agent.world.service_registrations.get().len();
            if known > 0 {
                return (known, agent.connect.names().len());
            }
            tokio::task::yield_now().await;
        }
    };
    let (outcome, (known, told)) = tokio::join!(agent.registrar.reconcile(), known);
    outcome.unwrap();
    assert!(known < names.len() && told < names.len(), "{known} are known, {told} are told");
    assert_eq!(agent.world.service_registrations.get().len(), names.len());
}
