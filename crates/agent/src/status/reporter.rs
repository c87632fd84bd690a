//! Puts together what is known about each service, and writes it down.

use std::sync::{Arc, Mutex, PoisonError};

use cofide_runtime::files::FileError;

use super::complaints::Complaints;
use super::judge::{judge, unmet};
use super::now;
use super::render::{History, render};
use super::writer::StatusWriter;
use crate::world::World;
use crate::xds_service::XdsService;

#[derive(Debug)]
pub struct StatusReporter {
    world: Arc<World>,
    xds: Arc<XdsService>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writer: StatusWriter,
    history: History,
    complaints: Complaints,
}

impl StatusReporter {
    pub fn new(world: Arc<World>, xds: Arc<XdsService>, manifests: &std::path::Path) -> Self {
        let (writer, history) = StatusWriter::open(manifests);
        Self { world, xds, state: Mutex::new(State { writer, history, complaints: Complaints::default() }) }
    }

    /// Writes the status of everything in the view, and logs what is newly wrong with a manifest. Before there is a view, nothing is written and nothing removed.
    pub fn reconcile(&self) -> Result<(), FileError> {
        let exports = self.world.exports.get();
        let Some(exports) = exports.as_ref() else { return Ok(()) };
        let judged = judge(exports, &self.world, &self.xds, false);
        self.world.unmet_conditions.set(unmet(&judged));
        let now = now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { writer, history, complaints } = &mut *state;
        complaints.update(&judged, &exports.problems);
        let files = render(&judged, &exports.problems, history, &now);
        writer.apply(&files)
    }
}

#[cfg(test)]
#[path = "reporter_tests.rs"]
mod tests;
