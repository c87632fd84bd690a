//! Who calls: what authentication found out, in the form in which every rule reads it.

use cofide_core::{Actor, AgentId, ClusterId, Name, SpiffeId, TrustDomain, TrustZoneId};

/// The origin of one call. It comes from a verified credential and the socket alone; nothing in a message or in its
/// metadata can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallContext {
    pub caller: Caller,
    /// The peer's IP address as the socket has it.
    pub source_ip: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A method that asks for no credential, such as a health check.
    Anonymous,
    /// The control plane itself, on its own trust zone.
    System,
    /// An agent that introduces itself with a join token, which is in the message and is checked where it is used up.
    Joining,
    User(User),
    Agent(JoinedAgent),
}

/// A person or a program that holds an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub` of the token; `admin` for the admin credential.
    pub subject: String,
}

/// An agent that has joined, as its certificate names it. It speaks for this zone and this cluster and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedAgent {
    pub id: AgentId,
    pub spiffe_id: SpiffeId,
    pub trust_zone_id: TrustZoneId,
    pub trust_domain: TrustDomain,
    pub cluster_id: ClusterId,
    pub cluster_name: Name,
}

impl CallContext {
    /// The control plane acting on its own.
    pub fn system() -> Self {
        Self { caller: Caller::System, source_ip: String::new() }
    }

    pub fn actor(&self) -> Actor {
        match &self.caller {
            Caller::Anonymous => Actor::Anonymous,
            Caller::System => Actor::System,
            Caller::Joining => Actor::JoinToken,
            Caller::User(user) => Actor::User(user.subject.clone()),
            Caller::Agent(agent) => Actor::Workload(agent.spiffe_id.clone()),
        }
    }

    /// The agent, where the caller is one.
    pub fn agent(&self) -> Option<&JoinedAgent> {
        match &self.caller {
            Caller::Agent(agent) => Some(agent),
            _ => None,
        }
    }
}
