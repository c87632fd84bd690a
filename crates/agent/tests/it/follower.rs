//! The follower against a real xDS server that speaks as Connect does: what it answers, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cofide_agent::executors::kubernetes::{ImportsReport, MeshReport};
use cofide_agent::leader::Leadership;
use cofide_agent::plan::{Plan, PlanStore};
use cofide_agent::published::Wake;
use cofide_agent::spire::{Outcome, Report};
use cofide_agent::state::DataFolder;
use cofide_agent::uplink::follow::Follower;
use cofide_agent::world::{Link, LocalReport, SpireReport, World};
use cofide_api::convert::plan::{
    CONTROL_PLANE_TRUST, EXPORTED_SERVICE, FEDERATED_TRUST, IMPORTED_SERVICE, TYPE_URLS, WORKLOAD_REGISTRATION, standby_for,
};
use cofide_api::plan as proto;
use cofide_core::{FederatedTrust, ImportedService};
use cofide_test_objects::{domain, imported_service};
use cofide_xds::{Cache, Node, Peer, Receipt, Resource, Router, Server};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Endpoint;

const DEADLINE: Duration = Duration::from_secs(20);

/// What was answered last, by type and name.
type Receipts = BTreeMap<(String, String), Result<(), String>>;

#[derive(Default)]
struct Connect {
    cache: Arc<Cache>,
    receipts: Mutex<Receipts>,
    /// The types of which the last receipt came from an agent that stands by.
    standby: Mutex<BTreeSet<String>>,
    /// The types of which a response was answered, also of one that brings nothing.
    answered: Mutex<BTreeSet<String>>,
    streams: AtomicUsize,
}

#[async_trait]
impl Router for Connect {
    async fn cache_for(&self, _peer: &Peer, _node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        Ok(self.cache.clone())
    }

    async fn on_receipt(&self, receipt: Receipt) {
        let mut receipts = self.receipts.lock().unwrap();
        for name in receipt.resources.iter().map(|(name, _)| name).chain(&receipt.removed) {
            let outcome = receipt.outcome_of(name).map_err(str::to_owned);
            receipts.insert((receipt.type_url.clone(), name.clone()), outcome);
        }
        let stands_by = receipt.client.node.client_features.contains(&standby_for(&receipt.type_url));
        let mut standby = self.standby.lock().unwrap();
        if stands_by {
            standby.insert(receipt.type_url.clone())
        } else {
            standby.remove(&receipt.type_url)
        };
        drop(standby);
        self.answered.lock().unwrap().insert(receipt.type_url);
    }
}

struct Place {
    folder: tempfile::TempDir,
    connect: Arc<Connect>,
    address: SocketAddr,
    data: Arc<DataFolder>,
    world: Arc<World>,
    leadership: Leadership,
    has_mesh: bool,
    follower: JoinHandle<()>,
    /// Of the follower alone.
    stop: CancellationToken,
    shutdown: CancellationToken,
}

impl Place {
    /// A Connect that has told nothing yet, and a follower that listens.
    async fn start() -> Self {
        Self::start_with(Leadership::always(), false).await
    }

    async fn start_with(leadership: Leadership, has_mesh: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (connect, shutdown) = (Arc::new(Connect::default()), CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::<Connect>::new(connect.clone());
        let serving = tonic::transport::Server::builder().add_service(server.aggregated());
        tokio::spawn(serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned()));
        let data = open(&folder.path().join("data"));
        let (world, stop) = (Arc::<World>::default(), shutdown.child_token());
        let follower = follow(address, &data, &world, &leadership, has_mesh, &stop);
        Self { folder, connect, address, data, world, leadership, has_mesh, follower, stop, shutdown }
    }

