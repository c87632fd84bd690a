//! cofide-connect on a free port, and the administrator of it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{DEADLINE, Outcome, Person, Program, Transcript, program};

pub(crate) struct Connect {
    program: Program,
    folder: TempDir,
    /// `host:port` of the TLS listener.
    pub(crate) url: String,
    pub(crate) admin: Person,
}

impl Connect {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags).await
    }

    /// On what a Connect that has ended left behind.
    pub(crate) async fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        let data = folder.path().join("connect");
        let mut command = Self::serve(&data);
        command.args(flags);
        // The greeting is written at once; this line is in it whatever was made.
        let is_up = |log: &str| log.contains("\n  credential  ") && log.ends_with('\n');
        let program = Program::start(command, &folder.path().join("connect.log"), is_up).await;
        let url = listening(&program.log(), "TLS").unwrap();
        let admin = Person::with_credential(&data.join("admin-credential.json"));
        Self { program, folder, url, admin }
    }

    /// `cofide-connect serve` on a data folder and a free port.
    pub(crate) fn serve(data: &Path) -> Command {
        let mut command = Self::command(&["serve", "--data-dir"]);
        // Not by flag, so that a test can name another by one.
        command.arg(data).env("COFIDE_CONNECT_LISTEN_ADDRESS", "127.0.0.1:0");
        command
    }

    pub(crate) fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(program("cofide-connect"));
        command.args(arguments).env_clear().kill_on_drop(true);
        command
    }

    /// Runs one that is expected to end by itself.
    pub(crate) async fn output(mut command: Command) -> Output {
        let output = tokio::time::timeout(DEADLINE, command.output()).await;
        output.unwrap_or_else(|_| panic!("it still runs after {DEADLINE:?}: {command:?}")).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("connect")
    }

    pub(crate) fn credential(&self) -> PathBuf {
        self.data().join("admin-credential.json")
    }

    pub(crate) fn token(&self) -> String {
        let credential: Value = serde_json::from_slice(&std::fs::read(self.credential()).unwrap()).unwrap();
        credential["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// `host:port` of the listener that the greeting calls so.
    pub(crate) fn listening(&self, kind: &str) -> String {
        listening(&self.log(), kind).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    pub(crate) async fn stop(self) -> (ExitStatus, TempDir) {
        (self.program.stop().await, self.folder)
    }

    /// Ends it without a chance to tidy up.
    pub(crate) async fn kill(mut self) -> TempDir {
        self.signal(Signal::SIGKILL);
        self.program.ended().await;
        self.folder
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        self.program.ended().await
    }

    /// cofidectl by the administrator. The access token is in no output whatever.
    pub(crate) async fn cofidectl(&self, line: &str) -> Outcome {
        let outcome = self.admin.cofidectl(line).await;
        let token = self.token();
        assert!(!outcome.stdout.contains(&token) && !outcome.stderr.contains(&token), "the access token is printed by: {line}");
        outcome
    }

    /// As [`Self::cofidectl`], for commands that only set the scene.
    pub(crate) async fn given(&self, lines: &[&str]) {
        for line in lines {
            self.cofidectl(line).await.done();
        }
    }

    pub(crate) async fn json(&self, line: &str) -> Value {
        self.cofidectl(&format!("{line} --output json")).await.done().json()
    }

    /// The id of a trust zone, cluster or policy, as `get` shows it.
    pub(crate) async fn id(&self, get: &str) -> String {
        self.json(get).await["id"].as_str().unwrap().to_owned()
    }

    /// A text without the places that only this run has.
    pub(crate) fn masked(&self, text: &str) -> String {
        text.replace(&self.url, "[connect]").replace(&self.folder().display().to_string(), "[folder]")
    }

    pub(crate) fn transcript(&self) -> Transcript<'_> {
        Transcript::new(self)
    }
}

fn listening(log: &str, kind: &str) -> Option<String> {
    let of_kind = |line: &str| {
        let (address, rest) = line.trim().strip_prefix("listening")?.trim().split_once(' ')?;
        rest.starts_with(&format!("({kind}")).then(|| address.to_owned())
    };
    log.lines().find_map(of_kind)
}
