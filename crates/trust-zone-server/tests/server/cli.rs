//! The program as people run it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use cofide_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use cofide_api::workload::{ValidateJwtsvidRequest, X509svidRequest};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::*;

struct Program {
    folder: TempDir,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
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
        let log = Arc::new(Mutex::new(seen));
        // Read on, so that the program never waits for a full pipe.
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { folder, child, log }
    }

    fn workload_socket(&self) -> PathBuf {
        self.folder.path().join("data/workload-api.sock")
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
    let unnamed = run(&["run"]).await;
    assert!(unnamed.contains("missing field `trust_domain`; set it with --trust-domain"), "{unnamed}");
    assert!(run(&["run", "--trust-domain", "A.test"]).await.contains("'A'"));
    assert!(run(&["run", "--config", "/nonexistent.yaml"]).await.contains("/nonexistent.yaml"));
    assert!(run(&["run", "--trust-domain", "a.test", "--ca-ttl", "soon"]).await.contains("not a duration"));
    assert!(run(&["entry", "create", "--spiffe-id-path", "/x", "--selector", "uid"]).await.contains("type:value"));
    let misspelt = run(&["entry", "create", "--spiffe-id-path", "/x", "--selector", "unix:pth:/x"]).await;
    assert!(misspelt.contains("did you mean unix:path:/x?"), "{misspelt}");
    let whole = run(&["entry", "create", "--spiffe-id-path", "spiffe://a.test/x", "--selector", "unix:uid:1"]).await;
    assert!(whole.contains("give the path alone"), "{whole}");
}

#[tokio::test]
async fn a_path_may_lack_its_slash_and_what_the_server_refuses_is_told_in_its_words_alone() {
    let program = Program::start().await;
    let create = ["entry", "create", "--selector", "unix:uid:1", "-o", "json", "--spiffe-id-path"];
    let with = |path: &'static str| [create.as_slice(), &[path]].concat();
    let created: Value = serde_json::from_str(&program.stdout(&with("ns/x")).await).unwrap();
    assert_eq!(created[0]["spiffe_id"], "spiffe://a.test/ns/x");
    let reserved = program.stderr(&with("/spire/x")).await;
    assert!(reserved.contains("reserved") && !reserved.contains("InvalidArgument"), "{reserved}");
}

#[tokio::test]
async fn who_takes_the_workload_socket_for_the_admin_socket_is_told() {
    let program = Program::start().await;
    let socket = program.workload_socket();
    for command in [["entry", "list"].as_slice(), &["bundle", "show"], &["authority", "show"], &["healthcheck"]] {
        let told = program.stderr(&[command, &["--socket", socket.to_str().unwrap()]].concat()).await;
        assert!(told.contains("not the admin socket") && told.contains("admin.sock"), "{command:?}: {told}");
    }
}

/// A user that is not root: this one, or where this is root, one who owns nothing.
fn ordinary_user() -> u32 {
    const NOBODY: u32 = 65534;
    let own = nix::unistd::geteuid();
    if own.is_root() { NOBODY } else { own.as_raw() }
}

/// What the program says to that user.
async fn as_ordinary_user(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trust-zone-server"));
    command.args(arguments).kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        command.uid(ordinary_user()).gid(ordinary_user());
    }
    let output = within("the command", command.output()).await.unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn what_belongs_to_another_user_is_named_once_with_its_owner_and_the_way_out() {
    let user = ordinary_user();
    let run = |data: &str| ["run", "--trust-domain", "a.test", "--data-dir", data].map(str::to_owned);
    let told = async |arguments: Vec<String>| as_ordinary_user(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let missing = told(run("/not-there-either").to_vec()).await;
    assert!(missing.contains("root") && missing.contains(&format!("install -d -m 0700 -o {user}")), "{missing}");
    let foreign = told(run("/usr").to_vec()).await;
    assert!(foreign.contains("/usr belongs to user root (uid 0)") && foreign.contains(&format!("chown -R {user}")), "{foreign}");

    let folder = tempfile::tempdir().unwrap();
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(folder.path(), Some(user.into()), None).unwrap();
    }
    let mut arguments = run(folder.path().to_str().unwrap()).to_vec();
    arguments.extend(["--workload-api-socket", "/not-there.sock"].map(str::to_owned));
    let unwritable = told(arguments).await;
    assert!(unwritable.contains("cannot listen on /not-there.sock"), "{unwritable}");
    assert!(unwritable.contains("/ belongs to user root (uid 0)"), "{unwritable}");
    for text in [missing, foreign, unwritable] {
        assert!(text.matches("Permission denied").count() <= 1 && text.lines().count() == 1, "nothing is said twice: {text}");
    }
}

#[tokio::test]
async fn a_process_without_an_entry_is_told_of_once_with_the_commands_that_give_it_one() {
    let program = Program::start().await;
    let mut client = SpiffeWorkloadApiClient::with_interceptor(channel(&program.workload_socket()).await, with_security_header);
    for _ in 0..3 {
        let mut svids = client.fetch_x509svid(X509svidRequest {}).await.unwrap().into_inner();
        assert_eq!(end(&mut svids).await.code(), tonic::Code::PermissionDenied);
    }
    let executable = std::env::current_exe().unwrap().canonicalize().unwrap();
    let selectors = format!("--selectors {} --selectors unix:path:{}", own_uid(), executable.display());
    let told = async || program.log.lock().unwrap().iter().filter(|line| line.contains("no entry has selectors")).cloned().collect();
    let lines: Vec<String> = eventually("the line", told, |lines: &Vec<String>| !lines.is_empty()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&selectors) && lines[0].contains("attestation-policy-binding add"), "{}", lines[0]);
}

#[tokio::test]
async fn a_process_that_only_checks_a_token_needs_no_entry_and_is_not_told_of() {
    let program = Program::start().await;
    let mut client = SpiffeWorkloadApiClient::with_interceptor(channel(&program.workload_socket()).await, with_security_header);
    let request = ValidateJwtsvidRequest { audience: "x".into(), svid: "no token".into() };
    assert_eq!(client.validate_jwtsvid(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(program.child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let log = async || program.log.lock().unwrap().join("\n");
    let log = eventually("the last line", log, |log: &String| log.contains("stopping")).await;
    assert!(!log.contains("no entry has selectors"), "{log}");
}

#[tokio::test]
async fn a_full_disk_is_told_as_that_and_not_as_a_damaged_key() {
    // Its own user namespace lets an ordinary user mount, where the system allows that.
    let probe = Command::new("unshare").args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).output();
    let allowed = probe.await.is_ok_and(|output| output.status.success());
    assert!(allowed, "this test mounts a file system that is full: run it as root, or allow user namespaces to ordinary users");
    // A file system of one page, in a mount namespace that ends with the program.
    let script = r#"mount -t tmpfs -o size=4k tmpfs "$1" && head -c 4096 /dev/zero > "$1/fill"; exec "$2" run --trust-domain a.test --data-dir "$1""#;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(env!("CARGO_BIN_EXE_trust-zone-server"));
    let output = within("the command", command.kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let expected =
        format!("Error: cannot write {}/x509-authority.json: No space left on device (os error 28); free", folder.path().display());
    assert!(text.starts_with(&expected) && !text.contains("put back a copy"), "{text}");
}
