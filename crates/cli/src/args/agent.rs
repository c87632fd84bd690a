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
    /// Print the values for the agent's Helm chart: who it is, and how it finds and recognises Connect
    #[command(
        after_help = "Examples:\n  cofidectl agent helm-values --trust-zone trust-zone-a --cluster cluster-a \\\n      --with-join-token |\n    \
                            helm install cofide-agent charts/cofide-agent --namespace cofide \\\n      --create-namespace --values -\n\n  \
                            cofidectl agent helm-values --trust-zone trust-zone-a --cluster cluster-a \\\n      --output-file values.yaml\n\nWithout \
                            a token, give one by --set agent.env.AGENT_TOKEN=..., or make a Secret\nof the file of cofidectl agent join-token \
                            create (bootstrap.existingSecret)."
    )]
    HelmValues(HelmValuesArgs),
}

#[derive(Args, Debug)]
pub struct HelmValuesArgs {
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
    /// Name or id of the cluster
    #[arg(long)]
    pub cluster: String,
    /// Create a join token and put it in; an older token of the cluster stops working
    #[arg(long)]
    pub with_join_token: bool,
    /// Where to write them, readable by you alone; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output_file: PathBuf,
    /// Replace the output file if it is there already
    #[arg(long)]
    pub force: bool,
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
