//! The command line, one file per noun.

pub mod agent;
pub mod attestation_policy;
pub mod attestation_policy_binding;
pub mod audit;
pub mod cluster;
pub mod explain;
pub mod federated_service;
pub mod federation;
pub mod trust_zone;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use cofide_runtime::environment::{self, Unread, Variables};

use crate::printer::Format;

#[derive(Parser, Debug)]
#[command(
    name = "cofidectl",
    about = "Connect workloads in different trust domains: trust zones, federations, policies and what comes of them",
    version = cofide_runtime::build_info::VERSION,
    arg_required_else_help = true,
    after_help = "A first look:\n  cofidectl trust-zone list\n  cofidectl federation list\n\n\
                  Exit codes: 0 done, 1 failed, 2 the command line is not valid"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes. Flags win over environment variables, those over the configuration file.
#[derive(Args, Debug, Default, serde::Serialize)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Form of the output on stdout [default: table]
    #[arg(long, short, global = true, env = "COFIDE_OUTPUT", hide_env_values = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Where Connect listens, instead of where the credential says
    #[arg(long, global = true, env = "COFIDE_CONNECT_URL", hide_env_values = true, value_name = "HOST:PORT")]
    pub connect_url: Option<String>,
    /// Credential file [default: ~/.cofide/credentials]
    #[arg(long, global = true, env = "COFIDE_CREDENTIALS", hide_env_values = true, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Configuration file with output, connect_url, credentials and log_level [default: ~/.cofide/config.yaml]
    #[serde(skip)]
    #[arg(long, global = true, env = "COFIDE_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log on stderr: debug, warn, info or error [default: error]
    #[arg(long, global = true, env = "COFIDE_LOG_LEVEL", hide_env_values = true, value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Trust zones: a trust domain with a name
    #[command(subcommand)]
    TrustZone(trust_zone::TrustZoneCommand),
    /// Clusters of trust zones: a Kubernetes cluster or a machine, with one agent
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Federations: one trust zone trusts another
    #[command(subcommand)]
    Federation(federation::FederationCommand),
    /// Attestation policies: which workloads get which identity
    #[command(subcommand)]
    AttestationPolicy(attestation_policy::AttestationPolicyCommand),
    /// Bindings of attestation policies to trust zones, and whose bundles come with them
    #[command(subcommand, visible_alias = "apbinding")]
    AttestationPolicyBinding(attestation_policy_binding::BindingCommand),
    /// Services that clusters export to other trust zones
    #[command(subcommand)]
    FederatedService(federated_service::FederatedServiceCommand),
    /// Agents, one per cluster
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Why a client can or cannot use a service: every link between them, and what mends the first that is broken
    #[command(after_help = "Examples:\n  cofidectl explain --from trust-zone-b --to server.demo.a.test\n  \
                      cofidectl explain --from trust-zone-b/cluster-b --to server.demo.a.test\n\n\
                      Exit codes: 0 every link holds, 1 one does not")]
    Explain(explain::ExplainArgs),
    /// Who did what, when, and whether it was allowed
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print the version
    #[command(after_help = "Example:\n  cofidectl version --build-info")]
    Version(VersionArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  cofidectl completion bash > cofidectl.bash")]
    Completion(CompletionArgs),
}

#[derive(Args, Debug)]
pub struct VersionArgs {
    /// Also print what the program was built for
    #[arg(long)]
    pub build_info: bool,
}

#[derive(Args, Debug)]
pub struct CompletionArgs {
    pub shell: Shell,
}

/// Clap counts a global option that a variable has set among those of the command line and shows it in the usage, between
/// those that are required: whoever has a variable set would be told to type it.
pub(crate) fn without_variables(mistake: &str) -> String {
    let command = <GlobalArgs as Args>::augment_args(clap::Command::new("cofidectl"));
    let flags = command.get_arguments().filter(|argument| argument.get_env().is_some()).filter_map(|argument| {
        let value = argument.get_value_names()?.first()?;
        Some(format!(" --{} <{value}>", argument.get_long()?))
    });
    let flags: Vec<_> = flags.collect();
    let line = |line: &str| {
        let is_usage = line.starts_with("Usage: ");
        flags.iter().filter(|_| is_usage).fold(line.to_owned(), |line, flag| line.replace(flag, ""))
    };
    mistake.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Variables that were probably meant for cofidectl and that it does not read. Those of the other programs begin the same, and
/// scripts have some as well, so only a name that is like one of cofidectl's is taken for one.
pub(crate) fn unread_variables() -> Vec<Unread> {
    let known = environment::of_command(&<GlobalArgs as Args>::augment_args(clap::Command::new("cofidectl"))).collect();
    let variables = Variables { prefix: "COFIDE_", of_others: &[], known };
    let closest = |word: &str, known: &[&str]| cofide_core::closest(word, known.iter().copied()).map(str::to_owned);
    let is_of_others = |name: &str| ["COFIDE_AGENT_", "COFIDE_CONNECT_"].iter().any(|prefix| name.starts_with(prefix));
    let mut unread = variables.unread_here(closest);
    unread.retain(|unread| unread.meant.is_some() && !is_of_others(&unread.name));
    unread
}

/// Checked here and not by the logger, so that a mistake is one of the command line.
pub(crate) fn log_level(text: &str) -> Result<String, String> {
    let level = text.to_lowercase();
    if ["debug", "warn", "info", "error"].contains(&level.as_str()) {
        Ok(level)
    } else {
        Err(format!("unexpected log level {text}, valid levels: debug, warn, info, error"))
    }
}
