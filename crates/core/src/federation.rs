//! A federation: one trust zone trusts another.

use crate::{FederationId, Name, OrganizationId, Timestamp, TrustZoneId};

/// `trust_zone_id` trusts `remote_trust_zone_id`. That the remote zone trusts back is another federation; "mutual" is a
/// question asked of two of them, never a flag on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    pub id: FederationId,
    pub organization_id: OrganizationId,
    pub trust_zone_id: TrustZoneId,
    pub remote_trust_zone_id: TrustZoneId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A direction of trust between two zones by name: what a missing federation is called in messages and remedies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Direction {
    pub trust_zone: Name,
    pub remote_trust_zone: Name,
}

impl Direction {
    /// The command that creates the federation.
    pub fn remedy(&self) -> String {
        format!("cofidectl federation add --trust-zone {} --remote-trust-zone {}", self.trust_zone, self.remote_trust_zone)
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.trust_zone, self.remote_trust_zone)
    }
}
