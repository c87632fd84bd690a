//! A workload on go-spiffe: `lab/go-spiffe`, whose page has the lines that it takes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use cofide_testkit::lab::install;
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::PATIENCE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

/// One process with one identity, a server and a client at once. It ends with its value.
pub(crate) struct GoSpiffe {
    pub(crate) spiffe_id: String,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    talk: Mutex<Talk>,
    _process: Child,
}

struct Talk {
    lines: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl fmt::Debug for GoSpiffe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoSpiffe({})", self.spiffe_id)
    }
}

/// Where a zone has the program of this name: workloads are told apart by the path of their program.
pub(crate) async fn program(zone: &Zone, name: &str) -> Result<PathBuf> {
    let path = zone.folder.join(name);
    if !path.exists() {
        std::fs::copy(install("go-spiffe").await?.join("go-spiffe"), &path).context("cannot copy go-spiffe")?;
    }
    Ok(path)
}

impl GoSpiffe {
    /// Binds an identity to a program in the zone, and answers the id of the binding.
    pub(crate) async fn bind(plane: &Plane, zone: usize, name: &str, federates_with: &[usize]) -> Result<String> {
        let program = program(&plane.zones[zone], name).await?;
        plane.bind_program(zone, &path_of(name), &program, federates_with).await
    }

    /// Starts the program, and waits until it has its identity.
    pub(crate) async fn start(zone: &Zone, name: &str) -> Result<Self> {
        let spiffe_id = format!("spiffe://{}{}", zone.trust_domain, path_of(name));
        let log = zone.folder.join(format!("{name}.log"));
        let mut process = Command::new(program(zone, name).await?)
            .arg(zone.workload_api_socket())
            .arg(&spiffe_id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let (lines, answers) = (process.stdin.take().context("no stdin")?, process.stdout.take().context("no stdout")?);
        let mut talk = Talk { lines, answers: BufReader::new(answers).lines() };
        let answer = talk.answer().await.with_context(|| format!("{spiffe_id}: {}", tail(&log)))?;
        let address = answer.strip_prefix("listening ").with_context(|| format!("it says {answer:?}"))?.parse()?;
        Ok(Self { spiffe_id, address, log, talk: Mutex::new(talk), _process: process })
    }

    async fn ask(&self, line: &str) -> Result<String> {
        let mut talk = self.talk.lock().await;
        talk.lines.write_all(format!("{line}\n").as_bytes()).await?;
        talk.answer().await.with_context(|| format!("{} does not answer {line:?}: {}", self.spiffe_id, tail(&self.log)))
    }

    /// The trust domains whose bundles it holds.
    pub(crate) async fn bundles(&self) -> Result<Vec<String>> {
        Ok(self.ask("bundles").await?.split(' ').skip(1).map(str::to_owned).collect())
    }

    /// How many authorities of a trust domain it holds.
    pub(crate) async fn authorities(&self, trust_domain: &str) -> Result<usize> {
        let answer = self.ask(&format!("authorities {trust_domain}")).await?;
        Ok(answer.trim_start_matches("authorities ").parse()?)
    }

    /// The id of the authority that has signed its certificate, as SPIRE counts authorities.
    pub(crate) async fn issuer(&self) -> Result<String> {
        Ok(self.ask("issuer").await?.trim_start_matches("issuer ").to_owned())
    }

    /// One handshake with a server: `Err` within says why there was none.
    pub(crate) async fn call(&self, server: &Self) -> Result<Result<(), String>> {
        let answer = self.ask(&format!("call {} {}", server.address, server.spiffe_id)).await?;
        match answer.split_once(' ') {
            Some(("ok", client)) => {
                ensure!(client == self.spiffe_id, "the server took {} for {client}", self.spiffe_id);
                Ok(Ok(()))
            }
            Some(("failed", reason)) => Ok(Err(reason.to_owned())),
            _ => bail!("it says {answer:?}"),
        }
    }

    /// As many handshakes a second from now on.
    pub(crate) async fn load(&self, server: &Self, rate: u32) -> Result<()> {
        let answer = self.ask(&format!("load {} {} {rate}", server.address, server.spiffe_id)).await?;
        ensure!(answer == "loading", "it says {answer:?}");
        Ok(())
    }

    /// Ends the load, and answers the number of handshakes and the failures among them.
    pub(crate) async fn rest(&self) -> Result<(u64, u64)> {
        let answer = self.ask("rest").await?;
        let mut numbers = answer.split(' ').skip(1).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(handshakes)), Some(Ok(failures))) => Ok((handshakes, failures)),
            _ => bail!("it says {answer:?}"),
        }
    }

    /// What it said on standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Talk {
    async fn answer(&mut self) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await.context("no answer in time")??;
        line.context("it ended")
    }
}

fn path_of(name: &str) -> String {
    format!("/ns/demo/sa/{name}")
}

fn tail(log: &std::path::Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
