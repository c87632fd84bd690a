//! Nothing is deleted on ignorance: the real source, decisions and executors of an agent, with what they know taken away.
//!
//! Envoys keep what they have as long as their view is not published, so "nothing is deleted at Envoy" means here that a
//! cache is not ready, or holds what it held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofide_agent::addresses::{Addresses, DEFAULT_HOLD, LoopbackPool};
use cofide_agent::export::ServiceRegistration;
use cofide_agent::local::Local;
use cofide_agent::own_cluster::OwnCluster;
use cofide_agent::plan::{Plan, PlanStore};
use cofide_agent::published::Wake;
use cofide_agent::render::envoy::SidecarSettings;
use cofide_agent::role::Role;
use cofide_agent::sources::host::HostSource;
use cofide_agent::spire::{SpireClient, SpireKeeper};
use cofide_agent::state::{DataFolder, REGISTRATIONS};
use cofide_agent::uplink::connect::Connect;
use cofide_agent::uplink::registrar::{Memory, Registrar};
use cofide_agent::world::World;
use cofide_agent::xds_service::XdsService;
use cofide_api::convert::plan::{FEDERATED_TRUST, IMPORTED_SERVICE, WORKLOAD_REGISTRATION};
use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
use cofide_core::{FederatedServiceId, Hostname, ImportedService};
use cofide_dns::ZoneHandle;
use cofide_plan::PlanResource;
use cofide_test_objects::{domain, imported_service};
use cofide_xds::{Cache, Node, Peer, Router};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::register::Register;

const FOREVER: Duration = Duration::from_secs(3600);

/// A host, as it outlives the processes of its agent.
struct Host {
    folder: tempfile::TempDir,
    connect: Register,
    channel: tonic::transport::Channel,
    shutdown: CancellationToken,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The parts of one process of the agent.
struct Process {
    world: Arc<World>,
    data: Arc<DataFolder>,
    source: HostSource,
    local: Local,
    registrar: Registrar,
    keeper: SpireKeeper,
}

fn cluster() -> OwnCluster {
    OwnCluster {
        trust_domain: domain("a.test"),
        trust_zone_id: "tz-a".parse().unwrap(),
        cluster_id: "c-a".parse().unwrap(),
        cluster_name: "one".parse().unwrap(),
    }
}

fn manifest(name: &str, port: &str) -> String {
    format!(
        "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {{name: {name}, namespace: demo}}\nspec:\n  name: {name}\n  \
         namespace: demo\n  exportedTrustDomains: [b.test]\n  workloadLabels: {{app: {name}}}\n  port: {port}\n  tlsMode: Mtls\n---\n\
         apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: demo}}\nspec:\n  address: 127.0.0.9\n  \
         labels: {{app: {name}}}\n"
    )
}

fn import(hostname: &str) -> ImportedService {
    ImportedService { trust_domain: domain("b.test"), ..imported_service(hostname, &[]) }
}

/// All that Connect has of a type.
fn told(type_url: &'static str, resources: Vec<(&str, PlanResource)>) -> PlanChanges {
    let received =
        |(name, resource): (&str, PlanResource)| ReceivedPlanResource { name: name.to_owned(), version: "v1".to_owned(), resource };
    let set = resources.into_iter().map(received).collect();
    PlanChanges { type_url, set, removed: vec![], completes: true, receipt: PlanReceipt::default() }
}

/// A part of what Connect has of a type, with more to come.
fn told_in_part(type_url: &'static str, resources: Vec<(&str, PlanResource)>) -> PlanChanges {
    PlanChanges { completes: false, ..told(type_url, resources) }
}

impl Host {
    async fn new() -> Self {
        let (connect, shutdown) = (Register::default(), CancellationToken::new());
        let channel = connect.serve(shutdown.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        Self { folder, connect, channel, shutdown }
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.manifest(name), text).unwrap();
    }

    fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(format!("{name}.state"))
    }

