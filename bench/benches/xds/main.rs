//! Our xDS server beside go-control-plane, both as processes of their own, both with the same encoded resources.
//!
//! A run starts a server, opens streams that behave as Envoys (clusters first, then the endpoints of all of them, every
//! response acknowledged), and takes the time until the last stream has everything. Then it moves one endpoint after the
//! other, each when every stream has acknowledged the one before. One program drives both servers, in turns.
//! Run: `make bench`.

#![allow(clippy::print_stdout, reason = "what a benchmark prints is its result")]

mod process;
mod serve;
mod streams;
mod world;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use cofide_bench::{Usage, from_lab, median};
use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};

use crate::process::Peer;
use crate::streams::{Envoy, Streams};

const ROUNDS: usize = 3;
/// Clusters (each with an endpoint of its own), streams, changes.
const SIZES: [(usize, usize, usize); 2] = [(1_000, 100, 50), (10_000, 20, 10)];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve::run(&arguments[1..]),
        // `cargo test` builds benchmarks and runs them with --test; there is nothing to assert here.
        Some("--test") => Ok(()),
        _ => compare(),
    }
}

#[tokio::main]
async fn compare() -> anyhow::Result<()> {
    let binary = from_lab("go-control-plane")?;
    let folder = tempfile::tempdir()?;
    println!("{ROUNDS} rounds in turns; medians. CPU is the server's own time.");
    for (clusters, streams, changes) in SIZES {
        let file = folder.path().join(format!("{clusters}.world"));
        std::fs::write(&file, world::encode(clusters))?;
        for dialect in ["delta", "state of the world"] {
            println!("\n{clusters} clusters with an endpoint each, {streams} streams, {dialect}, {changes} changes");
            let size = Size { clusters, streams, changes };
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("serve");
                ours.push(size.run("cofide-xds", command, &file, dialect).await?);
                theirs.push(size.run("go-control-plane", Command::new(&binary), &file, dialect).await?);
            }
            print(&ours, &theirs);
        }
    }
    Ok(())
}

struct Size {
    clusters: usize,
    streams: usize,
    changes: usize,
}

/// One run against one server.
struct Measured {
    snapshot: Duration,
    snapshot_bytes: u64,
    snapshot_usage: Usage,
    snapshot_driver_cpu: Duration,
    change: Duration,
    change_bytes: u64,
    change_cpu: Duration,
    peak_kib: u64,
}

impl Size {
    async fn run(&self, name: &'static str, command: Command, file: &Path, dialect: &str) -> anyhow::Result<Measured> {
        let run = async {
            match dialect {
                "delta" => self.measure::<DeltaDiscoveryResponse>(name, command, file).await,
                _ => self.measure::<DiscoveryResponse>(name, command, file).await,
            }
        };
        tokio::time::timeout(Duration::from_secs(120), run).await.with_context(|| format!("{name} took longer than two minutes"))?
    }

    async fn measure<E: Envoy>(&self, name: &'static str, command: Command, file: &Path) -> anyhow::Result<Measured> {
        let mut peer = Peer::start(name, command, file).await?;
        let (before, driver_before) = (peer.usage()?, Usage::of(std::process::id())?);
        let began = Instant::now();
        let mut streams = Streams::open::<E>(peer.address, self.streams, self.clusters).await?;
        streams.all_have_everything().await?;
        let snapshot = began.elapsed();
        let snapshot_bytes = streams.bytes();
        let (after_snapshot, driver_after) = (peer.usage()?, Usage::of(std::process::id())?);

        let began = Instant::now();
        for change in 0..self.changes {
            let port = u16::try_from(20_000 + change)?;
            peer.move_endpoint(&world::name(change * 37 % self.clusters), port)?;
            streams.all_have_port(port).await?;
        }
        let changes = u32::try_from(self.changes)?;
        let after_changes = peer.usage()?;
        Ok(Measured {
            snapshot,
            snapshot_bytes,
            snapshot_driver_cpu: driver_after.cpu - driver_before.cpu,
            snapshot_usage: Usage { cpu: after_snapshot.cpu - before.cpu, ..after_snapshot },
            change: began.elapsed() / changes,
            change_bytes: (streams.bytes() - snapshot_bytes) / u64::from(changes),
            change_cpu: (after_changes.cpu - after_snapshot.cpu) / changes,
            peak_kib: after_changes.peak_kib,
        })
    }
}

fn print(ours: &[Measured], theirs: &[Measured]) {
    println!("{:<44} {:>12} {:>18} {:>8}", "", "cofide-xds", "go-control-plane", "ratio");
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let row = |what: &str, unit: &str, of: &dyn Fn(&Measured) -> f64| {
        let middle = |all: &[Measured]| median(&mut all.iter().map(of).collect::<Vec<_>>());
        let (ours, theirs) = (middle(ours), middle(theirs));
        println!("{:<44} {ours:>12.2} {theirs:>18.2} {:>8.2}", format!("{what}, {unit}"), ours / theirs);
    };
    row("everything to all streams", "ms", &|run| milliseconds(run.snapshot));
    row("  CPU", "ms", &|run| milliseconds(run.snapshot_usage.cpu));
    row("  CPU of the clients", "ms", &|run| milliseconds(run.snapshot_driver_cpu));
    row("  sent", "MB", &|run| run.snapshot_bytes as f64 / 1e6);
    row("  peak memory", "MiB", &|run| run.snapshot_usage.peak_kib as f64 / 1024.0);
    row("one endpoint to all streams, acknowledged", "ms", &|run| milliseconds(run.change));
    row("  CPU", "ms", &|run| milliseconds(run.change_cpu));
    row("  sent", "kB", &|run| run.change_bytes as f64 / 1e3);
    row("peak memory after all changes", "MiB", &|run| run.peak_kib as f64 / 1024.0);
}
