//! `cofidectl federated-service`

use clap::{Args, Subcommand};
use cofide_core::TrustDomain;

use super::trust_zone::trust_domain;

#[derive(Subcommand, Debug)]
pub enum FederatedServiceCommand {
    /// List the services that clusters export
    #[command(after_help = "Example:\n  cofidectl federated-service list --exported-to b.example")]
    List(ListArgs),
    /// Show one service; with several clusters behind one hostname, all of them
    #[command(after_help = "Example:\n  cofidectl federated-service get server.demo.a.example")]
    Get(GetArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only services of this trust domain
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub trust_domain: Option<TrustDomain>,
    /// Only services that are exported to this trust domain
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub exported_to: Option<TrustDomain>,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// Hostname or id
    pub hostname: String,
}