    /// As `run` puts it together.
    fn start(&self) -> Process {
        let data = Arc::new(DataFolder::open(&self.folder.path().join("data")).unwrap());
        let world = Arc::new(World::default());
        world.plan.set(PlanStore(&data).load().unwrap());
        let pool = LoopbackPool::default();
        let local = Local {
            cluster: cluster(),
            gateway_listen: "127.0.0.1:15443".parse().unwrap(),
            gateways: vec![],
            addresses: Mutex::new(Addresses::open(data.clone(), pool, DEFAULT_HOLD).unwrap()),
            xds: XdsService::new(SidecarSettings {
                pool,
                resolver: "127.0.0.1:10053".parse().unwrap(),
                fallback_resolvers: BTreeSet::new(),
            }),
            dns: ZoneHandle::new(),
            world: world.clone(),
        };
        let (manifests, own) = (self.folder.path().join("manifests"), cluster().trust_domain);
        let source = HostSource::open(manifests, own.clone(), data.clone(), world.clone(), Wake::default(), self.shutdown.clone()).unwrap();
        let (connect, memory) = (Connect::new(self.channel.clone()), Memory::Kept(data.clone()));
        let registrar = Registrar::open(cluster(), connect, memory, world.clone(), FOREVER).unwrap();
        // Whatever the keeper asked of this server would fail.
        let nowhere = SpireClient::new(Path::new("/nonexistent/api.sock"));
        let keeper = SpireKeeper::open(own, nowhere, Duration::from_secs(60), data.clone(), world.clone()).unwrap();
        Process { world, data, source, local, registrar, keeper }
    }
}

impl Process {
    /// Everything once, as after a wake-up.
    async fn reconcile(&self) {
        // A folder that is away is an error, and no reason for the others not to run.
        let _ = self.source.reconcile();
        self.local.reconcile().unwrap();
        self.registrar.reconcile().await.unwrap();
    }

    fn plan(&self, changes: &[PlanChanges]) {
        let mut plan: Plan = (*self.world.plan.get()).clone();
        for changes in changes {
            plan.apply(changes);
        }
        PlanStore(&self.data).save(&plan).unwrap();
        self.world.plan.set(plan);
    }

    async fn cache(&self, role: Role) -> Arc<Cache> {
        let peer = Peer { extensions: Default::default(), metadata: Default::default(), remote_addr: None };
        let node = Node { cluster: role.node_cluster().to_owned(), ..Node::default() };
        self.local.xds.cache_for(&peer, &node, "").await.unwrap()
    }

    /// What the gateway is told to have behind it; `None` while it is told nothing.
    async fn backends(&self) -> Option<Vec<String>> {
        let cache = self.cache(Role::Gateway).await;
        let clusters = cache.list("type.googleapis.com/envoy.config.cluster.v3.Cluster");
        cache.is_ready().then(|| clusters.iter().map(|cluster| cluster.name().to_owned()).collect())
    }

    async fn clients_are_served(&self) -> [bool; 3] {
        let mut served = [false; 3];
        for (served, role) in served.iter_mut().zip([Role::Client, Role::Sidecar, Role::Sdk]) {
            *served = self.cache(role).await.is_ready();
        }
        served
    }
}

#[tokio::test]
async fn while_nothing_is_known_of_the_manifests_nothing_is_withdrawn_and_the_gateway_is_told_nothing() {
    let host = Host::new().await;
    host.write("one.yaml", &manifest("one", "1001"));
    let process = host.start();
    process.reconcile().await;
    assert_eq!(host.connect.names(), ["one"]);
    assert_eq!(process.backends().await.unwrap().len(), 1);
    drop(process);

    let process = host.start();
    // The reading of the folder has not come to its end yet.
    process.local.reconcile().unwrap();
    process.registrar.reconcile().await.unwrap();
    assert_eq!((host.connect.names(), process.backends().await), (vec!["one".to_owned()], None));
    drop(process);

    // Neither folder nor memory: the reading fails, and there is nothing to recall.
    std::fs::remove_file(host.state("manifests")).unwrap();
    std::fs::rename(host.folder.path().join("manifests"), host.folder.path().join("away")).unwrap();
    let process = host.start();
    process.reconcile().await;
    assert_eq!((host.connect.names(), process.backends().await), (vec!["one".to_owned()], None));

    std::fs::rename(host.folder.path().join("away"), host.folder.path().join("manifests")).unwrap();
    std::fs::remove_file(host.manifest("one.yaml")).unwrap();
    process.reconcile().await;
    assert_eq!((host.connect.names(), process.backends().await), (vec![], Some(vec![])), "an empty folder is an answer");
}

