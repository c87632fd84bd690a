//! The executor before an API server that answers when the test lets it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofide_api::convert::plan as wire;
use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
use cofide_core::GatewayKind;
use cofide_plan::PlanResource;
use cofide_test_objects::{domain, imported_service};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mirror::Presence;
use super::{IstioExecutor, MeshOfCluster};
use crate::leader::Leadership;
use crate::own_cluster::OwnCluster;
use crate::published::Wake;
use crate::render::istio::MeshSettings;
use crate::world::World;

/// Far beyond what anything takes here.
const PATIENCE: Duration = Duration::from_secs(10);

/// An empty cluster with all kinds. A write waits until it is let through.
#[derive(Default)]
struct ApiServer {
    /// The resources whose writes wait, such as `gateways`.
    waiting: Mutex<BTreeSet<String>>,
    let_through: Notify,
    /// A resource and a part of a name: such a write is refused, for want of time.
    overloaded_by: Option<(&'static str, &'static str)>,
}

impl ApiServer {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let watches = request.uri().query().unwrap_or_default().contains("watch=");
        // /apis/<group>/<version>/namespaces/<namespace>/<resource>/<name>
        let mut path = request.uri().path().split('/').skip(6).map(str::to_owned);
        let (resource, name) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        if self.overloaded_by.is_some_and(|(of, part)| resource == of && name.contains(part)) {
            let refusal = json!({ "kind": "Status", "status": "Failure", "message": "too busy", "reason": "ServerTimeout", "code": 504 });
            return Response::builder().status(504).body(Body::from(refusal.to_string().into_bytes())).unwrap();
        }
        let answer = match *request.method() {
            Method::GET if watches => std::future::pending().await,
            Method::GET => json!({ "metadata": { "resourceVersion": "1" }, "items": [] }),
            _ => {
                let let_through = self.let_through.notified();
                self.waiting.lock().unwrap().insert(resource);
                let_through.await;
                serde_json::from_slice::<Value>(&request.into_body().collect_bytes().await.unwrap()).unwrap()
            }
        };
        Response::new(Body::from(answer.to_string().into_bytes()))
    }

    /// Waits until exactly these wait, and lets them through.
    async fn wave(&self, resources: &[&str]) {
        let expected: BTreeSet<String> = resources.iter().map(|resource| (*resource).to_owned()).collect();
        let arrived = async {
            while *self.waiting.lock().unwrap() != expected {
                tokio::task::yield_now().await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        arrived.unwrap_or_else(|_| panic!("{expected:?} should be under way together; there are {waiting:?}"));
        self.let_through.notify_waiters();
    }
}

fn plan_of(hostnames: &[&str]) -> PlanChanges {
    let received = |hostname: &&str| ReceivedPlanResource {
        name: (*hostname).to_owned(),
        version: "1".to_owned(),
        resource: PlanResource::Import(imported_service(hostname, &[(GatewayKind::EastWest, "192.0.2.1")])),
    };
    PlanChanges {
        type_url: wire::IMPORTED_SERVICE,
        set: hostnames.iter().map(received).collect(),
        removed: Vec::new(),
        completes: true,
        receipt: PlanReceipt::default(),
    }
}

/// One that has listed everything, and the token that ends its watches.
async fn executor(api_server: &Arc<ApiServer>, imports: &[&str]) -> (IstioExecutor, CancellationToken) {
    cofide_svid::install_crypto_provider();
    let answering = api_server.clone();
    let client = Client::new(
        tower::service_fn(move |request| {
            let api_server = answering.clone();
            async move { Ok::<_, std::convert::Infallible>(api_server.answer(request).await) }
        }),
        "default",
    );
    let world = Arc::new(World::default());
    let mut plan = (*world.plan.get()).clone();
    plan.apply(&plan_of(imports));
    world.plan.set(plan);
    let mesh = MeshOfCluster {
        client,
        cluster: OwnCluster {
            trust_domain: domain("b.test"),
            trust_zone_id: "tz-b".parse().unwrap(),
            cluster_id: "c-b".parse().unwrap(),
            cluster_name: "two".parse().unwrap(),
        },
        settings: MeshSettings {
            agent_namespace: "cofide".to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        },
        leadership: Leadership::always(),
        world,
    };
    let (wake, tasks, shutdown) = (Wake::default(), TaskTracker::new(), CancellationToken::new());
    let executor = IstioExecutor::start(mesh, &wake, &tasks, &shutdown);
    while executor.writer.mirrors().iter().any(|mirror| mirror.presence() == Presence::Unknown) {
        tokio::time::timeout(PATIENCE, wake.woken()).await.expect("each kind is listed");
    }
    (executor, shutdown)
}

#[tokio::test]
async fn a_change_waits_for_two_answers_however_many_kinds_it_has_trust_first() {
    let api_server = Arc::new(ApiServer::default());
    let (executor, shutdown) = executor(&api_server, &["server.demo.a.test"]).await;
    let waves = async {
        api_server.wave(&["destinationrules", "envoyfilters"]).await;
        api_server.wave(&["serviceentries", "virtualservices", "workloadentries"]).await;
    };
    let (written, ()) = tokio::join!(executor.reconcile(), waves);
    written.unwrap();
    shutdown.cancel();
}

#[tokio::test]
async fn where_the_api_server_has_no_time_for_one_object_what_is_under_way_is_finished_and_not_made_again() {
    let api_server = Arc::new(ApiServer { overloaded_by: Some(("destinationrules", "other")), ..ApiServer::default() });
    let (executor, shutdown) = executor(&api_server, &["other.demo.a.test", "server.demo.a.test"]).await;
    let waves = async {
        api_server.wave(&["destinationrules", "envoyfilters"]).await;
        api_server.wave(&["serviceentries", "virtualservices", "workloadentries"]).await;
    };
    let (written, ()) = tokio::join!(executor.reconcile(), waves);
    assert!(written.unwrap_err().to_string().contains("too busy"));
    let rules = executor.writer.mirrors().iter().find(|mirror| mirror.name() == "DestinationRule").unwrap().presence();
    assert!(matches!(rules, Presence::Listed(live) if live.len() == 1), "the other one is there");
    shutdown.cancel();
}
