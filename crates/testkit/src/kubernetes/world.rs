//! Everything that the tests share: Connect, the clusters, and who trusts whom.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use cofide_core::Profile;
use cofide_dns::{Upstream, ZoneHandle};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Client, Direct, PATIENCE, Site, attempts, folder_of_programs, program};
use crate::lab::Lab;
use crate::plane::Plane;

/// What is shared. What runs in the lab ends before the lab.
pub struct World {
    pub server: Site,
    pub client: Site,
    pub plain: Site,
    /// A pod of `client`, with a sidecar.
    pub in_mesh: Client,
    /// A pod of `plain`, with an Envoy of the agent.
    pub outside: Client,
    /// In this process, from `plain`'s zone.
    pub direct: Direct,
    /// In this process, from the zone to which nothing is exported.
    pub stranger: Direct,
    /// Gives out the certificates of Istio itself.
    _istio_authority: DropGuard,
    /// What the resolver of the whole lab answers.
    pub names: ZoneHandle,
    _stop: DropGuard,
    pub plane: Plane,
    pub lab: Lab,
}

/// As whom this process speaks.
pub const DIRECT: &str = "/ns/demo/sa/direct";

/// The names under which Istio's configuration asks for secrets.
fn istio_sds() -> Value {
    json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" })
}

/// An authority that no trust zone knows, as Istio has one: every process of this user is a workload of its mesh. Also gives the
/// socket at which it serves SDS.
async fn istio_authority(plane: &Plane) -> Result<(DropGuard, PathBuf)> {
    let config = serde_json::from_value(json!({
        "trust_domain": "cluster.local",
        "data_dir": plane.folder().join("istio"),
        "sds": istio_sds(),
        "entries": [{ "spiffe_id_path": "/ns/istio-system/sa/default", "selectors": [format!("unix:uid:{}", nix::unistd::getuid())] }],
    }))?;
    let shutdown = CancellationToken::new();
    let server = cofide_trust_zone_server::run::start(config, shutdown.clone()).await?;
    let socket = server.bound().workload_api_socket.clone();
    tokio::spawn(server.wait());
    Ok((shutdown.drop_guard(), socket))
}

/// A zone of a plane, with its SPIFFE server.
async fn zone(plane: &mut Plane, name: &str, trust_domain: &str, profile: Profile) -> Result<usize> {
    let index = plane.create_zone_of(name, trust_domain, profile).await?;
    let zone = &mut plane.zones[index];
    if name == SERVER {
        zone.other_clusters = vec![format!("cluster-{SECOND}")];
    }
    if profile != Profile::Host {
        zone.agent_program = program("cofide-agent")?;
    }
    if profile == Profile::Istio {
        zone.sds = istio_sds();
    }
    zone.start_trust_zone_server().await?;
    Ok(index)
}

impl World {
    /// Starts all of it, with the programs that were built like this one.
    pub async fn start() -> Result<Self> {
        let lab = Lab::start()?;
        lab.set_resolver(lab.address());
        let (names, stop) = (ZoneHandle::new(), CancellationToken::new());
        let _resolver = cofide_dns::serve(&[(lab.address(), 53).into()], names.clone(), Upstream::Nobody, stop.clone()).await?;
        let mut plane = Plane::start_at((lab.address(), 8443).into()).await?;
        let (istio_authority, istio_sds_socket) = istio_authority(&plane).await?;
        let server = zone(&mut plane, SERVER, "local.domain", Profile::Istio).await?;
        let client = zone(&mut plane, "client", "other1.domain", Profile::Istio).await?;
        let plain = zone(&mut plane, "plain", "other2.domain", Profile::Kubernetes).await?;
        let stranger = zone(&mut plane, "stranger", "third.domain", Profile::Host).await?;
        for (one, other) in [(server, client), (server, plain), (client, plain), (server, stranger)] {
            plane.federate_both_ways(one, other).await?;
        }
        let (mut server, mut client, mut plain) = tokio::try_join!(
            Site::start(&lab, &plane, server, "server", Profile::Istio, &istio_sds_socket),
            Site::start(&lab, &plane, client, "client", Profile::Istio, &istio_sds_socket),
            Site::start(&lab, &plane, plain, "plain", Profile::Kubernetes, &istio_sds_socket),
        )?;
        plane.write_bootstrap(stranger, plane.join_token(stranger).await?)?;
        plane.zones[stranger].start_agent().await?;

        // The sidecars of `server` hold the stranger's bundle: that it is refused is not for want of that.
        let others = [client.zone, plain.zone];
        server.bind(&plane, "/ns/demo/sa/server", "ping-pong-server", &others).await?;
        server.bind(&plane, "/ns/demo/sa/proxy", "envoy", &[client.zone, plain.zone, stranger]).await?;
        for (site, partners) in [(&client, [server.zone, plain.zone]), (&plain, [server.zone, client.zone])] {
            site.bind(&plane, "/ns/demo/sa/client", "ping-pong-client", &partners).await?;
            site.bind(&plane, "/ns/demo/sa/server", "ping-pong-server", &partners).await?;
            site.bind(&plane, "/ns/demo/sa/proxy", "envoy", &partners).await?;
        }
        for zone in [plain.zone, stranger] {
            plane.bind(zone, DIRECT, &[server.zone]).await?;
        }
        plane.bind(server.zone, DIRECT, &others).await?;
        tokio::try_join!(server.open_gateways(&lab), client.open_gateways(&lab), plain.open_gateways(&lab))?;
        let (in_mesh, outside, direct, stranger) = tokio::try_join!(
            Client::behind_sidecar(&client, "clients"),
            Client::behind_envoy(&lab, &plain),
            Direct::start(&plane.zones[plain.zone], DIRECT),
            Direct::start(&plane.zones[stranger], DIRECT),
        )?;
        Ok(Self {
            server,
            client,
            plain,
            in_mesh,
            outside,
            direct,
            stranger,
            _istio_authority: istio_authority,
            names,
            _stop: stop.drop_guard(),
            plane,
            lab,
        })
    }

