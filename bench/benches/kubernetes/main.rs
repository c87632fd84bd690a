//! Federated Services on Kubernetes, beside Istio objects that somebody writes by hand: three clusters with real API servers,
//! istiods and Envoys, and the agents as the programs that they are, under the rights of their chart.
//!
//! - [`rounds`]: how long it takes from the write of a FederatedService to the first connection from a cluster without a mesh
//!   and from another mesh, and from the write of a ServiceEntry to the first connection in that mesh, in turns
//! - [`many`]: a thousand services at once, and an agent that starts anew with them: time, memory, writes
//!
//! Times begin when the write is sent to the API server, by one client for all of them. Root and Go are needed. Run: `make bench`,
//! or `make bench SHORT=1` to try it out.

#![allow(clippy::print_stdout, reason = "what a benchmark prints is its result")]

mod many;
mod probe;
mod rounds;
mod seen;

use anyhow::Result;
use cofide_testkit::kubernetes::{EXPORTED, Server, Speaks, World};

/// Where everything that is exported runs.
const NAMESPACE: &str = "bench";
const APP: &str = "server";
const PORT: u16 = 8443;
const TRUST_DOMAIN: &str = "local.domain";

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    services: usize,
    /// Rounds beside all of the services.
    rounds_among_many: usize,
}

const WHOLE: Size = Size { rounds: 48, services: 1000, rounds_among_many: 12 };
const SHORT: Size = Size { rounds: 4, services: 50, rounds_among_many: 2 };

fn main() -> Result<()> {
    // `cargo test` builds benchmarks and runs them with --test; there is nothing to assert here.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let is_short = std::env::var("COFIDE_BENCH_SHORT").is_ok_and(|short| !short.is_empty());
    // On this thread: an Envoy ends with the thread that has started it.
    tokio::runtime::Runtime::new()?.block_on(Box::pin(run(if is_short { SHORT } else { WHOLE })))
}

async fn run(size: Size) -> Result<()> {
    eprintln!("starting three clusters, with Istio in two of them");
    let mut world = Box::pin(World::start()).await?;
    let server = Server::start(&world.lab, &world.server, NAMESPACE, APP, PORT, Speaks::Mtls(&EXPORTED)).await?;
    let backend = server.address();
    let bench = rounds::Bench::new(&world, backend).await?;
    println!("{} rounds of each in turns; ms since the write was sent", size.rounds);
    bench.compare(&world, size.rounds).await?;

    many::apply_at_once(&world, &bench, size.services).await?;
    let left = many::withdraw_some(&world, &bench, size.services).await?;
    println!("\nbeside {left} services, {} rounds of each in turns; ms since the write was sent", size.rounds_among_many);
    bench.compare(&world, size.rounds_among_many).await?;
    many::restart_agent(&mut world, left).await
}
