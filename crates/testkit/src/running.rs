//! One program of the plane, in this process.

use std::cell::RefCell;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// Lines of a log that a failure shows.
const LOG_TAIL: usize = 40;
/// What a dying runtime may take for the calls that are in the middle of something, such as writing a file.
const END: Duration = Duration::from_secs(10);

/// A program on a runtime of its own. Nothing of it is left when that is gone, so it can be stopped as a signal would,
/// and also ended between one step and the next, as `kill -9` would.
pub(crate) struct Running {
    runtime: OwnRuntime,
    shutdown: CancellationToken,
    stopped: JoinHandle<Result<()>>,
}

impl Running {
    /// Starts what `program` makes: what it tells the plane once it is up, and what it runs until the token is cancelled.
    /// Its log goes to the end of `log`.
    pub(crate) async fn start<T, Start, Run>(log: &Path, program: impl FnOnce(CancellationToken) -> Start) -> Result<(T, Self)>
    where
        T: Send + 'static,
        Start: Future<Output = Result<(T, Run)>> + Send + 'static,
        Run: Future<Output = Result<()>> + Send + 'static,
    {
        let runtime = OwnRuntime::new(log)?;
        let shutdown = CancellationToken::new();
        let (told, run) = runtime.get().spawn(program(shutdown.clone())).await??;
        let stopped = runtime.get().spawn(run);
        Ok((told, Self { runtime, shutdown, stopped }))
    }

    /// Stops it as a signal would, and waits until its sockets and locks are free again.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { runtime, shutdown, stopped } = self;
        shutdown.cancel();
        let outcome = stopped.await;
        runtime.end().await?;
        outcome?
    }

    /// Ends it wherever it is. Whatever it would have done on the way out is not done.
    pub(crate) async fn kill(self) -> Result<()> {
        self.runtime.end().await
    }
}

/// Runtimes must not be dropped where somebody awaits; this one may.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new(log: &Path) -> Result<Self> {
        let log = log_to(log)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(move || keep(&log)).build()?;
        Ok(Self(Some(runtime)))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken out only where it ends")
    }

    async fn end(mut self) -> Result<()> {
        let runtime = self.0.take().context("a runtime ends once")?;
        Ok(tokio::task::spawn_blocking(move || runtime.shutdown_timeout(END)).await?)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    static LOG: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// The log of the thread that calls this goes there until the thread ends.
fn keep(log: &Dispatch) {
    LOG.set(Some(tracing::dispatcher::set_default(log)));
}

fn log_to(path: &Path) -> Result<Dispatch> {
    let file = File::options().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))?;
    let lines = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO).with_writer(Arc::new(file)).finish();
    Ok(Dispatch::new(lines))
}

/// The end of a program's log, with a heading.
pub(crate) fn log_tail(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    format!("=== end of {}\n{}\n", path.display(), lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"))
}

/// Where the executable of this process is: how a SPIFFE server tells its callers apart.
pub(crate) fn this_program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.canonicalize()?)
}
