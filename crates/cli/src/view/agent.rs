//! Agents: who each is, whether it is there, and how far it has come.

use cofide_api::connect::receipt_service::AgentStatus;
use cofide_api::types::agent::AgentStatusCode;
use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::Timestamp;
use serde::Serialize;

use super::{from, moment, or_nothing};
use crate::printer::{Table, View};
use crate::resolve::Directory;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentView {
    pub id: String,
    pub trust_zone: String,
    pub cluster: String,
    /// Absent until it has called for the first time after it joined.
    pub spiffe_id: Option<String>,
    pub connected: bool,
    pub last_seen_at: Option<String>,
    /// The revision in effect, where all of it is applied.
    pub applied_revision: Option<u64>,
    /// Resources of its plan that it has not applied in their present form, those that it refused included.
    pub outstanding: u32,
    pub rejected: u32,
    /// `running`, `starting`, `stopped` or `error`, in its own words; absent where it has said nothing.
    pub status: Option<&'static str>,
    pub status_message: Option<String>,
    /// Of `last_seen_at`, for the table.
    #[serde(skip)]
    last_seen: String,
}

impl AgentView {
    pub fn new(status: &AgentStatus, zones: &Directory<TrustZone>, clusters: &Directory<Cluster>, now: Timestamp) -> Self {
        let agent = status.agent.clone().unwrap_or_default();
        let reported = status.reported.as_ref();
        let word = |code| match code {
            AgentStatusCode::Running => Some("running"),
            AgentStatusCode::Starting => Some("starting"),
            AgentStatusCode::Stopped => Some("stopped"),
            AgentStatusCode::Error => Some("error"),
            AgentStatusCode::Unspecified => None,
        };
        let last_seen = match &status.last_seen_at {
            _ if status.connected => "now".to_owned(),
            Some(at) => from(at).age(now).ago(),
            None => "never".to_owned(),
        };
        Self {
            id: agent.id().to_owned(),
            trust_zone: zones.name_of(agent.trust_zone_id()).to_owned(),
            cluster: clusters.name_of(agent.cluster_id()).to_owned(),
            spiffe_id: Some(status.spiffe_id.clone()).filter(|id| !id.is_empty()),
            connected: status.connected,
            last_seen_at: moment!(status.last_seen_at),
            applied_revision: status.applied_revision,
            outstanding: status.outstanding,
            rejected: status.rejected,
            status: reported.and_then(|reported| word(reported.status())),
            status_message: reported.map(|reported| reported.status_message().to_owned()).filter(|message| !message.is_empty()),
            last_seen,
        }
    }

    /// How far it has come, in one cell.
    fn applied(&self) -> String {
        let refused = if self.rejected > 0 { format!(", {} refused", self.rejected) } else { String::new() };
        match self.applied_revision {
            Some(revision) => format!("revision {revision}"),
            None => format!("{} outstanding{refused}", self.outstanding),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct AgentsView(pub Vec<AgentView>);

impl View for AgentsView {
    fn tables(&self) -> Vec<Table> {
        let row = |agent: &AgentView| {
            let status = match (agent.status, &agent.status_message) {
                (Some(status), Some(message)) => format!("{status}: {message}"),
                (status, message) => or_nothing(status.or(message.as_deref())),
            };
            vec![
                agent.trust_zone.clone(),
                agent.cluster.clone(),
                or_nothing(agent.spiffe_id.as_deref()),
                if agent.connected { "yes" } else { "no" }.to_owned(),
                agent.last_seen.clone(),
                agent.applied(),
                status,
            ]
        };
        let header = ["Trust Zone", "Cluster", "SPIFFE ID", "Connected", "Last Seen", "Applied", "Status"];
        vec![Table::new(header).rows(self.0.iter().map(row))]
    }
}
