//! An agent acts for its cluster.

use crate::{AgentId, AgentIdentity, ClusterId, SpiffeId, Timestamp, TrustZoneId, UnmetCondition};

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
    /// How much of what an agent says is kept, in characters: of its status, and of why it refused a resource.
    pub const LONGEST_WORDS: usize = 1024;

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
    /// What keeps exported services of the cluster from working: of each service the first condition that does not hold.
    pub unmet_conditions: Vec<UnmetCondition>,
    pub updated_at: Timestamp,
}

impl AgentStatus {
    /// More say nothing that one of these does not say already.
    pub const MOST_UNMET_CONDITIONS: usize = 256;
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
