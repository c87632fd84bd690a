//! The cluster as its objects describe it: what a source found, valid or not, whatever kind of source it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use cofide_core::{Gateway, GatewayAddress, Port, ServiceName, SpiffeIdPath, TlsMode, TrustDomain};
use serde::{Deserialize, Serialize};

/// The kinds of object that the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    FederatedService,
    WorkloadEntry,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FederatedService => "FederatedService",
            Self::WorkloadEntry => "WorkloadEntry",
        })
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
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Something that is wrong with an object or a file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a field's path, or a document of a file.
    pub at: String,
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.at, self.reason) }
    }
}

/// What a valid FederatedService asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    /// Never empty, never the own trust domain.
    pub exported_trust_domains: BTreeSet<TrustDomain>,
    pub workload_labels: BTreeMap<String, String>,
    pub port: Port,
    pub tls_mode: TlsMode,
    pub spiffe_id_paths: Vec<SpiffeIdPath>,
    /// Given by hand; where any is, they replace the discovered ones.
    pub gateways: Vec<Gateway>,
}

/// A FederatedService as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceObject {
    pub key: ObjectKey,
    /// Where it was read, for the status beside it.
    pub file: PathBuf,
    /// Smaller is older: the order in which objects were first seen, kept over restarts.
    pub age: u64,
    /// Grows with each change of what is asked for.
    pub generation: u64,
    /// The last valid version; absent where there never was one.
    pub spec: Option<ServiceSpec>,
    /// What is wrong with the present version. Where it is not empty, `spec` is older than what was written.
    pub problems: Vec<Problem>,
}

/// Where a local workload listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub namespace: String,
    pub name: String,
    pub address: GatewayAddress,
    /// Port numbers by name, as the object gives them.
    pub ports: BTreeMap<String, Port>,
    pub labels: BTreeMap<String, String>,
}

/// Everything that a source found, as one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Oldest first.
    pub services: Vec<ServiceObject>,
    /// Sorted by namespace and name.
    pub workloads: Vec<Workload>,
    /// Problems that belong to no service, by file. A file without problems is not in it.
    pub problems: BTreeMap<PathBuf, Vec<Problem>>,
}
