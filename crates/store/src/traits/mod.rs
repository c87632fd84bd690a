//! What the control plane asks of its database, one pair of traits per noun: reading, and (`..Mut`) writing.
//!
//! Both kinds of transaction read; only the writing one writes. A lookup answers `None` where there is nothing; an update or
//! a deletion of what is not there is [`StoreError::NotFound`](crate::StoreError::NotFound).

mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod bundle_package;
mod bundle_reading;
mod change;
mod cluster;
mod control_plane_secret;
mod federated_service;
mod federation;
mod join_token;
mod organization;
mod receipt;
mod replica;
mod trust_zone;

pub use agent::{Agents, AgentsMut};
pub use attestation_policy::{AttestationPolicies, AttestationPoliciesMut};
pub use attestation_policy_binding::{AttestationPolicyBindings, AttestationPolicyBindingsMut};
pub use audit::{AuditEvents, AuditEventsMut};
pub use bundle_package::{BundlePackages, BundlePackagesMut};
pub use bundle_reading::{BundleReadings, BundleReadingsMut};
pub use change::{Changes, KEPT_CHANGES};
pub use cluster::{Clusters, ClustersMut};
pub use control_plane_secret::{ControlPlaneSecrets, ControlPlaneSecretsMut};
pub use federated_service::{FederatedServices, FederatedServicesMut};
pub use federation::{Federations, FederationsMut};
pub use join_token::{JoinTokenUse, JoinTokens, JoinTokensMut};
pub use organization::{Organizations, OrganizationsMut};
pub use receipt::{Receipts, ReceiptsMut};
pub use replica::{REPLICA_COUNTS_FOR, Replicas, ReplicasMut};
pub use trust_zone::{TrustZones, TrustZonesMut};

use async_trait::async_trait;
use cofide_core::{AuditEvent, Change, Revision};
use tokio::sync::watch;

use crate::Result;

/// A database that holds the control plane's state.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    type Read: Reader;
    type Write: Writer;

    /// One consistent state: what is committed later is not seen.
    async fn begin_read(&self) -> Result<Self::Read>;

    /// Waits until no other writer is left.
    async fn begin_write(&self) -> Result<Self::Write>;

    /// The newest revision, and a wake-up whenever a newer one has been committed, here or by another replica
    /// on the same database.
    fn revisions(&self) -> watch::Receiver<Revision>;
}

/// All that can be read.
pub trait Reader:
    Organizations
    + TrustZones
    + Clusters
    + Agents
    + JoinTokens
    + Federations
    + AttestationPolicies
    + AttestationPolicyBindings
    + FederatedServices
    + AuditEvents
    + Receipts
    + BundlePackages
    + BundleReadings
    + Changes
    + ControlPlaneSecrets
    + Replicas
{
}

impl<T> Reader for T where
    T: Organizations
        + TrustZones
        + Clusters
        + Agents
        + JoinTokens
        + Federations
        + AttestationPolicies
        + AttestationPolicyBindings
        + FederatedServices
        + AuditEvents
        + Receipts
        + BundlePackages
        + BundleReadings
        + Changes
        + ControlPlaneSecrets
        + Replicas
{
}

/// All that can be written. Dropping it leaves everything as it was.
#[async_trait]
pub trait Writer:
    Reader
    + OrganizationsMut
    + TrustZonesMut
    + ClustersMut
    + AgentsMut
    + JoinTokensMut
    + FederationsMut
    + AttestationPoliciesMut
    + AttestationPolicyBindingsMut
    + FederatedServicesMut
    + AuditEventsMut
    + ReceiptsMut
    + ControlPlaneSecretsMut
    + ReplicasMut
    + BundlePackagesMut
    + BundleReadingsMut
{
    /// Makes everything that was written in this transaction lasting and visible, together with the events that tell about
    /// it.
    ///
    /// With a `change` the revision grows by one; without, as after a denied call or a receipt, it stays. Answers the
    /// revision that holds afterwards. On an error nothing was kept, except where the error is that the answer got lost.
    async fn commit(self, change: Option<Change>, events: Vec<AuditEvent>) -> Result<Revision>
    where
        Self: Sized;
}
