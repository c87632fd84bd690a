//! Where a policy applies, and which foreign bundles come with it.
//!
//! A binding applies a policy in a trust zone and names the zones whose bundles its workloads receive. Without such a name
//! a workload holds its own zone's bundle only, whatever federations exist.

use crate::{AttestationPolicyBindingId, AttestationPolicyId, OrganizationId, Timestamp, TrustZoneId};

/// Applies a policy in a trust zone. At most one binding per (policy, zone).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationPolicyBinding {
    pub id: AttestationPolicyBindingId,
    pub organization_id: OrganizationId,
    pub trust_zone_id: TrustZoneId,
    pub policy_id: AttestationPolicyId,
    /// The zones whose bundles the workloads receive, in the order given, without duplicates. Each had a federation
    /// from `trust_zone_id` when it was named.
    pub federates_with: Vec<TrustZoneId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
