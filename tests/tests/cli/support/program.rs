//! A program that runs until it is told to stop.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::DEADLINE;

/// Killed when dropped. Where a test fails, the program's log is part of what the test prints.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it with its output in the file `log`, and waits until the log says that it is up.
    pub(crate) async fn start(mut command: Command, log: &Path, is_up: impl Fn(&str) -> bool) -> Self {
        let name = Path::new(command.as_std().get_program()).file_name().unwrap().to_string_lossy().into_owned();
        let file = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).kill_on_drop(true);
        let mut program = Self { name, child: command.spawn().unwrap(), log: log.to_owned() };
        let began = Instant::now();
        while !is_up(&program.log()) {
            if let Some(status) = program.child.try_wait().unwrap() {
                panic!("{} ended with {status} before it was up", program.name);
            }
            assert!(began.elapsed() < DEADLINE, "{} is not up within {DEADLINE:?}", program.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        program
    }

    /// Everything that it has printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it is not awaited before it is signalled");
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("{} did not end within {DEADLINE:?}", self.name),
        }
    }

    /// As a service manager stops it.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}----", self.name, self.log());
        }
    }
}
