//! Starts reconcilers, and has them end together.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::leader::Leadership;
use crate::published::Wake;
use crate::reconciler::{self, Pace};

/// After the first failure of a reconciler.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    /// Knows of all that was started.
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    /// How often a reconciler looks that nobody wakes.
    pub interval: Duration,
}

impl Spawner {
    pub(crate) fn pace(&self) -> Pace {
        Pace { interval: self.interval, retry: RETRY }
    }

    /// For what only the leader does: it ends in the middle where another one becomes leader.
    pub(crate) fn as_leader<F, Fut, E>(&self, name: &'static str, wake: Wake, leadership: &Leadership, once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        self.as_leader_at(name, self.pace(), wake, leadership, once);
    }

    pub(crate) fn as_leader_at<F, Fut, E>(&self, name: &'static str, pace: Pace, wake: Wake, leadership: &Leadership, mut once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        leadership.wakes(&wake);
        let leadership = leadership.clone();
        self.tasks.spawn(reconciler::run(name, pace, wake, self.shutdown.clone(), move || {
            let (leadership, work) = (leadership.clone(), once());
            async move { leadership.fenced(work).await.unwrap_or(Ok(())) }
        }));
    }

    pub(crate) fn each<F, Fut, E>(&self, name: &'static str, wake: Wake, once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        self.tasks.spawn(reconciler::run(name, self.pace(), wake, self.shutdown.clone(), once));
    }

    /// For what waits for nobody: it works in memory and on files.
    pub(crate) fn at_once<E: Display + Send + 'static>(
        &self,
        name: &'static str,
        wake: Wake,
        once: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) {
        self.tasks.spawn(reconciler::run_blocking(name, self.pace(), wake, self.shutdown.clone(), self.tasks.clone(), once));
    }
}
