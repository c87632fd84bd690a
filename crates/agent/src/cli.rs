//! The command line: a flag and an environment variable for every key of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cofide_runtime::logging::Format;
use cofide_runtime::program::{self, ConfigCommand, Failure, Launch, Program};
use cofide_runtime::{bind, build_info, duration};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::addresses::LoopbackPool;
use crate::bootstrap::EnvoyBootstrap;
use crate::config::{Config, DEFAULT_FILE};
use crate::spire::SpireAccess;

#[derive(Parser)]
#[command(
    name = "cofide-agent",
    about = "Exports local services, imports remote ones, and keeps the trust zone's SPIRE server in step",
    version = build_info::VERSION,
    after_help = "To join: cofidectl agent join-token create --trust-zone ZONE --cluster CLUSTER --output-file bootstrap.yaml\n\
                  and then: cofide-agent run --bootstrap-file bootstrap.yaml --manifest-dir manifests"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the agent until SIGINT or SIGTERM
    Run(Box<Launch<Agent>>),
    /// Print the configuration of an Envoy that takes its listeners and clusters from this agent
    EnvoyBootstrap(Box<EnvoyBootstrap>),
    /// Show configurations
    #[command(subcommand)]
    Config(ConfigCommand<Agent>),
    /// Print the version
    Version,
}

const AGENT_TOKEN: &str = "AGENT_TOKEN";

/// The program itself.
pub struct Agent;

impl Program for Agent {
    const NAME: &'static str = "cofide-agent";
    const CONFIG_VARIABLE: &'static str = "COFIDE_AGENT_CONFIG";
    const VARIABLE_PREFIX: &'static str = "COFIDE_AGENT_";
    const VARIABLES_WITHOUT_FLAG: &'static [(&'static str, &'static str)] = &[("AGENT_TOKEN", AGENT_TOKEN)];
    const DEFAULT_FILE: &'static str = DEFAULT_FILE;
    type Overrides = Overrides;
    type Config = Config;

    fn check(config: &Config) -> Result<(), Failure> {
        config.clone().check()?;
        Ok(())
    }

    fn logging(config: &Config) -> (Format, &str) {
        (config.log_format, &config.log_level)
    }

    fn without_secrets(mut config: Config) -> Config {
        config.agent_token = config.agent_token.map(|_| "(set)".to_owned());
        config
    }

    fn closest(word: &str, known: &[&str]) -> Option<String> {
        cofide_core::closest(word, known.iter().copied()).map(str::to_owned)
    }

    async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        Ok(crate::run::serve(config, shutdown).await?)
    }
}

pub fn execute(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(launch) => launch.run(),
        Command::EnvoyBootstrap(bootstrap) => program::print(&bootstrap.to_json()),
        Command::Config(command) => command.run(),
        Command::Version => program::print_version::<Agent>(),
    }
}

