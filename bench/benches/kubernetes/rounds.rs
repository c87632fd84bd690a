//! One service at a time, on a quiet mesh.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use cofide_bench::percentile;
use cofide_k8s_api::{FederatedServiceObject, istio};
use cofide_testkit::kubernetes::{DIRECT, Direct, EXPORTED, World, federated_service};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::probe::{self, Reached};
use crate::seen::Seen;
use crate::{APP, NAMESPACE, PORT};

/// Between two rounds: several times what istiod waits for more before it acts.
const REST: Duration = Duration::from_millis(700);
const WRITER: &str = "bench";

/// What the rounds need beside the world.
pub(crate) struct Bench {
    pub(crate) server: Seen,
    pub(crate) client: Seen,
    /// In the zone of the clients behind sidecars.
    in_mesh: Direct,
    services: Api<FederatedServiceObject>,
    entries: Api<DynamicObject>,
    /// Where the server listens.
    backend: Ipv4Addr,
    next: AtomicUsize,
}

/// Moments of the rounds of one kind, each as the time since the write was sent.
#[derive(Default)]
struct Times {
    /// The exporting cluster's objects are written.
    exported: Vec<Duration>,
    /// The importing cluster's objects are written.
    imported: Vec<Duration>,
    /// The client knows where to connect.
    resolved: Vec<Duration>,
    answered: Vec<Duration>,
    /// From the last write of the agents to the answer.
    after_writes: Vec<Duration>,
}

impl Bench {
    pub(crate) async fn new(world: &World, backend: Ipv4Addr) -> Result<Self> {
        let World { server, client, plane, .. } = world;
        plane.bind(client.zone, DIRECT, &[server.zone]).await?;
        let entry = ApiResource::erase::<istio::ServiceEntry>(&());
        client.cluster.create_namespace(NAMESPACE).await?;
        Ok(Self {
            server: Seen::start(&server.cluster)?,
            client: Seen::start(&client.cluster)?,
            in_mesh: Direct::start(&plane.zones[client.zone], DIRECT).await?,
            services: Api::namespaced(server.cluster.client()?, NAMESPACE),
            entries: Api::namespaced_with(client.cluster.client()?, NAMESPACE, &entry),
            backend,
            next: AtomicUsize::new(0),
        })
    }

    /// Rounds of all three kinds in turns, after one of each that does not count.
    pub(crate) async fn compare(&self, world: &World, rounds: usize) -> Result<()> {
        let (mut outside, mut inside, mut by_hand) = (Times::default(), Times::default(), Times::default());
        for round in 0..=rounds {
            if round == 1 {
                (outside, inside, by_hand) = Default::default();
            }
            self.export_outside(world, &mut outside).await?;
            self.export_inside(world, &mut inside).await?;
            self.write_by_hand(world, &mut by_hand).await?;
        }
        println!("{:<64} {:>8} {:>8}", "", "p50", "p99");
        println!("FederatedService -> client without a mesh");
        line("  Istio objects of the exporting cluster written", &mut outside.exported);
        line("  the client's resolver knows the name", &mut outside.resolved);
        let outside = line("  first connection", &mut outside.answered);
        println!("FederatedService -> client in a mesh");
        line("  Istio objects of the exporting cluster written", &mut inside.exported);
        line("  Istio objects of the importing cluster written", &mut inside.imported);
        line("  istiod's part: from there to the first connection", &mut inside.after_writes);
        let inside = line("  first connection", &mut inside.answered);
        println!("ServiceEntry by hand -> client in the mesh");
        let by_hand = line("  first connection", &mut by_hand.answered);
        let ratio = |ours: Duration| ours.as_secs_f64() / by_hand.as_secs_f64();
        println!("ratio to writing by hand, of the medians: without a mesh {:.2}, in a mesh {:.2}", ratio(outside), ratio(inside));
        Ok(())
    }

