//! An agent acts for its cluster.

use crate::{AgentId, AgentIdentity, ClusterId, SpiffeId, Timestamp, TrustZoneId};

/// An agent that has joined: one per cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub cluster_id: ClusterId,
    pub trust_zone_id: TrustZoneId,
    pub status: Option<AgentStatus>,
    /// With which it last proved who it is; absent until it has called for the first time after it joined.
    pub spiffe_id: Option<SpiffeId>,
    /// Its last sign of life, to the minute; absent as above.
    pub last_seen_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Agent {
    /// Whether its SPIFFE ID is of the older form, which does not say for which cluster it speaks.
    pub fn names_no_cluster(&self) -> bool {
        let identity = self.spiffe_id.as_ref().and_then(AgentIdentity::from_spiffe_id);
        identity.is_some_and(|identity| identity.cluster_name.is_none())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    pub state: AgentState,
    pub message: String,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Unspecified,
    Running,
    Stopped,
    Error,
    Starting,
}
