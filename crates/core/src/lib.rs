//! The nouns of the system, and the rules that hold for each of them wherever it appears.
//!
//! ```text
//!  trust zone ──< cluster ──< agent                    federation: trust zone ──> trust zone (directed)
//!      │             │
//!      │             └──< federated service ── hostname, gateways, exported trust domains
//!      └──< attestation policy binding >── attestation policy
//! ```
//!
//! A value of one of these types has been checked: a [`Hostname`] is a valid DNS name, a [`GatewayAddress`] is a host
//! name or an IP address and never both, a [`TrustDomain`] follows the SPIFFE ID specification. Whatever comes from
//! outside (a manifest, a request, a row) is turned into one of them once, at the edge, and is not checked again.
//!
//! No async, no I/O, no wire format: those live in the crates that depend on this one.

mod age;
mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod bundle;
mod bundle_package;
mod bundle_reading;
mod change;
mod closest;
mod cluster;
mod der;
mod explain;
mod federated_service;
mod federation;
mod gateway;
mod id;
mod import;
mod join_token;
mod name;
mod name_pattern;
mod one_line;
mod organization;
mod receipt;
mod registration;
mod spiffe_id;
mod text;
mod trust_zone;
mod x509_authority;

pub use age::Age;
pub use agent::{Agent, AgentState, AgentStatus};
pub use attestation_policy::{
    AttestationPolicy, KubernetesPolicy, LabelSelector, MatchExpression, PolicyKind, Selector, SelectorError, StaticPolicy, TpmNodePolicy,
};
pub use attestation_policy_binding::{AttestationPolicyBinding, MAX_FEDERATES_WITH_PATTERNS, MAX_MATCHED_TRUST_ZONES};
pub use audit::{Actor, AuditEvent, EntityKind, EventKind, Outcome};
pub use bundle::{Bundle, BundleError, JwtAuthority};
pub use bundle_package::{BundlePackageRecord, PinnedSigner};
pub use bundle_reading::{BundleDigest, BundleDigestError, BundleReading, FoundBundle, HeldBundle};
pub use change::{Change, Noun, NounChange, NounId};
pub use closest::closest;
pub use cluster::{Cluster, Profile, UnknownProfile};
pub use explain::{ConditionKind, Finding, Severity, UnknownConditionKind, UnmetCondition};
pub use federated_service::{
    ExportRefusal, ExportTarget, ExportedService, FederatedService, FederatedServiceError, MAX_EXPORTED_TRUST_DOMAINS, MAX_GATEWAYS,
    MAX_SPIFFE_ID_PATH, MAX_SPIFFE_ID_PATHS, MAX_WORKLOAD_LABELS, ServiceName, SpiffeIdPath, TlsMode, UnknownTlsMode,
};
pub use federation::{Direction, Federation};
pub use gateway::{Gateway, GatewayAddress, GatewayError, GatewayKind, Port};
pub use id::{
    AgentId, AttestationPolicyBindingId, AttestationPolicyId, AuditEventId, ClusterId, FederatedServiceId, FederationId, IdError,
    OrganizationId, TrustZoneId,
};
pub use import::{ImportedGateway, ImportedService};
pub use join_token::{JoinToken, JoinTokenHash, JoinTokenSecret};
pub use name::{DnsLabel, Hostname, Name, NameError};
pub use name_pattern::{NamePattern, NamePatternError};
pub use one_line::one_line;
pub use organization::Organization;
pub use receipt::{Receipt, ReceiptOutcome};
pub use registration::{ControlPlaneTrust, FederatedTrust, WorkloadRegistration};
pub use spiffe_id::{AgentIdentity, CONNECT_SPIFFE_ID_PATH, SpiffeId, TrustDomain, TrustDomainError, parse_trust_domain};
pub use trust_zone::{BundleEndpoint, BundleEndpointProfile, TrustZone};
pub use x509_authority::{X509Authority, X509AuthorityError};

/// A point in the history of the control plane's state: it grows by one with each committed change and never goes back.
pub type Revision = u64;

/// Seconds since the Unix epoch with microsecond resolution, as one integer: microseconds. Chosen because the audit
/// wire format promises microseconds and because it orders and stores as an integer everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    pub fn as_micros(self) -> i64 {
        self.0
    }

    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }
}
