//! The cluster as its objects describe it: what a source found, valid or not, whatever kind of source it is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cofide_k8s_api::{ServiceSpec, Workload};
use serde::{Deserialize, Serialize};

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
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
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
    /// Whether objects that are in force may be missing: the memory of their last valid versions is lost, and not everything
    /// that was found is valid. Then nothing is withdrawn for not being here.
    pub incomplete: bool,
}
