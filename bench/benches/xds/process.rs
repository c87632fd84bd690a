//! A server under measurement.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Of `/proc/PID/stat`; on Linux it is the same on every machine that userspace sees.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    process: Child,
}

/// What a process has used so far.
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
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

impl Usage {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}"));
        // The fields after the program's name, which may hold anything: user and system time are the 14th and 15th of all.
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let ticks: u32 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap_or_default()).sum();
        let status = read("status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM in /proc/PID/status")?;
        let peak_kib = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { cpu: TICK * ticks, peak_kib })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