/// The keys of [`crate::config::Config`], each unset unless given.
#[derive(Args, Default, Serialize)]
pub struct Overrides {
    /// What surrounds the agent [default: host]
    #[arg(long, env = "AGENT_PROFILE", value_name = "PROFILE")]
    pub profile: Option<String>,
    /// How the API server is reached [default: by the pod's service account]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of that file [default: its current one]
    #[arg(long, env = "COFIDE_AGENT_KUBE_CONTEXT", value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Namespace of the agent [default: that of its service account]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub pod_namespace: Option<String>,
    /// Name of this agent among those of its cluster [default: that of the machine]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Namespace of the gateways' Services [default: istio-system]
    #[arg(long, env = "COFIDE_AGENT_GATEWAY_NAMESPACE", value_name = "NAME")]
    pub gateway_namespace: Option<String>,
    /// Service of the ingress gateway; empty for none [default: istio-ingressgateway]
    #[arg(long, env = "COFIDE_AGENT_INGRESS_GATEWAY", value_name = "NAME")]
    pub ingress_gateway: Option<String>,
    /// Service of the east-west gateway; empty for none [default: istio-eastwestgateway]
    #[arg(long, env = "COFIDE_AGENT_EAST_WEST_GATEWAY", value_name = "NAME")]
    pub east_west_gateway: Option<String>,
    /// Where remote clients reach the nodes, for gateways of type NodePort, comma-separated or repeated [default: nowhere]
    #[arg(long, env = "COFIDE_AGENT_GATEWAY_NODE_ADDRESSES", value_name = "HOST", value_delimiter = ',')]
    pub gateway_node_addresses: Option<Vec<String>>,
    /// Namespace of istiod [default: istio-system]
    #[arg(long, env = "COFIDE_AGENT_MESH_NAMESPACE", value_name = "NAME")]
    pub mesh_namespace: Option<String>,
    /// ConfigMap from which istiod reads its mesh configuration [default: istio]
    #[arg(long, env = "COFIDE_AGENT_MESH_CONFIG_MAP", value_name = "NAME")]
    pub mesh_config_map: Option<String>,
    /// Deployment of istiod [default: istiod]
    #[arg(long, env = "COFIDE_AGENT_ISTIOD", value_name = "NAME")]
    pub istiod: Option<String>,
    /// Write what the mesh configuration lacks for federated trust domains [default: false]
    #[arg(long, env = "AGENT_MANAGE_MESH_CONFIG", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub manage_mesh_config: Option<bool>,
    /// Namespaces whose services may be of another one, comma-separated or repeated; * for all [default: none]
    #[arg(long, env = "COFIDE_AGENT_CROSS_NAMESPACE_FROM", value_name = "NAMESPACE", value_delimiter = ',')]
    pub cross_namespace_from: Option<Vec<String>>,
    /// Folder for everything that is kept [default: agent-data]
    #[arg(long, env = "COFIDE_AGENT_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Folder with FederatedService and WorkloadEntry manifests [default: manifests]
    #[arg(long, env = "COFIDE_AGENT_MANIFEST_DIR", value_name = "FOLDER")]
    pub manifest_dir: Option<PathBuf>,
    /// File from `cofidectl agent join-token create`; needed once [default: none]
    #[arg(long, env = "COFIDE_AGENT_BOOTSTRAP_FILE", value_name = "FILE")]
    pub bootstrap_file: Option<PathBuf>,
    /// Join token; no flag, because command lines are visible to every process
    #[arg(skip = std::env::var(AGENT_TOKEN).ok())]
    pub agent_token: Option<String>,
    /// Cluster of this agent [default: from the bootstrap file]
    #[arg(long, env = "CLUSTER_ID", value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Name of that cluster [default: from the bootstrap file]
    #[arg(long, env = "COFIDE_AGENT_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Trust zone of the cluster [default: from the bootstrap file]
    #[arg(long, env = "TRUST_ZONE_ID", value_name = "ID")]
    pub trust_zone_id: Option<String>,
    /// Trust domain of the trust zone [default: from the bootstrap file]
    #[arg(long, env = "TRUST_DOMAIN", value_name = "NAME")]
    pub trust_domain: Option<String>,
    /// Where Connect is [default: from the bootstrap file]
    #[arg(long, env = "COFIDE_CONNECT_URL", value_name = "HOST:PORT")]
    pub connect_url: Option<String>,
    /// Connect's own trust domain [default: from the bootstrap file]
    #[arg(long, env = "COFIDE_CONNECT_TRUST_DOMAIN", value_name = "NAME")]
    pub connect_trust_domain: Option<String>,
    /// SPIFFE Workload API, as unix:///path [default: unix:///tmp/spire-agent/public/api.sock]
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", value_name = "URI")]
    pub spiffe_endpoint_socket: Option<String>,
    /// How the SPIRE server is kept in step with Connect [default: auto]
    #[arg(long, env = "AGENT_SPIRE", value_name = "HOW")]
    pub spire: Option<SpireAccess>,
    /// Class of spire-controller-manager for the objects that it gets [default: none]
    #[arg(long, env = "COFIDE_AGENT_SPIRE_CLASS_NAME", value_name = "NAME")]
    pub spire_class_name: Option<String>,
    /// Unix socket of the SPIRE server API [default: /tmp/spire-server/private/api.sock]
    #[arg(long, env = "COFIDE_AGENT_SPIRE_SERVER_SOCKET", value_name = "PATH")]
    pub spire_server_socket: Option<PathBuf>,
    /// Where local Envoys and SDKs fetch their configuration [default: 127.0.0.1:18001]
    #[arg(long, env = "COFIDE_AGENT_XDS_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub xds_address: Option<SocketAddr>,
    /// Where the resolver listens, UDP and TCP [default: 127.0.0.1:10053]
    #[arg(long, env = "COFIDE_AGENT_DNS_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub dns_address: Option<SocketAddr>,
    /// Resolvers for what is not imported, comma-separated or repeated [default: those of the machine]
    #[arg(long, env = "COFIDE_AGENT_DNS_UPSTREAMS", value_name = "IP:PORT", value_delimiter = ',', value_parser = bind::argument)]
    pub dns_upstreams: Option<Vec<SocketAddr>>,
    /// Where the gateway Envoy listens [default: 127.0.0.1:15443]
    #[arg(long, env = "COFIDE_AGENT_GATEWAY_LISTEN_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub gateway_listen_address: Option<SocketAddr>,
    /// How remote zones reach the gateway, comma-separated or repeated [default: the listen address]
    #[arg(long, env = "COFIDE_AGENT_GATEWAY_ADDRESSES", value_name = "HOST:PORT", value_delimiter = ',')]
    pub gateway_addresses: Option<Vec<String>>,
    /// Range in 127.0.0.0/8 for the addresses of imported services [default: 127.64.0.0/10]
    #[arg(long, env = "COFIDE_AGENT_IMPORT_ADDRESSES", value_name = "RANGE")]
    pub import_addresses: Option<LoopbackPool>,
    /// Health, readiness and metrics over HTTP [default: nowhere]
    #[arg(long, env = "COFIDE_AGENT_ADMIN_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub admin_address: Option<SocketAddr>,
    /// How often to look again without being told [default: 30s]
    #[arg(long, env = "COFIDE_AGENT_RESYNC_INTERVAL", value_name = "DURATION", value_parser = duration::argument)]
    pub resync_interval: Option<String>,
    /// How often to read all entries of the SPIRE server again [default: 1m]
    #[arg(long, env = "COFIDE_AGENT_SPIRE_REREAD_INTERVAL", value_name = "DURATION", value_parser = duration::argument)]
    pub spire_reread_interval: Option<String>,
    /// error, warn, info, debug, trace, or directives such as info,cofide_xds=debug [default: info]
    #[arg(long, env = "COFIDE_AGENT_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of the log lines [default: text]
    #[arg(long, env = "COFIDE_AGENT_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use cofide_runtime::conventions;

