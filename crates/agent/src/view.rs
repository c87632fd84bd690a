//! The cluster as its objects describe it: what a source found, valid or not, whatever kind of source it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use cofide_core::{Gateway, GatewayKind, Port};
use cofide_k8s_api::{ServiceSpec, Workload};
use serde::{Deserialize, Serialize};

use crate::desired::Backend;

/// The kinds of object that the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    FederatedService,
    WorkloadEntry,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FederatedService => cofide_k8s_api::federated_service::KIND,
            Self::WorkloadEntry => cofide_k8s_api::workload_entry::KIND,
        }
    }
}

/// Names one object, by its metadata and not by what it describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// Where an object was read. Whatever can be read or not be read as a whole is one, and only the source and whoever tells the
/// object's owner look into it: a further kind of source adds its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// A manifest of a host, which may hold several objects.
    File(PathBuf),
    /// An object of the Kubernetes API.
    Object {
        key: ObjectKey,
        /// Tells it from another one that had or will have its name: for owner references and events.
        uid: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object { key, .. } => key.fmt(f),
        }
    }
}

/// A FederatedService as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceObject {
    pub key: ObjectKey,
    pub origin: Origin,
    /// Smaller is older: the order in which objects were first seen, kept over restarts.
    pub age: u64,
    /// Grows with each change of what is asked for.
    pub generation: u64,
    /// The last valid version; absent where there never was one.
    pub spec: Option<ServiceSpec>,
    /// What is wrong with the present version, each with its remedy. Where it is not empty, `spec` is older than what was
    /// written.
    pub problems: Vec<String>,
    /// What stands behind the service, where the source knows it; absent where [`ClusterView::workloads`] say it.
    pub backing: Option<Backing>,
}

/// What a cluster has behind a service: the Kubernetes Service that its labels select, and the endpoints of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// The Kubernetes Service, in the namespace that `spec.namespace` says; absent where there is none, or no single one.
    pub service: Option<String>,
    /// The ports on which pods listen for `spec.port`; several while a rollout changes a named target port.
    pub target_ports: BTreeSet<Port>,
    /// The ready endpoints.
    pub backends: BTreeSet<Backend>,
    /// Why there is no backend.
    pub problem: Option<BackingProblem>,
}

/// Why a service has no backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingProblem {
    /// One of [`crate::export::reasons`].
    pub reason: &'static str,
    /// With what to do.
    pub message: String,
}

/// A gateway of the cluster as its Kubernetes Service describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayService {
    pub kind: GatewayKind,
    pub namespace: String,
    pub name: String,
    /// `LoadBalancer`, `NodePort` or `ClusterIP`.
    pub service_type: String,
    /// The labels of the gateway's pods, from the Service's own selector; never empty.
    pub selector: BTreeMap<String, String>,
    /// The port of the Service through which remote clients enter: what an Istio Gateway's `port.number` names.
    pub port: Port,
    /// How remote clients reach it; empty while it has no address. Sorted, without duplicates.
    pub entries: Vec<Gateway>,
}

/// Everything that a source found, as one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Oldest first.
    pub services: Vec<ServiceObject>,
    /// Sorted by namespace and name.
    pub workloads: Vec<Workload>,
    /// Problems that belong to no service. An origin without problems is not in it.
    pub problems: BTreeMap<Origin, Vec<String>>,
    /// The gateways that were discovered; sorted. Those that the configuration names are not among them.
    pub gateways: Vec<GatewayService>,
    /// Where discovery found less than it looked for: what was looked for, where, and what was seen.
    pub gateway_findings: Vec<String>,
    /// Whether objects that are in force may be missing: the memory of their last valid versions is lost, and not everything
    /// that was found is valid. Then nothing is withdrawn for not being here.
    pub incomplete: bool,
}
