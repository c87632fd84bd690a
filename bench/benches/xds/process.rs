//! A server under measurement.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofide_bench::Usage;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Peer {
    /// Starts `command ADDRESS FILE` and waits until it listens.
    pub(crate) async fn start(name: &'static str, mut command: Command, file: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = command.arg(address.to_string()).arg(file).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let peer = Self { address, process };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if TcpStream::connect(address).is_ok() {
                return Ok(peer);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{name} does not listen at {address} after 20 s")
    }

    pub(crate) fn move_endpoint(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let input = self.process.stdin.as_mut().context("standard input is closed")?;
        writeln!(input, "{name} {port}")?;
        Ok(input.flush()?)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
