//! The program as people run it.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::*;

struct Program {
    folder: TempDir,
    child: Child,
}

impl Program {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        std::fs::write(&config, "trust_domain: a.test\nx509_svid_ttl: 10m\n").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_trust-zone-server"))
            .args(["run", "--log-level", "info", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            match within("the program's start", lines.next_line()).await.unwrap() {
                Some(line) if line.contains("serving") => break,
                Some(line) => seen.push(line),
                None => panic!("the program ended: {seen:?}"),
            }
        }
        // Read on, so that the program never waits for a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { folder, child }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("data/admin.sock")
    }

    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust-zone-server"));
        command.args(arguments).env("TRUST_ZONE_SERVER_ADMIN_SOCKET", self.socket());
        within("the command", command.output()).await.unwrap()
    }

    /// What a command that succeeds prints.
    async fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that fails complains.
    async fn stderr(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.stdout.is_empty(), "stdout is for data");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test]
async fn a_person_registers_a_workload_and_rotates_the_authority() {
    let mut program = Program::start().await;
    assert_eq!(program.stdout(&["healthcheck"]).await, "serving\n");
    let create = ["entry", "create", "--spiffe-id-path", "/x", "--selector", "unix:uid:1", "--selector", "unix:path:/a:b", "-o", "json"];
    let created: Value = serde_json::from_str(&program.stdout(&create).await).unwrap();
    assert_eq!(created[0]["spiffe_id"], "spiffe://a.test/x");
    assert_eq!(created[0]["selectors"], serde_json::json!(["unix:path:/a:b", "unix:uid:1"]));
    let id = created[0]["id"].as_str().unwrap();
    let twice = program.stderr(&create).await;
    assert!(twice.contains("registered already") && twice.contains(id), "{twice}");
    let table = program.stdout(&["entry", "list"]).await;
    assert!(table.starts_with("ID") && table.lines().count() == 2 && table.contains("spiffe://a.test/x"), "{table}");

    let bundle = program.stdout(&["bundle", "show"]).await;
    assert!(bundle.contains("x509-svid") && bundle.contains("jwt-svid"), "{bundle}");
    assert!(program.stdout(&["bundle", "show", "--format", "pem"]).await.starts_with("-----BEGIN CERTIFICATE-----"));
    let file = program.folder.path().join("b.json");
    std::fs::write(&file, &bundle).unwrap();
    program.stdout(&["bundle", "set", "--trust-domain", "b.test", file.to_str().unwrap()]).await;
    assert!(program.stdout(&["bundle", "list"]).await.contains("b.test"));
    assert!(program.stderr(&["bundle", "set", "--trust-domain", "a.test", file.to_str().unwrap()]).await.contains("own trust domain"));

    let states = async || {
        let rows: Value = serde_json::from_str(&program.stdout(&["authority", "show", "-o", "json"]).await).unwrap();
        let rows = rows.as_array().unwrap().clone();
        rows.iter().map(|row| format!("{} {}", row["kind"].as_str().unwrap(), row["state"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert!(program.stderr(&["authority", "activate"]).await.contains("authority prepare"));
    program.stdout(&["authority", "prepare"]).await;
    assert_eq!(states().await, ["x509 active", "x509 prepared", "jwt active"]);
    program.stdout(&["authority", "rotate", "--overlap", "10ms"]).await;
    program.stdout(&["authority", "rotate", "--overlap", "10ms", "--kind", "jwt"]).await;
    assert_eq!(states().await, ["x509 active", "x509 old", "jwt active", "jwt old"]);
    program.stdout(&["authority", "retire"]).await;
    assert_eq!(states().await, ["x509 active", "jwt active", "jwt old"]);

    assert_eq!(program.stdout(&["entry", "delete", id]).await, format!("{id}\n"));
    assert!(program.command(&["entry", "delete", id]).await.stderr.starts_with(b"Error: cannot delete"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(program.child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(within("the program's end", program.child.wait()).await.unwrap().success());
    assert!(!program.socket().exists());
    assert!(program.stderr(&["healthcheck"]).await.contains("is it running?"));
}

#[tokio::test]
async fn a_mistake_on_the_command_line_is_named() {
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust-zone-server"));
        command.args(arguments).env_remove("TRUST_ZONE_SERVER_TRUST_DOMAIN");
        let output = within("the command", command.output()).await.unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["run"]).await.contains("trust_domain"));
    assert!(run(&["run", "--trust-domain", "A.test"]).await.contains("'A'"));
    assert!(run(&["run", "--config", "/nonexistent.yaml"]).await.contains("/nonexistent.yaml"));
    assert!(run(&["run", "--trust-domain", "a.test", "--ca-ttl", "soon"]).await.contains("not a duration"));
    assert!(run(&["entry", "create", "--spiffe-id-path", "/x", "--selector", "uid"]).await.contains("type:value"));
}
