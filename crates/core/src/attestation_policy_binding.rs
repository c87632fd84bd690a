//! Where a policy applies, and which foreign bundles come with it.
//!
//! A binding applies a policy in a trust zone and names the zones whose bundles its workloads receive, one by one or by a
//! pattern. Without such a name a workload holds its own zone's bundle only, whatever federations exist.

use crate::{AttestationPolicyBindingId, AttestationPolicyId, Name, NamePattern, OrganizationId, Timestamp, TrustZoneId};

/// Of one binding.
pub const MAX_FEDERATES_WITH_PATTERNS: usize = 16;

/// How many zones the patterns of one binding stand for: every workload of the binding holds all their bundles.
pub const MAX_MATCHED_TRUST_ZONES: usize = 256;

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
    /// Stand for those of the zones with which `trust_zone_id` federates whose names they match, also those to come; in the
    /// order given, without duplicates.
    pub federates_with_patterns: Vec<NamePattern>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl AttestationPolicyBinding {
    /// Whether one of the patterns matches the name of a zone.
    pub fn matches(&self, zone: &Name) -> bool {
        self.federates_with_patterns.iter().any(|pattern| pattern.matches(zone))
    }
}
