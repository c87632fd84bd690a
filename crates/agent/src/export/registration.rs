//! What Connect knows about one service: found out by the registrar, told to the service's owner.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRegistration {
    Registered,
    /// Connect knows an earlier form and could not be told of the present one, and why.
    Outdated(String),
    /// Connect is not told yet, for there is no way to a workload: no gateway, or no backend.
    NotAnnounced,
    /// Connect said no to this service, and why.
    Refused(String),
    /// Connect answered and takes nothing from this agent: what it said, and what to do.
    AgentRefused(String),
    /// Connect does not know the service and could not be asked, and why.
    Unreachable(String),
}