    /// Tries until it works.
    ///
    /// # Panics
    ///
    /// Where it does not within [`PATIENCE`], with the state of everything.
    pub async fn until<T>(&self, what: &str, attempt: impl AsyncFnMut() -> Result<T>) -> T {
        match attempts(PATIENCE, attempt).await {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error}\n{}", self.dump().await),
        }
    }

    /// An answer to both kinds of clients, which do TLS themselves.
    pub async fn is_reached(&self, server: &str) -> [String; 2] {
        [
            self.until(&format!("{server} from outside of a mesh"), async || self.ping_from_outside(server).await).await,
            self.until(&format!("{server} from a mesh"), async || self.ping_from_mesh(server).await).await,
        ]
    }

    /// One answer to each kind of client, now.
    pub async fn is_answered_at_all(&self, server: &str) -> Result<()> {
        self.ping_from_outside(server).await?;
        self.ping_from_mesh(server).await.map(drop)
    }

    pub async fn ping_from_outside(&self, server: &str) -> Result<String> {
        self.outside.ping_mtls(&self.plain, server, "local.domain").await
    }

    pub async fn ping_from_mesh(&self, server: &str) -> Result<String> {
        self.in_mesh.ping_mtls(&self.client, server, "local.domain").await
    }

    /// Waits until a condition of a FederatedService of `server` is as said; gives its message.
    pub async fn condition(&self, namespace: &str, name: &str, kind: &str, expected: (&str, &str)) -> String {
        let what = format!("{kind} of {namespace}/{name} is {expected:?}");
        self.until(&what, async || self.server.has_condition(namespace, name, kind, expected).await).await
    }

    /// Writes the state of everything to a file, and says where that is: it is far too much for a terminal.
    pub async fn dump(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut text = self.plane.dump();
        for site in [&self.server, &self.client, &self.plain] {
            text.push_str(&site.dump().await);
        }
        let proxies = [self.outside.proxy.as_ref(), self.in_mesh.sidecar().map(|sidecar| &sidecar.envoy)];
        for proxy in proxies.into_iter().flatten() {
            text.push_str(&proxy.dump().await);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder_of_programs().unwrap_or_default().join(format!("kubernetes-{number}.dump"));
        match std::fs::write(&path, text) {
            Ok(()) => format!("the state of everything is in {}", path.display()),
            Err(error) => format!("{}: {error}", path.display()),
        }
    }
}

const SERVER: &str = "server";
/// A second cluster of that zone, which one of the tests starts.
pub const SECOND: &str = "second";

pub const EXPORTED: [&str; 2] = ["other1.domain", "other2.domain"];

/// A FederatedService of `server`, whose hostname is `<name>.<namespace>.local.domain`.
pub fn federated_service(namespace: &str, name: &str, app: &str, port: u16, mode: &str) -> Value {
    json!({
        "apiVersion": "registry.cofide.io/v1alpha1",
        "kind": "FederatedService",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "name": name,
            "namespace": namespace,
            "exportedTrustDomains": EXPORTED,
            "workloadLabels": { "app": app },
            "port": port,
            "tlsMode": mode,
        },
    })
}
