//! A program in a namespace, with its log.

use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Lines of the log that a failure shows.
const LOG_TAIL: usize = 60;

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says is appended to the log.
    pub(super) fn start(name: &str, mut command: std::process::Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// With what it ended, where it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, as a kubelet does.
    pub(super) async fn terminate(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        tokio::task::spawn_blocking(move || self.child.wait()).await??;
        Ok(())
    }

    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        format!("=== {}: end of {}\n{}", self.name, self.log.display(), lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // The test harness shows it with the failure.
            eprintln!("{}", self.log_tail());
        }
    }
}
