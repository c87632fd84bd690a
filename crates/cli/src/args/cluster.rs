//! `cofidectl cluster`

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use cofide_core::{Name, Profile};

#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Create a cluster in a trust zone
    #[command(after_help = "Example:\n  cofidectl cluster add cluster-a --trust-zone trust-zone-a --profile host")]
    Add(AddArgs),
    /// List the clusters
    #[command(after_help = "Example:\n  cofidectl cluster list --trust-zone trust-zone-a")]
    List(ListArgs),
    /// Show one cluster
    #[command(after_help = "Example:\n  cofidectl cluster get cluster-a --trust-zone trust-zone-a")]
    Get(GetArgs),
    /// Remove a cluster, with its agent and the services that it exports
    #[command(after_help = "Example:\n  cofidectl cluster del cluster-a --trust-zone trust-zone-a")]
    Del(DelArgs),
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// A name for people, unique within the trust zone
    pub name: Name,
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
    /// What surrounds the agent; it cannot change later [default: kubernetes]
    #[arg(long, value_parser = PossibleValuesParser::new(["istio", "kubernetes", "host"]).try_map(|text| text.parse::<Profile>()))]
    pub profile: Option<Profile>,
    /// Context of the cluster in a kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    pub kubernetes_context: Option<String>,
    /// Issuer of the cluster's service account tokens
    #[arg(long, value_name = "URL")]
    pub kubernetes_oidc_issuer: Option<String>,
    /// File with the certificate authority of the issuer
    #[arg(long, value_name = "FILE")]
    pub kubernetes_ca_cert: Option<PathBuf>,
    /// The trust zone's SPIRE server runs outside this cluster
    #[arg(long)]
    pub external_server: bool,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only clusters of this trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: Option<String>,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// Name or id
    pub name: String,
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
}

#[derive(Args, Debug)]
pub struct DelArgs {
    /// Name or id
    pub name: String,
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
    /// Accepted for the sake of older scripts
    #[arg(long, hide = true)]
    pub force: bool,
}
