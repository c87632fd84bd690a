//! What the command line does: runs the server, or talks to one through its admin socket.
//!
//! Data goes to stdout, everything else to stderr.

mod authority;
mod bundle;
mod connect;
mod entry;
mod output;

use clap::CommandFactory;
use cofide_runtime::program::{self, Failure};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::args::{Args, Command, Connection, TrustZoneServer};
use connect::{channel, explain};
use output::print;

pub fn execute(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Run(launch) => launch.run(),
        Command::Config(command) => command.run(),
        Command::Entry(command) => call(entry::execute(command)),
        Command::Bundle(command) => call(bundle::execute(command)),
        Command::Authority(command) => call(authority::execute(command)),
        Command::Healthcheck(connection) => call(healthcheck(&connection)),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "trust-zone-server", &mut script);
            program::print(&String::from_utf8_lossy(&script))
        }
        Command::Version => program::print_version::<TrustZoneServer>(),
    }
}

/// Waits for a call to a running server.
fn call(future: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failure> {
    program::block_on(async { Ok(future.await?) })
}

async fn healthcheck(connection: &Connection) -> anyhow::Result<()> {
    let mut client = HealthClient::new(channel(connection).await?);
    let response = client.check(HealthCheckRequest { service: String::new() }).await.map_err(explain)?.into_inner();
    anyhow::ensure!(
        response.status() == ServingStatus::Serving,
        "the server answers, but does not serve: {}",
        response.status().as_str_name()
    );
    print("serving\n")
}
