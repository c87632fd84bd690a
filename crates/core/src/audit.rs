//! Who did what, when, and whether it was allowed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AuditEventId, SpiffeId, Timestamp};

/// Who asked: a person by the subject of their credential, a workload by its SPIFFE ID, an agent that joins, or the
/// control plane itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    User(String),
    Workload(SpiffeId),
    JoinToken,
    System,
    /// No credential, or none that could be verified.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(subject) => f.write_str(subject),
            Self::Workload(id) => id.fmt(f),
            Self::JoinToken => f.write_str("join-token"),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success,
    Denied,
}

/// The kinds of object that an event can be about, in the words of the audit API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    AttestationPolicy,
    AttestationPolicyBinding,
    Cluster,
    CofideAgent,
    FederatedService,
    Federation,
    Organization,
    TrustZone,
}

/// What happened, in the words of the audit API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    AttestationPolicyCreation,
    AttestationPolicyUpdate,
    AttestationPolicyDeletion,
    AttestationPolicyBindingCreation,
    AttestationPolicyBindingUpdate,
    AttestationPolicyBindingDeletion,
    ClusterCreation,
    ClusterUpdate,
    ClusterDeletion,
    CofideAgentRegistration,
    FederatedServiceRegistration,
    FederatedServiceUpdate,
    FederatedServiceDeregistration,
    FederationCreation,
    FederationDeletion,
    TrustZoneCreation,
    TrustZoneUpdate,
    TrustZoneDeletion,
    /// A call that is no change of its own kind in the audit API: a read, a join token, a status report.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    pub id: AuditEventId,
    pub occurred_at: Timestamp,
    pub kind: EventKind,
    pub message: String,
    pub links: Vec<(EntityKind, String)>,
    /// A JSON snapshot of the object; never a secret.
    pub data: String,
    /// [`Actor`] in its printed form.
    pub actor: String,
    pub source_ip: String,
    pub outcome: Outcome,
    pub server_version: String,
}
