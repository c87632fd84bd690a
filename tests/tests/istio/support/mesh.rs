//! A cluster whose objects an executor of the agent keeps, without an agent around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cofide_agent::executors::kubernetes::{IstioExecutor, MeshOfCluster};
use cofide_agent::leader::Leadership;
use cofide_agent::own_cluster::OwnCluster;
use cofide_agent::published::Wake;
use cofide_agent::reconciler::{self, Pace};
use cofide_agent::render::istio::MeshSettings;
use cofide_agent::view::{Backing, ClusterView, GatewayService, Kind, ObjectKey, Origin, ServiceObject};
use cofide_agent::world::{Exports, World};
use cofide_api::convert::plan::IMPORTED_SERVICE;
use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
use cofide_core::{Gateway, GatewayAddress, GatewayKind, ImportedGateway, ImportedService, Port, ServiceName, TlsMode, TrustDomain};
use cofide_k8s_api::ServiceSpec;
use cofide_plan::PlanResource;
use cofide_testkit::lab::{Cluster, IstioProxy};
use kube::Client;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The part of an agent that writes Istio objects, and what it reads.
pub(crate) struct Agent {
    pub(crate) world: Arc<World>,
    own: OwnCluster,
    rounds: Arc<AtomicUsize>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Agent {
    pub(crate) async fn start(cluster: &Cluster, trust_domain: &str) -> Self {
        cluster.create_namespace("cofide").await.unwrap();
        Self::start_with(cluster.client().unwrap(), trust_domain)
    }

    pub(crate) fn start_with(client: Client, trust_domain: &str) -> Self {
        let own = OwnCluster {
            trust_domain: TrustDomain::new(trust_domain).unwrap(),
            trust_zone_id: "tz".parse().unwrap(),
            cluster_id: "c".parse().unwrap(),
            cluster_name: "one".parse().unwrap(),
        };
        let (world, shutdown, tasks, wake) = (Arc::new(World::default()), CancellationToken::new(), TaskTracker::new(), Wake::default());
        world.exports.wakes(&wake);
        world.plan.wakes(&wake);
        let settings = MeshSettings {
            agent_namespace: "cofide".into(),
            root_namespace: "istio-system".into(),
            cluster_domain: "cluster.local".into(),
        };
        let mesh = MeshOfCluster { client, cluster: own.clone(), settings, leadership: Leadership::always(), world: world.clone() };
        let executor = IstioExecutor::start(mesh, &wake, &tasks, &shutdown);
        // Often, so that a write at rest has many occasions.
        let pace = Pace { interval: Duration::from_millis(300), retry: Duration::from_millis(100) };
        let executor = Arc::new(executor);
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = rounds.clone();
        tasks.spawn(reconciler::run("istio", pace, wake, shutdown.clone(), move || {
            let (executor, counted) = (executor.clone(), counted.clone());
            async move {
                let outcome = executor.reconcile().await;
                counted.fetch_add(1, Ordering::SeqCst);
                outcome
            }
        }));
        Self { world, own, rounds, tasks, stop: shutdown.drop_guard() }
    }

    /// How often it has looked.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Ends it; what it was about is over then.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What the cluster's source would have found.
    pub(crate) fn exports(&self, services: Vec<ServiceObject>, gateways: &[GatewayService]) {
        let view = ClusterView { services, gateways: gateways.to_vec(), ..ClusterView::default() };
        self.world.exports.set(Some(Exports::of(&self.own, &[], &view)));
    }

    /// All that Connect has told.
    pub(crate) fn imports(&self, imports: &[ImportedService]) {
        let received = |import: &ImportedService| ReceivedPlanResource {
            name: import.hostname.to_string(),
            version: format!("{import:?}"),
            resource: PlanResource::Import(import.clone()),
        };
        let mut plan = (*self.world.plan.get()).clone();
        let removed = plan.imports().filter(|held| imports.iter().all(|import| import.hostname != held.hostname));
        let removed = removed.map(|held| held.hostname.to_string()).collect();
        let set = imports.iter().map(received).collect();
        plan.apply(&PlanChanges { type_url: IMPORTED_SERVICE, set, removed, completes: true, receipt: PlanReceipt::default() });
        self.world.plan.set(plan);
    }
}

fn port(number: u16) -> Port {
    Port::try_from(i64::from(number)).unwrap()
}

/// As a source finds the Service of a gateway.
pub(crate) fn gateway(kind: GatewayKind, at: &IstioProxy, number: u16) -> GatewayService {
    let entry = Gateway { kind, address: GatewayAddress::Ip(at.host.address.into()), port: port(number) };
    GatewayService {
        kind,
        namespace: "istio-system".into(),
        name: kind.to_string(),
        service_type: "LoadBalancer".into(),
        selector: [("istio".to_owned(), kind.as_str().trim_start_matches("istio-").to_owned())].into(),
        port: port(number),
        entries: vec![entry],
    }
}

fn service(name: &str, mode: TlsMode, exported_to: &[&str]) -> ServiceObject {
    let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".into(), name: name.into() };
    let service = ServiceName { name: name.parse().unwrap(), namespace: "demo".parse().unwrap() };
    ServiceObject {
        // Nobody collects garbage in these clusters, so the owner need not exist.
        origin: Origin::Object { key: key.clone(), uid: "5cb94b9d-84b1-4f6c-8f4c-b6a0f44f3b7a".into() },
        key,
        age: 0,
        generation: 1,
        spec: Some(ServiceSpec {
            hostname: service.hostname(&TrustDomain::new("a.test").unwrap()).unwrap(),
            name: service,
            exported_trust_domains: exported_to.iter().map(|name| TrustDomain::new(*name).unwrap()).collect(),
            workload_labels: [("app".to_owned(), name.to_owned())].into(),
            port: port(8443),
            tls_mode: mode,
            spiffe_id_paths: vec![],
            gateways: vec![],
        }),
        problems: vec![],
        backing: Some(Backing { service: Some(name.into()), target_ports: [port(8443)].into(), ..Backing::default() }),
    }
}

/// A FederatedService of pods with the label `app: <name>`.
pub(crate) fn mtls(name: &str, exported_to: &[&str]) -> ServiceObject {
    service(name, TlsMode::Mtls, exported_to)
}

pub(crate) fn istio_mtls(name: &str, exported_to: &[&str]) -> ServiceObject {
    service(name, TlsMode::IstioMtls, exported_to)
}

/// The same service, as another trust zone imports it through these gateways.
pub(crate) fn import(service: &ServiceObject, gateways: &[GatewayService]) -> ImportedService {
    let spec = service.spec.as_ref().unwrap();
    let entries = gateways.iter().flat_map(|gateway| gateway.entries.clone());
    ImportedService {
        hostname: spec.hostname.clone(),
        port: spec.port,
        tls_mode: spec.tls_mode,
        trust_domain: TrustDomain::new("a.test").unwrap(),
        spiffe_id_paths: spec.spiffe_id_paths.clone(),
        gateways: entries.map(|gateway| ImportedGateway { gateway, cluster_name: "one".parse().unwrap() }).collect(),
    }
}
