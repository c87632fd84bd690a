//! What each command does, one file per noun.

mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod bundle_file;
mod cluster;
mod explain;
mod federated_service;
mod federation;
mod manifest;
mod partner;
mod trust_zone;

use clap::CommandFactory;

use crate::args::attestation_policy_binding::BindingCommand;
use crate::args::federated_service::FederatedServiceCommand;
use crate::args::federation::FederationCommand;
use crate::args::{Cli, Command, VersionArgs};
use crate::config::Config;
use crate::connection::Connection;
use crate::error::Result;
use crate::printer::Printer;

/// Runs one command.
pub async fn run(command: Command, config: &Config, printer: &mut Printer<'_>) -> Result<()> {
    match &command {
        Command::Version(args) => return version(args, printer),
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "cofidectl", &mut script);
            return printer.data(&String::from_utf8_lossy(&script));
        }
        // What can be said without asking anybody is said first.
        Command::AttestationPolicyBinding(BindingCommand::Update(args)) if !attestation_policy_binding::asks_for_a_change(args)? => {
            return printer.say("No changes specified");
        }
        Command::Agent(command) => agent::check(command)?,
        Command::Federation(FederationCommand::Import(args)) => partner::check(args)?,
        // Manifests are for Kubernetes; Connect hears of them from the agent.
        Command::FederatedService(FederatedServiceCommand::Create(args)) => return manifest::create(args, printer),
        Command::FederatedService(FederatedServiceCommand::Export(args)) => return manifest::export(args, printer),
        _ => {}
    }
    let connection = Connection::open(config).await?;
    match command {
        Command::TrustZone(command) => trust_zone::run(command, &connection, printer).await,
        Command::Cluster(command) => cluster::run(command, &connection, printer).await,
        Command::Federation(command) => federation::run(command, &connection, printer).await,
        Command::AttestationPolicy(command) => attestation_policy::run(command, &connection, printer).await,
        Command::AttestationPolicyBinding(command) => attestation_policy_binding::run(command, &connection, printer).await,
        Command::FederatedService(command) => federated_service::run(command, &connection, printer).await,
        Command::Agent(command) => agent::run(command, &connection, printer).await,
        Command::Explain(args) => explain::run(args, &connection, printer).await,
        Command::Audit(command) => audit::run(command, &connection, printer).await,
        Command::Version(_) | Command::Completion(_) => Ok(()),
    }
}

fn version(args: &VersionArgs, printer: &mut Printer<'_>) -> Result<()> {
    let mut text = format!("{}\n", cofide_runtime::build_info::line("cofidectl"));
    if args.build_info {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        text.push_str(&format!("architecture: {}\nsystem: {}\nprofile: {profile}\n", std::env::consts::ARCH, std::env::consts::OS));
    }
    printer.data(&text)
}
