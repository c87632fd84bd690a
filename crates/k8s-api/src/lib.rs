//! Our custom resources, the kinds of Istio and of spire-controller-manager that we read and write, and manifests of them.
//!
//! ```text
//!  manifest text ─ documents ─ read ──> Read<FederatedService> ─ check(own trust domain) ──> ServiceSpec
//!                               │                                      │
//!                               └─────────── every Problem ────────────┘
//! ```
//!
//! Objects have the shape that Kubernetes gives them; what they mean is checked against the nouns afterwards. Reading is
//! tolerant on purpose: a wrong type, an unknown field and a broken rule are collected side by side, each with the path
//! of its field, a reason and a remedy, so that one attempt tells an owner everything. One bad document of a file says
//! nothing about the others.
//!
//! The same reader takes objects from a cluster ([`FederatedServiceObject::read`]): their definition ([`federated_service::crd`], made
//! from the same types) refuses most mistakes, but it can be older than the agent, so nothing is taken for checked. Of the
//! [`istio`] and [`spire`] kinds we hold the fields that we need. Nothing here talks to an API server.

mod condition;
pub mod federated_service;
mod fields;
pub mod istio;
mod kinds;
pub mod manifest;
mod metadata;
mod problem;
pub mod spire;
pub mod testdata;
pub mod workload_entry;

pub use condition::{Condition, ConditionStatus, set_condition};
pub use federated_service::{
    FederatedService, FederatedServiceObject, FederatedServiceSpec, FederatedServiceStatus, GatewaySpec, ServiceSpec,
};
pub use fields::Read;
pub use kinds::is_applied;
pub use manifest::{Document, Manifest, ManifestError, Object, documents, read_manifests};
pub use metadata::ObjectMeta;
pub use problem::Problem;
pub use workload_entry::{Workload, WorkloadEntry, WorkloadEntrySpec};