    /// The variables that the field's charts set, and one that goes with them.
    const ESTABLISHED: [(&str, &str); 13] = [
        ("kubeconfig", "KUBECONFIG"),
        ("pod_namespace", "POD_NAMESPACE"),
        ("pod_name", "POD_NAME"),
        ("profile", "AGENT_PROFILE"),
        ("spire", "AGENT_SPIRE"),
        ("manage_mesh_config", "AGENT_MANAGE_MESH_CONFIG"),
        ("cluster_id", "CLUSTER_ID"),
        ("trust_zone_id", "TRUST_ZONE_ID"),
        ("trust_domain", "TRUST_DOMAIN"),
        ("connect_url", "COFIDE_CONNECT_URL"),
        ("connect_trust_domain", "COFIDE_CONNECT_TRUST_DOMAIN"),
        ("spiffe_endpoint_socket", "SPIFFE_ENDPOINT_SOCKET"),
        ("agent_token", "AGENT_TOKEN"),
    ];

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_key_has_a_flag_and_an_environment_variable() {
        assert_eq!(conventions::breaches::<Agent>(&ESTABLISHED), [""; 0]);
    }

    #[test]
    fn a_flag_reaches_the_configuration() {
        let cli = Cli::parse_from(["cofide-agent", "run", "--xds-address", "127.0.0.1:0", "--gateway-addresses", "a.test:1,b.test:2"]);
        let Command::Run(launch) = cli.command else { panic!("not run") };
        let config: Config = cofide_runtime::config::load(None, &launch.overrides).unwrap();
        assert_eq!(config.xds_address.port(), 0);
        assert_eq!(config.gateway_addresses, ["a.test:1", "b.test:2"]);
    }
}
