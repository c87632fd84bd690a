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
}

impl ApiServer {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let watches = request.uri().query().unwrap_or_default().contains("watch=");
        // /apis/<group>/<version>/namespaces/<namespace>/<resource>/<name>
        let resource = request.uri().path().split('/').nth(6).unwrap_or_default().to_owned();
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

fn plan_of_one_import() -> PlanChanges {
    let hostname = "server.demo.a.test";
    let import = imported_service(hostname, &[(GatewayKind::EastWest, "192.0.2.1")]);
    PlanChanges {
        type_url: wire::IMPORTED_SERVICE,
        set: vec![ReceivedPlanResource { name: hostname.to_owned(), version: "1".to_owned(), resource: PlanResource::Import(import) }],
        removed: Vec::new(),
        completes: true,
        receipt: PlanReceipt::default(),
    }
}

#[tokio::test]
async fn a_change_waits_for_two_answers_however_many_kinds_it_has_trust_first() {
    cofide_svid::install_crypto_provider();
    let api_server = Arc::new(ApiServer::default());
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
    plan.apply(&plan_of_one_import());
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
    let waves = async {
        api_server.wave(&["destinationrules", "envoyfilters"]).await;
        api_server.wave(&["serviceentries", "virtualservices", "workloadentries"]).await;
    };
    let (written, ()) = tokio::join!(executor.reconcile(), waves);
    written.unwrap();
    shutdown.cancel();
}
