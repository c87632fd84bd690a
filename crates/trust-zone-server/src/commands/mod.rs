//! What the command line does: runs the server, or talks to one through its admin socket.
//!
//! Data goes to stdout, everything else to stderr.

mod authority;
mod bundle;
mod connect;
mod entry;
mod output;

use anyhow::Context;
use clap::CommandFactory;
use cofide_runtime::{build_info, logging, shutdown};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::args::{Args, Command, Connection, RunArgs};
use crate::config::Config;
use connect::{channel, explain};
use output::print;

pub async fn execute(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Run(args) => run(&args).await,
        Command::Entry(command) => entry::execute(command).await,
        Command::Bundle(command) => bundle::execute(command).await,
        Command::Authority(command) => authority::execute(command).await,
        Command::Healthcheck(connection) => healthcheck(&connection).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "trust-zone-server", &mut script);
            print(&script)
        }
        Command::Version => print(format!("{}\n", build_info::line("trust-zone-server")).as_bytes()),
    }
}

async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let config: Config = cofide_runtime::config::load(args.config.as_deref(), args)?;
    logging::init(config.log_format, &config.log_level)?;
    cofide_svid::install_crypto_provider();
    let shutdown = shutdown::on_signal().context("cannot listen for signals")?;
    crate::run::run(config, shutdown).await
}

async fn healthcheck(connection: &Connection) -> anyhow::Result<()> {
    let mut client = HealthClient::new(channel(connection).await?);
    let response = client.check(HealthCheckRequest { service: String::new() }).await.map_err(explain)?.into_inner();
    anyhow::ensure!(
        response.status() == ServingStatus::Serving,
        "the server answers, but does not serve: {}",
        response.status().as_str_name()
    );
    print(b"serving\n")
}
