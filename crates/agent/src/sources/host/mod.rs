//! A folder of manifests: the source of profile `host`.
//!
//! Every run reads the whole folder. That is cheap (a few small files), needs no bookkeeping about events, and gives the
//! same result after a burst of events, a lost event or a restart. The watcher ([`watch`]) only says when.
//!
//! A folder that cannot be listed is not an empty folder: the last view stays, and the failure is reported.
//!
//! A text that is not valid leaves its last valid version in force. Where the memory of these is lost, the view says so
//! ([`ClusterView::incomplete`](crate::view::ClusterView::incomplete)).

pub mod index;
pub mod scan;
pub mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cofide_core::TrustDomain;
use cofide_runtime::files::FileError;
use tokio_util::sync::CancellationToken;

use crate::published::Wake;
use crate::state::{DataFolder, MANIFESTS, REGISTRATIONS};
use crate::world::World;
use index::Index;
use watch::Watching;

/// Reads the folder into the world's view.
#[derive(Debug)]
pub struct HostSource {
    folder: PathBuf,
    own: TrustDomain,
    data: Arc<DataFolder>,
    world: Arc<World>,
    wake: Wake,
    shutdown: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    index: Index,
    /// Whether the memory on disk is this index: a disk that was full is tried again until it has it.
    is_kept: bool,
    /// Absent while the folder cannot be watched.
    watching: Option<Watching>,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Scan(#[from] scan::ScanError),
    #[error("cannot remember the manifests: {0}; after a restart, conflicts may be decided otherwise")]
    Memory(#[from] FileError),
}

impl HostSource {
    /// `wake` is called when the folder may have changed.
    pub fn open(
        folder: PathBuf,
        own: TrustDomain,
        data: Arc<DataFolder>,
        world: Arc<World>,
        wake: Wake,
        shutdown: CancellationToken,
    ) -> Result<Self, FileError> {
        let index = match data.load(MANIFESTS)? {
            Some(index) => index,
            // What was registered was read from manifests. A folder in which neither was ever kept is that of a first start.
            None if data.has_held(REGISTRATIONS) || data.has_held(MANIFESTS) => Index::without_memory(),
            None => Index::default(),
        };
        Ok(Self { folder, own, data, world, wake, shutdown, state: Mutex::new(State { index, is_kept: true, watching: None }) })
    }

    /// Reads the folder once and publishes what it found.
    pub fn reconcile(&self) -> Result<(), SourceError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the reading, so that no change falls between the two.
        state.watch(self);
        let scan = match scan::scan(&self.folder) {
            Ok(scan) => scan,
            Err(error) => {
                // It may come back as another folder of the same name, which the old watch would not see.
                state.watching = None;
                if self.world.view.get().is_none() {
                    let view = state.index.recall(&self.own, &error.to_string());
                    // Nothing is known about an empty memory: there may be manifests that were never seen.
                    if !view.services.is_empty() || !view.workloads.is_empty() {
                        self.world.view.set(Some(view));
                    }
                }
                return Err(error.into());
            }
        };
        let before = state.index.clone();
        let view = state.index.update(&self.own, &scan);
        state.is_kept &= state.index == before;
        let kept = if state.is_kept { Ok(()) } else { self.data.save(MANIFESTS, &state.index) };
        state.is_kept = kept.is_ok();
        if view.incomplete && !self.world.view.get().as_ref().as_ref().is_some_and(|before| before.incomplete) {
            tracing::warn!(
                "the memory of the manifests is lost and not all of them are valid, so it is not known what else was in force: nothing is \
                 withdrawn from Connect, and the gateway keeps its configuration, until every manifest is valid"
            );
        }
        self.world.view.set(Some(view));
        Ok(kept?)
    }
}

impl State {
    fn watch(&mut self, source: &HostSource) {
        if self.watching.as_ref().is_some_and(|watching| watching.is_of(&source.folder)) {
            return;
        }
        self.watching = match watch::watch(&source.folder, source.wake.clone(), source.shutdown.clone()) {
            Ok(watching) => Some(watching),
            Err(error) => {
                tracing::debug!(folder = %source.folder.display(), %error, "cannot watch the manifest folder; it is only read at intervals");
                None
            }
        };
    }
}

#[cfg(test)]
mod tests;