    /// Another process of the agent, which knows what is on disk; `meanwhile` happens while there is none.
    async fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.stop.cancel();
        (&mut self.follower).await.unwrap();
        meanwhile(self);
        (self.world, self.stop) = (Arc::default(), self.shutdown.child_token());
        self.world.plan.set(PlanStore(&self.data).load().unwrap());
        self.follower = follow(self.address, &self.data, &self.world, &self.leadership, self.has_mesh, &self.stop);
    }

    fn tell(&self, type_url: &str, resource: Resource) {
        self.connect.cache.set(type_url, resource);
        self.connect.cache.mark_ready();
    }

    fn receipt(&self, type_url: &str, name: &str) -> Option<Result<(), String>> {
        self.connect.receipts.lock().unwrap().get(&(type_url.to_owned(), name.to_owned())).cloned()
    }

    /// The executors of this world report on the plan as it is.
    fn in_effect(&self, refused: &[(&str, &str)]) {
        let plan_revision = self.world.plan.get().revision;
        let outcome = |(name, reason): &(&str, &str)| (domain(name), Outcome::Failed((*reason).to_owned()));
        let report = Report { trust: refused.iter().map(outcome).collect(), ..Report::default() };
        self.world.local.set(Some(LocalReport { plan_revision, refused: BTreeMap::new() }));
        self.world.spire.set(Some(SpireReport { plan_revision, report }));
    }

    /// What the mesh has made of the imports of the plan as it is.
    fn mesh_says(&self, refused: &[(&str, &str)]) {
        let refused = refused.iter().map(|(name, reason)| (name.parse().unwrap(), (*reason).to_owned())).collect();
        let imports = Some(ImportsReport { plan_revision: self.world.plan.get().revision, refused });
        self.world.mesh.set(Some(MeshReport { imports, ..MeshReport::default() }));
    }

    fn stands_by(&self, type_url: &str) -> bool {
        self.connect.standby.lock().unwrap().contains(type_url)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn follow(
    address: SocketAddr,
    data: &Arc<DataFolder>,
    world: &Arc<World>,
    leadership: &Leadership,
    has_mesh: bool,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let follower = Follower {
        channel: Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy(),
        node: Node::default(),
        data: data.clone(),
        world: world.clone(),
        leadership: leadership.clone(),
        has_mesh,
        on_control_plane: Box::new(|_| {}),
    };
    tokio::spawn(follower.run(stop.clone()))
}

fn open(path: &Path) -> Arc<DataFolder> {
    Arc::new(DataFolder::open(path).unwrap())
}

fn import(hostname: &str) -> Resource {
    let import = ImportedService { trust_domain: domain("b.test"), ..imported_service(hostname, &[]) };
    Resource::new(IMPORTED_SERVICE, hostname, &proto::ImportedService::from(&import))
}

fn trust(name: &str) -> Resource {
    let trust =
        FederatedTrust { trust_domain: domain(name), trust_zone_name: "zone".parse().unwrap(), bundle: None, bundle_endpoint: None };
    Resource::new(FEDERATED_TRUST, name, &proto::FederatedTrust::from(&trust))
}

async fn until(what: &str, place: &Place, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        panic!("{what}: plan {:#?}, receipts {:#?}", place.world.plan.get(), place.connect.receipts.lock().unwrap());
    }
}

#[tokio::test]
async fn nothing_counts_as_applied_before_it_is_in_effect() {
    let place = Place::start().await;
    place.tell(IMPORTED_SERVICE, import("x.demo.b.test"));
    place.tell(FEDERATED_TRUST, trust("b.test"));
    until("the plan arrives", &place, || TYPE_URLS.iter().all(|type_url| place.world.plan.get().is_known(type_url))).await;
    assert_eq!(place.receipt(IMPORTED_SERVICE, "x.demo.b.test"), None);
    assert_eq!(place.receipt(FEDERATED_TRUST, "b.test"), None);

    place.in_effect(&[]);
    until("both are acknowledged", &place, || {
        place.receipt(IMPORTED_SERVICE, "x.demo.b.test") == Some(Ok(())) && place.receipt(FEDERATED_TRUST, "b.test") == Some(Ok(()))
    })
    .await;
    assert_eq!(*place.world.link.get(), Link::Connected);
}

#[tokio::test]
async fn what_the_server_refuses_is_rejected_with_its_reason_and_acknowledged_when_it_has_healed() {
    let place = Place::start().await;
    place.connect.cache.replace(FEDERATED_TRUST, vec![trust("b.test"), trust("c.test")]);
    place.connect.cache.mark_ready();
    until("the plan arrives", &place, || place.world.plan.get().trust().count() == 2).await;
    place.in_effect(&[("b.test", "the disk of the server is full")]);
    let refused = Some(Err("the disk of the server is full".to_owned()));
    until("b is rejected and c is not", &place, || {
        place.receipt(FEDERATED_TRUST, "b.test") == refused && place.receipt(FEDERATED_TRUST, "c.test") == Some(Ok(()))
    })
    .await;
    place.in_effect(&[]);
    until("b is acknowledged after all", &place, || place.receipt(FEDERATED_TRUST, "b.test") == Some(Ok(()))).await;
    assert_eq!(place.connect.streams.load(Ordering::SeqCst), 2, "one stream more, and no other after it");
}

