//! Clusters with an agent in each, and everything between them: what the tests and the benchmarks of Kubernetes are made of.
//!
//! ```text
//!   server   local.domain    Istio     what is exported
//!   client   other1.domain   Istio     clients behind sidecars
//!   plain    other2.domain   no mesh   clients behind Envoys of the agent, and SDKs
//!   stranger third.domain    a host    federated with `server`, and nothing is exported to it
//! ```
//!
//! A [`World`] is all of it, and a [`Site`] one cluster: its agent runs as the program that it is, in a pod of its own, with the
//! environment and the rights that its chart gives it. Connect and the SPIFFE servers are in this process
//! ([`Plane`](crate::plane::Plane)). [`Server`] and [`Client`] are the programs of the ping-pong example in pods, [`Direct`] is
//! a client of this process.

mod agent;
mod chart;
mod client;
mod direct;
mod server;
mod site;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use agent::Agent;
pub use client::Client;
pub use direct::Direct;
pub use server::{Server, Speaks};
pub use site::{Gateways, Site};
pub use world::{DIRECT, EXPORTED, SECOND, World, federated_service};

pub use crate::wait::attempts;

/// Far beyond what anything takes, for a machine that compiles at the same time.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Cargo puts tests and benchmarks into a folder below the programs of the same profile.
fn folder_of_programs() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    this.ancestors().nth(2).map(PathBuf::from).context("this program has no folder")
}

/// A program of the workspace.
fn program(name: &str) -> Result<PathBuf> {
    let path = folder_of_programs()?.join(name);
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    ensure!(path.is_file(), "{} is missing; run: cargo build --workspace --bins{profile}", path.display());
    Ok(path.canonicalize()?)
}
