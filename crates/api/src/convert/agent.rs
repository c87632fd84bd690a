//! `proto.agent.v1alpha1`

use cofide_core::{Agent, AgentState, AgentStatus, Timestamp, UnmetCondition};

use super::{At, FieldError, also_owned, each, enumeration, required, required_timestamp, timestamp};
use crate::types::agent as proto;

impl TryFrom<proto::Agent> for Agent {
    type Error = FieldError;
    /// The status and what is seen of the agent are messages of their own and stay absent.
    fn try_from(message: proto::Agent) -> Result<Self, FieldError> {
        let convert = || {
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                cluster_id: required("cluster_id", message.cluster_id.as_deref())?,
                trust_zone_id: required("trust_zone_id", message.trust_zone_id.as_deref())?,
                status: None,
                spiffe_id: None,
                last_seen_at: None,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("agent")
    }
}

impl From<&Agent> for proto::Agent {
    fn from(agent: &Agent) -> Self {
        Self {
            id: Some(agent.id.to_string()),
            cluster_id: Some(agent.cluster_id.to_string()),
            trust_zone_id: Some(agent.trust_zone_id.to_string()),
            created_at: Some(timestamp(agent.created_at)),
            last_updated_at: Some(timestamp(agent.updated_at)),
        }
    }
}

impl TryFrom<proto::AgentStatus> for AgentStatus {
    type Error = FieldError;
    fn try_from(message: proto::AgentStatus) -> Result<Self, FieldError> {
        let code = enumeration("status", message.status.unwrap_or_default()).at("agent_status")?;
        Ok(Self {
            state: match code.unwrap_or_default() {
                proto::AgentStatusCode::Unspecified => AgentState::Unspecified,
                proto::AgentStatusCode::Running => AgentState::Running,
                proto::AgentStatusCode::Stopped => AgentState::Stopped,
                proto::AgentStatusCode::Error => AgentState::Error,
                proto::AgentStatusCode::Starting => AgentState::Starting,
            },
            message: message.status_message.unwrap_or_default(),
            unmet_conditions: each("unmet_conditions", &message.unmet_conditions, unmet_condition).at("agent_status")?,
            updated_at: Timestamp::from_seconds(message.last_updated.unwrap_or_default()),
        })
    }
}

fn unmet_condition(message: &proto::UnmetCondition) -> Result<UnmetCondition, FieldError> {
    Ok(UnmetCondition {
        hostname: required("hostname", Some(&message.hostname))?,
        kind: required("type", Some(&message.r#type))?,
        reason: message.reason.clone(),
        message: message.message.clone(),
    })
}

impl From<&AgentStatus> for proto::AgentStatus {
    fn from(status: &AgentStatus) -> Self {
        let code = match status.state {
            AgentState::Unspecified => proto::AgentStatusCode::Unspecified,
            AgentState::Running => proto::AgentStatusCode::Running,
            AgentState::Stopped => proto::AgentStatusCode::Stopped,
            AgentState::Error => proto::AgentStatusCode::Error,
            AgentState::Starting => proto::AgentStatusCode::Starting,
        };
        let unmet = |condition: &UnmetCondition| proto::UnmetCondition {
            hostname: condition.hostname.to_string(),
            r#type: condition.kind.as_str().to_owned(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        };
        Self {
            status: Some(code.into()),
            status_message: Some(status.message.clone()),
            last_updated: Some(status.updated_at.as_seconds()),
            unmet_conditions: status.unmet_conditions.iter().map(unmet).collect(),
        }
    }
}

also_owned!(Agent => proto::Agent, AgentStatus => proto::AgentStatus);
