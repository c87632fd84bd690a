//! A real Envoy as a child process, and its admin page.
//!
//! The binary is the one that `make envoy` puts into the cache folder, or the one that `COFIDE_ENVOY` names. Envoy picks free
//! ports for its admin page itself; whatever else it listens on comes over xDS. It dies with its [`Envoy`].

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cofide_agent::bootstrap::EnvoyBootstrap;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::wait::eventually;

const START_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Lines of the log that a failure shows.
const LOG_TAIL: usize = 60;

/// As README and `envoy-bootstrap` tell users to start it, but for the base id and the number of threads.
const FLAGS: [&str; 7] = ["--drain-time-s", "2", "--drain-strategy", "immediate", "--use-dynamic-base-id", "--concurrency", "2"];

/// A running Envoy.
pub struct Envoy {
    name: String,
    child: Child,
    admin: SocketAddr,
    folder: TempDir,
}

impl fmt::Debug for Envoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envoy({}, admin {})", self.name, self.admin)
    }
}

/// Where Envoy's binary is.
pub fn binary() -> anyhow::Result<PathBuf> {
    let (path, remedy) = match std::env::var_os("COFIDE_ENVOY") {
        Some(path) => (PathBuf::from(path), "correct the variable COFIDE_ENVOY, or unset it and run: make envoy"),
        None => (Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy"), "run: make envoy"),
    };
    ensure!(path.is_file(), "there is no Envoy at {}; {remedy}", path.display());
    path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
}

impl Envoy {
    /// Starts an Envoy with the bootstrap that the agent writes, and waits until it is live: it has heard from xDS, or has
    /// waited for it long enough.
    pub async fn start(bootstrap: EnvoyBootstrap) -> anyhow::Result<Self> {
        let bootstrap = EnvoyBootstrap { admin_address: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..bootstrap };
        let name = bootstrap.node_id.clone().unwrap_or_else(|| bootstrap.role.node_cluster().to_owned());
        Self::start_with(&name, &bootstrap.to_json(), &[]).await
    }

    /// Starts an Envoy with any bootstrap that has an admin page on port 0. `wrapper` is a command that runs what follows it,
    /// such as `["ip", "netns", "exec", "client"]`; the admin page has to stay reachable from here.
    pub async fn start_with(name: &str, bootstrap: &str, wrapper: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(name, bootstrap, wrapper)?.live().await
    }

    /// Waits until it is live.
    pub(crate) async fn live(mut self) -> anyhow::Result<Self> {
        self.admin = match self.wait_for_admin().await {
            Ok(admin) => admin,
            Err(error) => anyhow::bail!("{error:#}\n{}", self.log_tail()),
        };
        self.until("it is live", "/ready", |answer| answer.starts_with("LIVE")).await;
        Ok(self)
    }

    /// Starts an Envoy whose admin page cannot be reached from here, and does not wait for it.
    pub fn spawn(name: &str, bootstrap: &str, wrapper: &[&str]) -> anyhow::Result<Self> {
        Self::spawn_in(tempfile::tempdir()?, name, bootstrap, wrapper)
    }

    /// As [`Self::spawn`], with its files in this folder.
    pub(crate) fn spawn_in(folder: TempDir, name: &str, bootstrap: &str, wrapper: &[&str]) -> anyhow::Result<Self> {
        let binary = binary()?;
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("bootstrap.json"), bootstrap)?;
        let log = std::fs::File::create(file("log"))?;
        let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([binary.as_os_str()]);
        let child = Command::new(words.next().context("the binary is one word at least")?)
            .args(words)
            .arg("--config-path")
            .arg(file("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            .args(FLAGS)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { name: name.to_owned(), child, admin: SocketAddr::from(([0, 0, 0, 0], 0)), folder })
    }

    async fn wait_for_admin(&mut self) -> anyhow::Result<SocketAddr> {
        let start = Instant::now();
        loop {
            // The address is written without a line feed, so a part of it could parse too; but not without a port.
            let written = std::fs::read_to_string(self.folder.path().join("admin")).unwrap_or_default();
            if let Ok(admin) = written.trim().parse() {
                return Ok(admin);
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{self:?} ended with {status} before it was up");
            }
            ensure!(start.elapsed() < START_DEADLINE, "{self:?} did not open its admin page within {START_DEADLINE:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What the admin page answers at a path, such as `/stats?filter=listener`.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        get(self.admin, path).await
    }

    /// Waits until the answer at a path satisfies the condition.
    ///
    /// # Panics
    ///
    /// When that takes too long, with what the path says.
    pub async fn until(&self, what: &str, path: &str, condition: impl Fn(&str) -> bool) {
        let ask = async || self.admin(path).await.unwrap_or_else(|error| format!("{error:#}"));
        eventually(&format!("{self:?}, {path}: {what}"), ask, |answer| condition(answer)).await;
    }

    /// Waits until a listener of this name accepts connections.
    pub async fn until_listening(&self, listener: &str) {
        let line = format!("{listener}::");
        let listens = |answer: &str| answer.lines().any(|found| found.starts_with(&line));
        self.until(&format!("{listener} listens"), "/listeners", listens).await;
    }

    /// The value of a counter or gauge; 0 where Envoy has no such statistic yet.
    pub async fn stat(&self, name: &str) -> anyhow::Result<u64> {
        let prefix = format!("{name}: ");
        let all = self.admin("/stats").await?;
        Ok(all.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok()).unwrap_or(0))
    }

    /// Everything that helps to see why a test failed. A test that fails while an Envoy lives shows this by itself.
    pub async fn dump(&self) -> String {
        format!("=== {self:?}\n{}{}", pages(self.admin).await, self.log_tail())
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!("=== {}: end of its log\n{}", self.name, lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test harness shows it with the failure.
            let admin = self.admin;
            // There is no way to await here, and perhaps no runtime any more.
            let pages = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map(|runtime| runtime.block_on(pages(admin)))
            });
            let pages = pages.join().ok().and_then(Result::ok).unwrap_or_default();
            eprintln!("=== {self:?}\n{pages}{}", self.log_tail());
        }
        // Kills by pid; the runtime reaps it.
        let _ = self.child.start_kill();
    }
}

/// What an admin page says about all that the Envoy was told.
async fn pages(admin: SocketAddr) -> String {
    let mut text = String::new();
    for path in ["/config_dump", "/listeners", "/clusters"] {
        let page = get(admin, path).await.unwrap_or_else(|error| format!("{error:#}"));
        text.push_str(&format!("=== {path}\n{page}\n"));
    }
    text
}

async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    tokio::time::timeout(Duration::from_secs(10), http_get(admin, path)).await.context("the admin page does not answer")?
}

/// One request on one connection. Envoy's admin page answers in chunks or with a length, and closes when asked to.
async fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the admin page sent no complete answer")?;
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok(body.to_owned());
    }
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, chunk)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk begins with its size")?;
        if size == 0 {
            break;
        }
        text.push_str(chunk.get(..size).context("a chunk is cut off")?);
        rest = chunk.get(size + 2..).unwrap_or("");
    }
    Ok(text)
}
