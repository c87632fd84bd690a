//! What the agent tells Connect: who it is, its zone's bundle, the services of its cluster, how it is doing.
//!
//! ```text
//!  join ───────────────> identity kept in the data folder, once
//!  bundle ─────────────> UpdateTrustZoneBundle, when the zone's authorities change
//!  registrations ──────> Register, Update, DeregisterFederatedService: the difference to what Connect lists
//!  agent_status ───────> UpdateAgentStatus
//! ```
//!
//! Each is a reconciler of its own: what one of them waits for holds up none of the others, and none of them holds up
//! what local clients are served.

pub mod agent_status;
pub mod bundle;
pub mod connect;
pub mod follow;
pub mod join;
pub mod membership;
pub mod registrar;
pub mod registrations;

/// What Connect knows about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRegistration {
    Registered,
    /// Connect knows an earlier form and could not be told of the present one, and why.
    Outdated(String),
    /// Connect said no, and why.
    Refused(String),
    /// Connect does not know the service and could not be asked, and why.
    Unreachable(String),
}