#[tokio::test]
async fn imports_that_are_not_known_are_not_told_to_clients_as_none_and_keep_their_addresses() {
    let host = Host::new().await;
    let process = host.start();
    process.reconcile().await;
    assert_eq!(process.clients_are_served().await, [false; 3], "an agent that was never told a plan");

    let name = "server.demo.b.test";
    process.plan(&[told(IMPORTED_SERVICE, vec![(name, PlanResource::Import(import(name)))])]);
    process.reconcile().await;
    assert_eq!(process.clients_are_served().await, [true; 3]);
    let kept = std::fs::read(host.state("addresses")).unwrap();
    drop(process);

    type Damage = fn(&Path);
    let damages: [Damage; 2] = [|state| std::fs::remove_file(state).unwrap(), |state| std::fs::write(state, "half").unwrap()];
    for damage in damages {
        let plan = std::fs::read(host.state("plan")).unwrap();
        damage(&host.state("plan"));
        let process = host.start();
        let held = BTreeMap::from([(name.parse::<Hostname>().unwrap(), "127.64.0.9".parse().unwrap())]);
        process.local.dns.set(held.clone());
        process.reconcile().await;
        process.keeper.reconcile().await.expect("the SPIRE server is not asked for anything");
        assert_eq!(process.clients_are_served().await, [false; 3]);
        assert!(!process.local.dns.set(held), "the resolver answers what it answered");
        assert_eq!(std::fs::read(host.state("addresses")).unwrap(), kept, "no address is released");

        // The first part of an answer says nothing about what is in the others.
        let other = "other.demo.b.test";
        process.plan(&[
            told_in_part(IMPORTED_SERVICE, vec![(other, PlanResource::Import(import(other)))]),
            told_in_part(FEDERATED_TRUST, vec![]),
            told_in_part(WORKLOAD_REGISTRATION, vec![]),
        ]);
        process.reconcile().await;
        process.keeper.reconcile().await.expect("the SPIRE server is not asked for anything");
        assert_eq!(process.clients_are_served().await, [false; 3]);
        let held = BTreeMap::from([(name.parse::<Hostname>().unwrap(), "127.64.0.9".parse().unwrap())]);
        assert!(!process.local.dns.set(held), "the resolver answers what it answered");
        assert_eq!(std::fs::read(host.state("addresses")).unwrap(), kept, "no address is released");

        // Of the types that the SPIRE server holds, Connect has told the one and not yet the other.
        process.plan(&[told(FEDERATED_TRUST, vec![])]);
        process.keeper.reconcile().await.expect("the SPIRE server is not asked for anything");
        process.plan(&[told(WORKLOAD_REGISTRATION, vec![])]);
        process.keeper.reconcile().await.expect_err("now it is");
        drop(process);
        std::fs::write(host.state("plan"), plan).unwrap();
    }
    let process = host.start();
    process.reconcile().await;
    assert_eq!(process.clients_are_served().await, [true; 3], "with the plan they are served at once");
}

