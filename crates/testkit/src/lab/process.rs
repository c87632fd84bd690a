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
pub struct Process {
    pub(super) name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says is appended to the log.
    pub(crate) fn start(name: &str, mut command: std::process::Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// With what it ended, where it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, as a kubelet does.
    pub async fn terminate(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        tokio::task::spawn_blocking(move || self.child.wait()).await??;
        Ok(())
    }

    /// Everything that it, and those of its name before it, have said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
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
