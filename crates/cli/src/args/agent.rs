//! `cofidectl agent`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    /// List the agents that have joined: who each is, whether it is there, and how far it has come
    #[command(after_help = "Example:\n  cofidectl agent list")]
    List(ListArgs),
    /// Join tokens: how the agent of a cluster first introduces itself
    #[command(subcommand)]
    JoinToken(JoinTokenCommand),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only agents of this trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum JoinTokenCommand {
    /// Create a join token and write the bootstrap file for the agent; an older token of the cluster stops working
    #[command(
        after_help = "Example:\n  cofidectl agent join-token create --trust-zone trust-zone-a \\\n      --cluster cluster-a --output-file \
                            bootstrap.yaml\n\nThe file holds a secret that works once. Hand it to the agent:\n  cofide-agent run \
                            --bootstrap-file bootstrap.yaml"
    )]
    Create(CreateArgs),
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
    /// Name or id of the cluster
    #[arg(long)]
    pub cluster: String,
    /// Where to write it, readable by you alone; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output_file: PathBuf,
    /// Replace the output file if it is there already
    #[arg(long)]
    pub force: bool,
}
