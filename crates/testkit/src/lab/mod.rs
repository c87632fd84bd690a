//! Clusters on this machine: the real etcd, kube-apiserver, istiod and Envoy as plain processes, without nodes.
//!
//! ```text
//!   this process (10.77.n.1) ──────── hub, which routes 10.77.n.0/24 ────────┐
//!                                      │               │                     │
//!            namespace of a cluster    │               │   namespace of a pod│
//!            10.77.n.4                 │               │   10.77.n.5         │
//!            ┌─────────────────────────┴──┐         ┌──┴─────────────────────┴──┐
//!            │ etcd ── kube-apiserver     │  ADS    │ Envoy: gateway or sidecar │
//!            │          └── istiod ───────┼────────>│ applications              │
//!            └────────────────────────────┘         └───────────────────────────┘
//! ```
//!
//! - A [`Lab`] is one network with any number of clusters in it, which reach each other and this process.
//! - A [`Cluster`] is etcd and kube-apiserver in a network namespace; [`Cluster::with_istiod`] adds Istio. There is no kubelet:
//!   a pod is an object that says it runs ([`Pod`]), and where it matters a network namespace with real processes in it.
//! - A [`Host`] is such a namespace. This process opens sockets in it ([`Host::listen`], [`Host::connect`]); programs start in it.
//! - A [`Kubelet`] starts the pods of Deployments, as processes: what a chart describes runs as it says.
//! - An [`IstioProxy`] is a stock Envoy that istiod programs, as a gateway or as a sidecar with its redirects.
//!
//! Network namespaces need root. All of it ends with the [`Lab`], also after a panic; what a killed process has left is ended
//! by the next lab on the machine (see `claim`). Programs are built by the install scripts of the folder `lab`, when they are
//! first needed: minutes, once.

mod api;
mod audit;
mod certificates;
mod claim;
mod cluster;
mod istio;
mod kubelet;
mod network;
mod objects;
mod parts;
pub(crate) mod process;
mod spire_controller_manager;
mod trust_zone;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};

pub use audit::Write;
pub use claim::{Joined, Kept, end_orphans, kept};
pub use cluster::{Cluster, TOKEN_ISSUER};
pub use istio::{ISTIO_NAMESPACE, IstioProxy, Mesh, Proxy};
pub use kubelet::{Kubelet, RunningPod};
pub use network::Host;
pub use objects::Pod;
pub use parts::install;
pub use process::Process;
pub use spire_controller_manager::SpireControllerManager;
pub use trust_zone::{TrustZone, merged_kubeconfig};

use claim::Claim;
use network::Network;

/// What stays as the parent of a program that is to outlive this process: an Envoy ends itself when its parent does.
const PARENT: [&str; 4] = ["sh", "-c", "\"$@\" & wait", "sh"];

/// A network of namespaces, and what runs in them.
#[derive(Debug)]
pub struct Lab {
    network: Arc<Network>,
}

impl Lab {
    /// An empty network: milliseconds.
    ///
    /// # Errors
    ///
    /// Without root, or without the Debian packages iproute2, nftables and util-linux.
    pub fn start() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "a lab is made of network namespaces, which need root; run this with sudo");
        Ok(Self { network: Arc::new(Network::create(Claim::next()?)?) })
    }

    /// Starts a cluster: etcd and kube-apiserver, in some five seconds. Several can start at once.
    pub async fn cluster(&self, name: &str) -> Result<Cluster> {
        Cluster::start(&self.network, name).await
    }

    /// A namespace that is no pod of any cluster.
    pub fn host(&self, name: &str) -> Result<Host> {
        self.network.host(name)
    }

    /// The address of this process in the network: everything in the lab reaches what listens on it.
    pub fn address(&self) -> std::net::Ipv4Addr {
        self.network.address()
    }

    /// Which name server the programs of hosts ask that are made from now on; without it, those of this machine.
    pub fn set_resolver(&self, address: std::net::Ipv4Addr) {
        self.network.set_resolver(address);
    }

    /// Goes with the lab. Clusters keep their data, logs and kubeconfigs in it.
    pub fn folder(&self) -> &Path {
        self.network.folder()
    }

    /// Says that it is going to be [kept](Self::keep). What starts from now on can do without this process.
    pub fn to_be_kept(self) -> Self {
        self.network.let_stay();
        self
    }

    /// Leaves everything running when this process ends, until [`Kept::end`]. The note says to whoever finds it what it is.
    pub fn keep<T>(self, clusters_and_proxies: T, note: &str) -> Result<()> {
        self.network.keep(note)?;
        // What is forgotten is not dropped, hence not ended.
        std::mem::forget((self, clusters_and_proxies));
        Ok(())
    }
}
