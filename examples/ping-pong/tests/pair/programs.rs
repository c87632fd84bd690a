//! The programs as child processes, read line by line.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(20);

/// A running child whose output is awaited, with all that it has said so far for the moment something fails.
struct Program {
    child: Child,
    /// Read all the time: a program whose output nobody takes stands still sooner or later.
    stdout: mpsc::UnboundedReceiver<String>,
    seen: Vec<String>,
}

impl Program {
    fn start(path: &str, arguments: &[String]) -> Self {
        let mut child = Command::new(path).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, stdout) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, stdout, seen: Vec::new() }
    }

    fn last(&self) -> &[String] {
        &self.seen[self.seen.len().saturating_sub(20)..]
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let search = async {
            while let Some(line) = self.stdout.recv().await {
                self.seen.push(line.clone());
                if wanted(&line) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("the program ended without {what}; it said at last {:#?}", self.last()),
            Err(_) => panic!("no {what} within {DEADLINE:?}; it said at last {:#?}", self.last()),
        }
    }
}

pub(crate) struct Server {
    program: Program,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut program = Program::start(env!("CARGO_BIN_EXE_ping-pong-server"), &all);
        let line = program.until("its address", |line| line.starts_with("listening on ")).await;
        let address = line.trim_start_matches("listening on ").parse().unwrap();
        Self { program, address }
    }

    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.program.until(what, wanted).await
    }

    pub(crate) async fn stop(&mut self) {
        self.program.child.kill().await.unwrap();
    }
}

/// A client that is about to run.
pub(crate) struct Client {
    arguments: Vec<String>,
}

impl Client {
    pub(crate) fn new(connect: &impl ToString) -> Self {
        Self { arguments: vec!["--json".into(), "--connect".into(), connect.to_string()] }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) async fn run(self) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ping-pong-client"));
        command.args(&self.arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends before the deadline").unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Outcome { code: output.status.code(), lines, stderr: String::from_utf8(output.stderr).unwrap() }
    }

    pub(crate) fn start(self) -> Running {
        Running { program: Program::start(env!("CARGO_BIN_EXE_ping-pong-client"), &self.arguments), seen: Vec::new() }
    }
}

/// What a client said that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn assert_code(&self, expected: i32) {
        assert_eq!(self.code, Some(expected), "{self:#?}");
    }
}

/// A client that goes on until it is dropped.
pub(crate) struct Running {
    program: Program,
    pub(crate) seen: Vec<Value>,
}

impl Running {
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let before = self.program.seen.len();
        self.program.until(what, |line| wanted(&serde_json::from_str(line).unwrap())).await;
        self.seen.extend(self.program.seen[before..].iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }

    /// Waits for this many pongs, of any number of pings.
    pub(crate) async fn pongs(&mut self, count: usize) {
        for _ in 0..count {
            self.until("a pong", |line| line["result"] == "pong").await;
        }
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        tokio::time::timeout(DEADLINE, self.program.child.wait()).await.expect("it ends before the deadline").unwrap().code()
    }
}
