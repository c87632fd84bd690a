//! Tells Connect that the agent is alive, and what it cannot do.

use std::sync::Arc;
use std::time::SystemTime;

use cofide_core::{AgentState, AgentStatus};

use super::connect::{CallError, Connect};
use crate::export::ServiceRegistration;
use crate::world::World;

#[derive(Debug)]
pub struct StatusPush {
    connect: Connect,
    world: Arc<World>,
}

impl StatusPush {
    pub fn new(connect: Connect, world: Arc<World>) -> Self {
        Self { connect, world }
    }

    /// Sends one status; the time in it is what says that the agent is alive.
    pub async fn reconcile(&self) -> Result<(), CallError> {
        let unmet_conditions = self.world.unmet_conditions.get();
        let unmet_conditions = unmet_conditions.iter().take(AgentStatus::MOST_UNMET_CONDITIONS).cloned().collect();
        let message = summary(&self.world);
        let status = AgentStatus { state: AgentState::Running, message, unmet_conditions, updated_at: SystemTime::now().into() };
        self.connect.update_status((&status).into()).await
    }

    /// The last word of an agent that stops on purpose.
    pub async fn stopped(&self) -> Result<(), CallError> {
        let (message, unmet_conditions) = (String::new(), Vec::new());
        let status = AgentStatus { state: AgentState::Stopped, message, unmet_conditions, updated_at: SystemTime::now().into() };
        self.connect.update_status((&status).into()).await
    }
}

fn summary(world: &World) -> String {
    let exports = world.exports.get();
    let offered = exports.iter().flat_map(|exports| &exports.exports).filter(|export| export.offer().is_some()).count();
    let mut parts = vec![format!("{offered} exported, {} imported", world.plan.get().imports().count())];
    let registrations = world.service_registrations.get();
    let refused = registrations.values().filter(|registration| matches!(registration, ServiceRegistration::Refused(_))).count();
    if refused > 0 {
        parts.push(format!("{refused} refused by Connect"));
    }
    if let Some(spire) = world.spire.get().as_ref() {
        if spire.report.has_left_alone() {
            parts.push("the SPIRE server is left to others: AGENT_SPIRE (chart: spire.mode) is none".to_owned());
        }
        match spire.report.unseen() {
            0 => {}
            unseen => parts.push(format!("{unseen} written for spire-controller-manager that nobody has shown to work")),
        }
        parts.extend(spire.report.told_at.as_ref().map(|time| format!("spire-controller-manager last told something new at {time}")));
        parts.extend(spire.report.failures());
    }
    parts.join("; ")
}
