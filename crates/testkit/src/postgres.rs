//! A real PostgreSQL server of a test's own, in a folder of its own, on a port and a Unix socket of its own.
//!
//! The server refuses to run as root, so root gives it another user. It stops when the process that started it is gone,
//! however that ended: a shell beside it waits for the end of a pipe.
//!
//! This file needs the standard library alone, for the tests of the store include it as it is.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The role to which the databases of tests belong. It may do nothing else.
pub const USER: &str = "connect";
pub const PASSWORD: &str = "let-me-in";

/// Whom root lets the server run as.
const SERVER_USER: &str = "nobody";

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the server until the pipe ends, or says what becomes of the folder then.
const GUARD: &str = r#"
folder=$1; shift
"$@" > "$folder/log" 2>&1 &
server=$!
read -r word
kill -INT $server
wait $server
[ "$word" = keep ] || rm -rf "$folder"
"#;

#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    guard: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// The one that all tests of a process share, each with databases of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One that a test can stop without harm to others.
    pub fn start() -> Self {
        let server = Self::prepare();
        server.begin(&[]);
        server
    }

    /// A server that has not begun yet.
    pub fn prepare() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cofide-postgres-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        // Others may pass through to the socket.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("the folder is new");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let server = Self { folder, port, guard: Mutex::default(), databases: AtomicU32::new(0) };
        server.own(&server.folder);
        let password = server.file("password", PASSWORD);
        let made = server
            .command("initdb")
            // An order of letters that is nobody's in bytes: what depends on the server's set-up is found.
            .args(["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8", "--encoding=UTF8"])
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync", "--pwfile"])
            .arg(password)
            .arg("--pgdata")
            .arg(server.data())
            .output()
            .unwrap_or_else(|error| panic!("cannot run initdb: {error}; run lab/postgres/install"));
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        server
    }

    /// Starts what was prepared or stopped, with further options of the server.
    #[expect(clippy::disallowed_methods, reason = "a condition with a deadline; whoever starts it may have no runtime yet")]
    pub fn begin(&self, options: &[&str]) {
        let program = bin().join("postgres");
        let mut arguments = vec![program.display().to_string(), "-D".into(), self.data().display().to_string()];
        arguments.extend(["-k".into(), self.folder.display().to_string(), "-p".into(), self.port.to_string()]);
        // What the tests write need not outlive the machine.
        let settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=500", "shared_buffers=32MB"];
        arguments.extend(settings.into_iter().chain(options.iter().copied()).flat_map(|setting| ["-c".into(), setting.into()]));
        let child = self
            .unprivileged("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal from the terminal is for the test, which then lets go of the pipe.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        *self.guard() = Some(child);
        let start = Instant::now();
        while self.try_psql("postgres", "SELECT 1").is_err() {
            assert!(start.elapsed() < DEADLINE, "the server does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.psql("postgres", &format!("SELECT 1 FROM pg_roles WHERE rolname = '{USER}'")).is_empty() {
            self.psql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"));
        }
    }

    /// Ends every connection and the server; its data stay.
    pub fn stop(&self) {
        self.end(b"keep\n");
    }

    /// An empty database, as a connection string.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.psql("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        self.url(&name)
    }

    /// The connection string of a database, whether or not there is one of that name.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a statement as the superuser; answers its rows as text.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(bin().join("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--username=postgres",
                "--command",
                sql,
            ])
            .args(["--host=127.0.0.1", &format!("--port={}", self.port), &format!("--dbname={database}")])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A file that the server alone may read.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        self.own(&path);
        path
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.unprivileged(bin().join(program))
    }

    /// As the user that the server runs as.
    fn unprivileged(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        match server_ids() {
            Some((user, group)) => {
                command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]).arg(program.as_ref());
            }
            None => command = Command::new(program.as_ref()),
        }
        command.current_dir(&self.folder).env_remove("PGDATA");
        command
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = server_ids() {
            chown(path, Some(user), Some(group)).unwrap_or_else(|error| panic!("cannot give away {}: {error}", path.display()));
        }
    }

    fn end(&self, word: &[u8]) {
        let Some(mut guard) = self.guard().take() else { return };
        if let Some(mut pipe) = guard.stdin.take() {
            // It may have ended by itself.
            let _ = pipe.write_all(word);
        }
        let _ = guard.wait();
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(b"\n");
        // Where it was never begun, or was stopped.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The user and the group of the server, where this process is root.
fn server_ids() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = users.lines().find(|line| line.starts_with(&format!("{SERVER_USER}:")))?.split(':').skip(2).map(str::parse);
    let ids = (fields.next()?.ok()?, fields.next()?.ok()?);
    is_root.then_some(ids)
}

/// Where the programs of the newest version are, as Debian installs them.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| version(path));
    newest.unwrap_or_else(|| panic!("there is no PostgreSQL in /usr/lib/postgresql; run lab/postgres/install")).join("bin")
}