    async fn export_outside(&self, world: &World, times: &mut Times) -> Result<()> {
        let (begun, name, hostname) = self.export(EXPORTED[1]).await?;
        let reached = probe::outside(&world.outside, &world.direct, &hostname).await?;
        let exported = self.server.written(&hostname);
        times.add(begun, &reached, [exported, None]);
        self.withdraw(&name, &hostname).await?;
        while !world.outside.resolve(&hostname).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rest().await;
        Ok(())
    }

    async fn export_inside(&self, world: &World, times: &mut Times) -> Result<()> {
        let (begun, name, hostname) = self.export(EXPORTED[0]).await?;
        let reached = probe::inside(&world.in_mesh, &self.client, &self.in_mesh, &hostname).await?;
        times.add(begun, &reached, [self.server.written(&hostname), self.client.written(&hostname)]);
        self.withdraw(&name, &hostname).await?;
        self.client.until_none(&hostname).await?;
        rest().await;
        Ok(())
    }

    /// What a person would write who knows the server's address, ready for use.
    async fn write_by_hand(&self, world: &World, times: &mut Times) -> Result<()> {
        let name = format!("by-hand-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let hostname = format!("{name}.bench.test");
        let entry = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": { "namespace": NAMESPACE, "name": name },
            "spec": {
                "hosts": [hostname],
                "ports": [{ "number": PORT, "name": "tls", "protocol": "TLS" }],
                "location": "MESH_EXTERNAL",
                "resolution": "STATIC",
                "endpoints": [{ "address": self.backend }],
            },
        });
        let begun = Instant::now();
        self.entries.patch(&name, &PatchParams::apply(WRITER).force(), &Patch::Apply(&entry)).await?;
        let reached = probe::inside(&world.in_mesh, &self.client, &self.in_mesh, &hostname).await?;
        times.add(begun, &reached, [None, None]);
        self.entries.delete(&name, &DeleteParams::default()).await?;
        self.client.until_none(&hostname).await?;
        rest().await;
        Ok(())
    }

    /// Exports the server under a name that nobody had before, to one trust domain.
    async fn export(&self, to: &str) -> Result<(Instant, String, String)> {
        let name = format!("round-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut service = federated_service(NAMESPACE, &name, APP, PORT, "Mtls");
        service["spec"]["exportedTrustDomains"] = json!([to]);
        let begun = Instant::now();
        self.apply(&name, &service).await?;
        let hostname = hostname(&name);
        Ok((begun, name, hostname))
    }

    pub(crate) async fn apply(&self, name: &str, service: &Value) -> Result<()> {
        self.services.patch(name, &PatchParams::apply(WRITER).force(), &Patch::Apply(service)).await?;
        Ok(())
    }

    pub(crate) async fn withdraw(&self, name: &str, hostname: &str) -> Result<()> {
        self.services.delete(name, &DeleteParams::default()).await?;
        self.server.until_none(hostname).await
    }
}

impl Times {
    fn add(&mut self, begun: Instant, reached: &Reached, [exported, imported]: [Option<Instant>; 2]) {
        let since = |moment: Instant| moment.saturating_duration_since(begun);
        self.exported.extend(exported.map(since));
        self.imported.extend(imported.map(since));
        self.resolved.push(since(reached.resolved));
        self.answered.push(since(reached.answered));
        self.after_writes.extend(exported.max(imported).map(|last| reached.answered.saturating_duration_since(last)));
    }
}

pub(crate) fn hostname(name: &str) -> String {
    format!("{name}.{NAMESPACE}.{}", crate::TRUST_DOMAIN)
}

/// Lets what the last round has set off come to its end.
async fn rest() {
    tokio::time::sleep(REST).await;
}

/// Prints a line of the table, and answers its median.
fn line(what: &str, samples: &mut [Duration]) -> Duration {
    samples.sort();
    let (median, worst) = (percentile(samples, 0.5), percentile(samples, 0.99));
    println!("{what:<64} {:>8.1} {:>8.1}", median.as_secs_f64() * 1000.0, worst.as_secs_f64() * 1000.0);
    median
}
