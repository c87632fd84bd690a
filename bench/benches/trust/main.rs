//! How soon trust arrives: between two trust zones on trust-zone-servers, between two on SPIRE, and beside what SPIRE does
//! without us.
//!
//! - [`rotation`]: from a new authority of one zone to a workload of the other that holds it, beside the same two SPIREs with
//!   Connect stopped, where the servers' own polling of bundle endpoints carries it
//! - [`opting_in`]: from `federation add` and `attestation-policy-binding update --federates-with` to workloads that verify each
//!   other
//! - [`entries`]: the first sync of many entries into SPIRE, beside SPIRE's own command line that reads them from a file
//!
//! Connect and the agents run in this process, SPIRE in its own. Go is needed to build SPIRE. Run: `make bench`, or
//! `make bench SHORT=1` to try it out.

#![allow(clippy::print_stdout, reason = "what a benchmark prints is its result")]

mod entries;
mod opting_in;
mod rotation;
mod zones;

use std::time::Duration;

use anyhow::Result;
use cofide_bench::percentile;

use crate::zones::Zones;

/// How much is measured.
struct Size {
    rounds: usize,
    rounds_on_spire: usize,
    rounds_by_polling: usize,
    entries: usize,
}

const WHOLE: Size = Size { rounds: 50, rounds_on_spire: 10, rounds_by_polling: 5, entries: 10_000 };
const SHORT: Size = Size { rounds: 5, rounds_on_spire: 2, rounds_by_polling: 1, entries: 500 };

fn main() -> Result<()> {
    // `cargo test` builds benchmarks and runs them with --test; there is nothing to assert here.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let is_short = std::env::var("COFIDE_BENCH_SHORT").is_ok_and(|short| !short.is_empty());
    tokio::runtime::Runtime::new()?.block_on(Box::pin(run(if is_short { SHORT } else { WHOLE })))
}

async fn run(size: Size) -> Result<()> {
    eprintln!("two zones on trust-zone-servers");
    let zones = Zones::on_trust_zone_servers().await?;
    opting_in::measure("trust-zone-server", &zones, size.rounds).await?;
    rotation::measure("trust-zone-server, through Connect", &zones, size.rounds).await?;
    drop(zones);

    eprintln!("two zones on SPIRE with its own intervals");
    let mut zones = Zones::on_spire().await?;
    opting_in::measure("SPIRE", &zones, size.rounds_on_spire).await?;
    rotation::measure("SPIRE, through Connect", &zones, size.rounds_on_spire).await?;
    zones.plane.stop_connect().await?;
    rotation::measure("SPIRE, by its own polling", &zones, size.rounds_by_polling).await?;
    drop(zones);

    eprintln!("{} entries in SPIRE", size.entries);
    entries::compare(size.entries).await
}

/// One line of a table.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let [median, high, last] = [0.5, 0.99, 1.0].map(|share| percentile(&times, share).as_secs_f64() * 1e3);
    println!("| {what} | {} | {median:.0} | {high:.0} | {last:.0} |", times.len());
}
