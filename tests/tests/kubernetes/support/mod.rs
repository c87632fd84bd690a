//! The world that the tests share, and what they put into it.

mod agent;
mod chart;
mod client;
mod direct;
mod forwarder;
mod server;
mod site;
mod wait;
mod world;

pub(crate) use agent::Agent;
pub(crate) use client::Client;
pub(crate) use direct::Direct;
pub(crate) use forwarder::Forwarder;
pub(crate) use server::{Server, Speaks};
pub(crate) use site::Site;
pub(crate) use wait::{PATIENCE, attempts};
pub(crate) use world::{DIRECT, EXPORTED, Stage, World, federated_service};

/// A program of the workspace. Cargo puts tests into a folder below the programs.
pub(crate) fn program(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.is_file(), "{} is missing; run: cargo build --workspace --bins", path.display());
    path.canonicalize().unwrap()
}