#[tokio::test]
async fn a_loss_of_the_memory_of_manifests_withdraws_nothing_even_where_one_of_them_is_broken() {
    type Damage = fn(&Path);
    let damages: [Damage; 2] = [|state| std::fs::remove_file(state).unwrap(), |state| std::fs::write(state, "half").unwrap()];
    for damage in damages {
        let host = Host::new().await;
        host.write("one.yaml", &manifest("one", "1001"));
        host.write("two.yaml", &manifest("two", "1002"));
        let process = host.start();
        process.reconcile().await;
        assert_eq!(host.connect.names().len(), 2);
        drop(process);

        damage(&host.state("manifests"));
        host.write("two.yaml", &manifest("two", "none"));
        host.write("three.yaml", &manifest("three", "1003"));
        for _ in 0..2 {
            let process = host.start();
            process.reconcile().await;
            let mut names = host.connect.names();
            names.sort();
            assert_eq!(names, ["one", "three", "two"], "what is known is registered, and nothing is withdrawn");
            assert_eq!(process.backends().await, None, "a running gateway keeps what it has");
        }

        let process = host.start();
        std::fs::remove_file(host.manifest("two.yaml")).unwrap();
        process.reconcile().await;
        let mut names = host.connect.names();
        names.sort();
        assert_eq!(names, ["one", "three"], "what was deleted on purpose is withdrawn once everything is valid");
        assert_eq!(process.backends().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn an_agent_that_connect_refuses_says_what_connect_said_and_which_identity_it_needs() {
    let host = Host::new().await;
    host.write("one.yaml", &manifest("one", "1001"));
    let process = host.start();
    let registration = async || {
        let _ = process.source.reconcile();
        process.local.reconcile().unwrap();
        let _ = process.registrar.reconcile().await;
        process.world.service_registrations.get().values().next().cloned()
    };
    let said = "spiffe://a.test/ns/cofide/sa/cofide-agent names no cluster, and trust zone zone-a has 2";
    let refusals = [
        (Status::permission_denied(said), vec![said, "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent", "issue it anew"]),
        (Status::unauthenticated("not signed"), vec!["not signed", "older than the authority", "cofidectl trust-zone set-bundle"]),
    ];
    for (status, parts) in refusals {
        *host.connect.refusal.lock().unwrap() = Some(status);
        let Some(ServiceRegistration::AgentRefused(reason)) = registration().await else {
            panic!("{:?}", process.world.service_registrations.get())
        };
        for part in parts {
            assert!(reason.contains(part), "{part:?} is not in {reason:?}");
        }
    }
    *host.connect.refusal.lock().unwrap() = Some(Status::unavailable("restarting"));
    assert_eq!(registration().await, Some(ServiceRegistration::Unreachable("restarting".to_owned())));
    *host.connect.refusal.lock().unwrap() = None;
    assert_eq!(registration().await, Some(ServiceRegistration::Registered));
    *host.connect.refusal.lock().unwrap() = Some(Status::permission_denied(said));
    host.write("one.yaml", &manifest("one", "1002"));
    assert!(
        matches!(registration().await, Some(ServiceRegistration::AgentRefused(_))),
        "also of a service that Connect knows in an earlier form"
    );
}

#[tokio::test]
async fn a_damaged_memory_of_manifests_is_a_loss_also_where_nothing_was_registered_yet() {
    let host = Host::new().await;
    host.write("one.yaml", &manifest("one", "1001"));
    host.write("two.yaml", &manifest("two", "1002"));
    let process = host.start();
    process.source.reconcile().unwrap();
    process.local.reconcile().unwrap();
    assert_eq!(process.backends().await.unwrap().len(), 2);
    drop(process);
    assert!(host.state("manifests").exists() && !host.state(REGISTRATIONS).exists());

    std::fs::write(host.state("manifests"), "half").unwrap();
    host.write("two.yaml", &manifest("two", "none"));
    for _ in 0..2 {
        let process = host.start();
        process.source.reconcile().unwrap();
        process.local.reconcile().unwrap();
        assert!(process.world.exports.get().as_ref().as_ref().unwrap().incomplete, "two.yaml was in force in a form that is lost");
        assert_eq!(process.backends().await, None, "a running gateway keeps what it has");
    }
}

#[tokio::test]
async fn a_service_that_connect_took_without_an_answer_is_remembered_and_withdrawn_when_its_manifest_goes() {
    let host = Host::new().await;
    host.write("one.yaml", &manifest("one", "1001"));
    host.connect.silent.store(true, Ordering::SeqCst);
    let process = host.start();
    process.source.reconcile().unwrap();
    process.local.reconcile().unwrap();
    let taken = async {
        while host.connect.names().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = process.registrar.reconcile() => panic!("Connect has not answered: {outcome:?}"),
        taken = tokio::time::timeout(Duration::from_secs(20), taken) => taken.expect("the service is told to Connect"),
    }
    // The agent ends here, as by `kill -9`.
    let id: FederatedServiceId = host.connect.services.lock().unwrap().keys().next().unwrap().parse().unwrap();
    let remembered = process.data.load::<BTreeSet<FederatedServiceId>>(REGISTRATIONS).unwrap();
    assert_eq!(remembered, Some(BTreeSet::from([id])));
    drop(process);

    host.connect.silent.store(false, Ordering::SeqCst);
    std::fs::remove_file(host.manifest("one.yaml")).unwrap();
    host.start().reconcile().await;
    assert!(host.connect.names().is_empty(), "it is known as the agent's own");
}