#[tokio::test]
async fn what_is_not_in_effect_for_another_reason_than_before_is_told_again() {
    let place = Place::start().await;
    place.tell(FEDERATED_TRUST, trust("b.test"));
    until("the plan arrives", &place, || place.world.plan.get().trust().count() == 1).await;
    for reason in ["the kinds are missing", "the controller is silent"] {
        place.in_effect(&[("b.test", reason)]);
        until(reason, &place, || place.receipt(FEDERATED_TRUST, "b.test") == Some(Err(reason.to_owned()))).await;
    }
    place.in_effect(&[]);
    until("it is in effect", &place, || place.receipt(FEDERATED_TRUST, "b.test") == Some(Ok(()))).await;
    assert_eq!(place.connect.streams.load(Ordering::SeqCst), 3, "one stream more for each change, and no other after it");
}

#[tokio::test]
async fn a_restarted_agent_is_sent_what_it_does_not_have_and_nothing_else() {
    let mut place = Place::start().await;
    place.connect.cache.replace(IMPORTED_SERVICE, vec![import("x.demo.b.test"), import("y.demo.b.test")]);
    place.tell(FEDERATED_TRUST, trust("b.test"));
    until("the plan arrives", &place, || TYPE_URLS.iter().all(|type_url| place.world.plan.get().is_known(type_url))).await;
    place.in_effect(&[]);
    until("everything is acknowledged", &place, || place.connect.receipts.lock().unwrap().len() == 3).await;

    place
        .restart(|away| {
            away.connect.receipts.lock().unwrap().clear();
            away.connect.answered.lock().unwrap().clear();
            away.connect.cache.remove(IMPORTED_SERVICE, "y.demo.b.test");
            away.tell(IMPORTED_SERVICE, import("z.demo.b.test"));
        })
        .await;
    let imports = || place.world.plan.get().imports().map(|import| import.hostname.to_string()).collect::<Vec<_>>();
    until("it has the difference", &place, || imports() == ["x.demo.b.test", "z.demo.b.test"]).await;
    place.in_effect(&[]);
    until("each type is answered", &place, || place.connect.answered.lock().unwrap().len() == TYPE_URLS.len()).await;
    let sent: Vec<_> = place.connect.receipts.lock().unwrap().keys().map(|(_, name)| name.clone()).collect();
    assert_eq!(sent, ["y.demo.b.test", "z.demo.b.test"], "what went and what came");
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_is_rejected_by_name_and_the_others_are_applied() {
    let place = Place::start().await;
    let bad = Resource::new(IMPORTED_SERVICE, "bad", &proto::ImportedService::default());
    place.connect.cache.replace(IMPORTED_SERVICE, vec![bad, import("x.demo.b.test")]);
    place.connect.cache.mark_ready();
    until("the good one arrives", &place, || place.world.plan.get().imports().count() == 1).await;
    place.in_effect(&[]);
    until("each has its receipt", &place, || {
        place.receipt(IMPORTED_SERVICE, "x.demo.b.test") == Some(Ok(())) && matches!(place.receipt(IMPORTED_SERVICE, "bad"), Some(Err(_)))
    })
    .await;
}

#[tokio::test]
async fn the_plan_is_on_disk_before_it_is_acted_on() {
    let place = Place::start().await;
    let wake = Wake::default();
    place.world.plan.wakes(&wake);
    // So many that to write them takes longer than to wake.
    let name = |number: usize| format!("x-{number}.demo.b.test");
    place.connect.cache.replace(IMPORTED_SERVICE, (0..1000).map(|number| import(&name(number))).collect());
    place.connect.cache.mark_ready();
    // Whoever is woken by a plan finds it on disk; looked at before anything else runs on this thread.
    let acted_on = async |count: usize| loop {
        tokio::time::timeout(DEADLINE, wake.woken()).await.expect("the plan changes");
        let (plan, kept) = (place.world.plan.get(), PlanStore(&place.data).load().unwrap());
        assert_eq!(kept.imports().count(), plan.imports().count(), "the plan was published before it was kept");
        if plan.is_known(IMPORTED_SERVICE) && plan.imports().count() == count {
            break;
        }
    };
    acted_on(1000).await;
    place.in_effect(&[]);
    for gone in 0..5 {
        place.connect.cache.remove(IMPORTED_SERVICE, &name(gone));
        acted_on(999 - gone).await;
        place.in_effect(&[]);
    }
}

#[tokio::test]
async fn a_plan_that_could_not_be_kept_is_kept_as_soon_as_it_can() {
    let place = Place::start().await;
    // As a full disk would, a folder in its place keeps the file from being written, for root too.
    let in_the_way = place.folder.path().join("data/plan.state");
    std::fs::create_dir_all(in_the_way.join("full")).unwrap();
    place.tell(IMPORTED_SERVICE, import("x.demo.b.test"));
    until("the plan is in effect all the same", &place, || place.world.plan.get().imports().count() == 1).await;
    std::fs::remove_dir_all(&in_the_way).unwrap();
    let kept = || PlanStore(&place.data).load().is_ok_and(|plan| plan.imports().count() == 1);
    until("nothing changes any more, and it is on disk", &place, kept).await;
}

#[tokio::test]
async fn a_removal_is_on_disk_as_what_is_set_is() {
    let place = Place::start().await;
    for type_url in [CONTROL_PLANE_TRUST, WORKLOAD_REGISTRATION, EXPORTED_SERVICE] {
        assert!(!place.world.plan.get().is_known(type_url));
    }
    place.tell(IMPORTED_SERVICE, import("x.demo.b.test"));
    until("the plan arrives", &place, || place.world.plan.get().imports().count() == 1).await;
    let kept: Plan = PlanStore(&place.data).load().unwrap();
    assert_eq!(kept.imports().count(), 1);
    place.in_effect(&[]);
    place.connect.cache.remove(IMPORTED_SERVICE, "x.demo.b.test");
    until("the removal arrives", &place, || place.world.plan.get().imports().count() == 0).await;
    assert_eq!(PlanStore(&place.data).load().unwrap().imports().count(), 0);
}

const X: &str = "x.demo.b.test";

#[tokio::test]
async fn in_a_mesh_an_import_whose_objects_cannot_be_written_is_rejected_with_the_reason_whenever_that_begins() {
    let place = Place::start_with(Leadership::always(), true).await;
    place.tell(IMPORTED_SERVICE, import(X));
    until("the plan arrives", &place, || place.world.plan.get().is_known(IMPORTED_SERVICE)).await;
    place.in_effect(&[]);
    place.mesh_says(&[(X, "it is a host of ServiceEntry demo/theirs")]);
    let refused = Some(Err("it is a host of ServiceEntry demo/theirs".to_owned()));
    until("it is rejected", &place, || place.receipt(IMPORTED_SERVICE, X) == refused).await;
    place.mesh_says(&[]);
    until("it has healed", &place, || place.receipt(IMPORTED_SERVICE, X) == Some(Ok(()))).await;
    place.mesh_says(&[(X, "it is a host of ServiceEntry demo/theirs")]);
    until("it is rejected though it was applied", &place, || place.receipt(IMPORTED_SERVICE, X) == refused).await;
    assert_eq!(place.connect.streams.load(Ordering::SeqCst), 3, "one stream more for each change, and no other after it");
}

#[tokio::test]
async fn an_agent_that_stands_by_has_the_plan_and_speaks_for_its_cluster_when_it_leads() {
    let place = Place::start_with(Leadership::candidate(), true).await;
    place.tell(IMPORTED_SERVICE, import(X));
    place.tell(FEDERATED_TRUST, trust("b.test"));
    // No executor of its own reports, and yet Connect goes on to tell.
    until("both are acknowledged", &place, || {
        place.receipt(IMPORTED_SERVICE, X) == Some(Ok(())) && place.receipt(FEDERATED_TRUST, "b.test") == Some(Ok(()))
    })
    .await;
    assert!(place.stands_by(IMPORTED_SERVICE) && place.stands_by(FEDERATED_TRUST));
    place.tell(IMPORTED_SERVICE, import("y.demo.b.test"));
    until("what is new arrives", &place, || place.world.plan.get().imports().count() == 2).await;

    place.leadership.lead_until(tokio::time::Instant::now() + DEADLINE);
    until("it is asked again", &place, || place.connect.streams.load(Ordering::SeqCst) == 2).await;
    place.in_effect(&[]);
    place.mesh_says(&[(X, "taken")]);
    until("it says what became of the imports", &place, || {
        place.receipt(IMPORTED_SERVICE, X) == Some(Err("taken".into())) && !place.stands_by(IMPORTED_SERVICE)
    })
    .await;
    until("and of the trust", &place, || !place.stands_by(FEDERATED_TRUST)).await;

    place.leadership.step_down();
    until("it stands by", &place, || place.connect.streams.load(Ordering::SeqCst) == 3).await;
    place.tell(IMPORTED_SERVICE, import("z.demo.b.test"));
    until("it follows", &place, || place.receipt(IMPORTED_SERVICE, "z.demo.b.test") == Some(Ok(())) && place.stands_by(IMPORTED_SERVICE))
        .await;
}
