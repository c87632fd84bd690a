//! The command line: a flag and an environment variable for every key of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cofide_runtime::logging::Format;
use cofide_runtime::program::{self, ConfigCommand, Failure, Launch, Program};
use cofide_runtime::{bind, build_info, duration};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, DEFAULT_FILE};
use crate::credential;

#[derive(Parser)]
#[command(
    name = "cofide-connect",
    about = "The control plane: trust zones, federations, policies and federated services, streamed to the agents",
    version = build_info::VERSION,
    after_help = "With no configuration, `cofide-connect serve` listens on 127.0.0.1:8443, keeps its data in ./connect-data and writes an\n\
                  admin credential there for cofidectl."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the control plane until SIGINT or SIGTERM
    Serve(Box<Launch<Connect>>),
    /// Show configurations
    #[command(subcommand)]
    Config(ConfigCommand<Connect>),
    /// Print the admin credential that `serve` keeps in its data folder, where no shell can: from a container
    AdminCredential(AdminCredential),
    /// Print the version
    Version,
}

#[derive(Args)]
pub struct AdminCredential {
    /// The data folder of `serve`
    #[arg(long, env = "COFIDE_CONNECT_DATA_DIR", value_name = "FOLDER", default_value = "connect-data")]
    pub data_dir: PathBuf,
}

const SQL_CONNECTION_STRING: &str = "COFIDE_CONNECT_SQL_CONNECTION_STRING";

/// The program itself.
pub struct Connect;

impl Program for Connect {
    const NAME: &'static str = "cofide-connect";
    const CONFIG_VARIABLE: &'static str = "COFIDE_CONNECT_CONFIG";
    const VARIABLE_PREFIX: &'static str = "COFIDE_CONNECT_";
    /// Where agents and cofidectl find Connect, and how agents know it.
    const VARIABLES_OF_OTHERS: &'static [&'static str] = &["COFIDE_CONNECT_URL", "COFIDE_CONNECT_TRUST_DOMAIN"];
    const VARIABLES_WITHOUT_FLAG: &'static [(&'static str, &'static str)] = &[("SQL_CONNECTION_STRING", SQL_CONNECTION_STRING)];
    const DEFAULT_FILE: &'static str = DEFAULT_FILE;
    type Overrides = Overrides;
    type Config = Config;

    fn check(config: &Config) -> Result<(), Failure> {
        config.clone().check()?;
        Ok(())
    }

    fn without_secrets(mut config: Config) -> Config {
        config.sql_connection_string = config.sql_connection_string.map(|_| "(set)".to_owned());
        config
    }

    fn logging(config: &Config) -> (Format, &str) {
        (config.log_format, &config.log_level)
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
        Command::Serve(launch) => launch.run(),
        Command::Config(command) => command.run(),
        Command::AdminCredential(AdminCredential { data_dir }) => program::print(&credential::read_text(&data_dir)?),
        Command::Version => program::print_version::<Connect>(),
    }
}

/// The keys of [`crate::config::Config`], each unset unless given.
#[derive(Args, Debug, Default, Serialize)]
pub struct Overrides {
    /// Folder for database, keys and admin credential [default: connect-data]
    #[arg(long, env = "COFIDE_CONNECT_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// PostgreSQL database; no flag, because command lines are visible to every process
    #[arg(skip = std::env::var(SQL_CONNECTION_STRING).ok())]
    pub sql_connection_string: Option<String>,
    /// File with the connection string of a PostgreSQL database (postgres://user:password@host/database) [default: SQLite in the data folder]
    #[arg(long, env = "COFIDE_CONNECT_SQL_CONNECTION_STRING_FILE", value_name = "FILE")]
    pub sql_connection_string_file: Option<PathBuf>,
    /// Where users and agents connect, over TLS [default: 127.0.0.1:8443]
    #[arg(long, env = "COFIDE_CONNECT_LISTEN_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub listen_address: Option<SocketAddr>,
    /// Where users may connect without TLS, loopback only [default: nowhere]
    #[arg(long, env = "COFIDE_CONNECT_PLAINTEXT_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub plaintext_address: Option<SocketAddr>,
    /// Health, readiness and metrics over HTTP [default: nowhere]
    #[arg(long, env = "COFIDE_CONNECT_ADMIN_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub admin_address: Option<SocketAddr>,
    /// Where the bundles of all trust zones are served over HTTPS [default: nowhere]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_ENDPOINT_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub bundle_endpoint_address: Option<SocketAddr>,
    /// Certificate chain of the bundle endpoint in PEM, of the public web [default: none]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_ENDPOINT_CERTIFICATE_FILE", value_name = "FILE")]
    pub bundle_endpoint_certificate_file: Option<PathBuf>,
    /// Private key of that certificate in PEM [default: none]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_ENDPOINT_KEY_FILE", value_name = "FILE")]
    pub bundle_endpoint_key_file: Option<PathBuf>,
    /// URL below which partners find <trust zone>/bundle; new trust zones have it as their bundle endpoint [default: none]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_ENDPOINT_URL", value_name = "URL")]
    pub bundle_endpoint_url: Option<String>,
    /// Folder in which the bundle of each trust zone is kept as <trust zone>/bundle [default: none]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_FOLDER", value_name = "FOLDER")]
    pub bundle_folder: Option<PathBuf>,
    /// Shortest time between two fetches from the bundle endpoint of a partner [default: 1m]
    #[arg(long, env = "COFIDE_CONNECT_BUNDLE_POLL_INTERVAL", value_name = "DURATION", value_parser = duration::argument)]
    pub bundle_poll_interval: Option<String>,
    /// Authorities that verify https_web bundle endpoints of partners, in PEM [default: this machine's]
    #[arg(long, env = "COFIDE_CONNECT_WEB_ROOTS_FILE", value_name = "FILE")]
    pub web_roots_file: Option<PathBuf>,
    /// Address at which clients reach the TLS listener [default: derived]
    #[arg(long, env = "COFIDE_CONNECT_CONNECT_URL", value_name = "HOST:PORT")]
    pub connect_url: Option<String>,
    /// Domain below which connect., connect-agent. and xds. are names of this server [default: none]
    #[arg(long, env = "COFIDE_CONNECT_URL_BASE", value_name = "DOMAIN")]
    pub url_base: Option<String>,
    /// Further DNS names for the server's certificate, comma-separated or repeated
    #[arg(long, env = "COFIDE_CONNECT_DNS_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub dns_names: Option<Vec<String>>,
    /// Further IP addresses for the server's certificate, comma-separated or repeated
    #[arg(long, env = "COFIDE_CONNECT_IP_ADDRESSES", value_name = "IP", value_delimiter = ',')]
    pub ip_addresses: Option<Vec<IpAddr>>,
    /// Trust domain of the control plane itself [default: management.local]
    #[arg(long, env = "COFIDE_CONNECT_CONNECT_TRUST_DOMAIN", value_name = "NAME")]
    pub connect_trust_domain: Option<String>,
    /// Path of the control plane's own SPIFFE ID [default: /ns/connect/sa/cofide-connect-api]
    #[arg(long, env = "COFIDE_CONNECT_CONNECT_SPIFFE_ID_PATH", value_name = "PATH")]
    pub connect_spiffe_id_path: Option<String>,
    /// Organization that owns what is created without naming one [default: default]
    #[arg(long, env = "COFIDE_CONNECT_ORGANIZATION", value_name = "NAME")]
    pub organization: Option<String>,
    /// How long a join token can be used [default: 1h]
    #[arg(long, env = "COFIDE_CONNECT_JOIN_TOKEN_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub join_token_ttl: Option<String>,
    /// How long the server's own certificate is valid [default: 1d]
    #[arg(long, env = "COFIDE_CONNECT_SVID_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub svid_ttl: Option<String>,
    /// How long an authority of the control plane's own trust domain is valid [default: 3650d]
    #[arg(long, env = "COFIDE_CONNECT_CA_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub ca_ttl: Option<String>,
    /// How long a client may take for its TLS handshake, and again for its first request [default: 10s]
    #[arg(long, env = "COFIDE_CONNECT_HANDSHAKE_TIMEOUT", value_name = "DURATION", value_parser = duration::argument)]
    pub handshake_timeout: Option<String>,
    /// How many connections may be open [default: 20000]
    #[arg(long, env = "COFIDE_CONNECT_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// How many connections may come from one IP address [default: 2000]
    #[arg(long, env = "COFIDE_CONNECT_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    pub max_connections_per_address: Option<usize>,
    /// How many federated services the agent of one cluster may have registered [default: 1000]
    #[arg(long, env = "COFIDE_CONNECT_MAX_FEDERATED_SERVICES_PER_CLUSTER", value_name = "NUMBER")]
    pub max_federated_services_per_cluster: Option<usize>,
    /// How many changes the agent of one cluster may make in a minute [default: 600]
    #[arg(long, env = "COFIDE_CONNECT_MAX_AGENT_CHANGES_PER_MINUTE", value_name = "NUMBER")]
    pub max_agent_changes_per_minute: Option<u32>,
    /// How long an audit event is kept [default: 90d]
    #[arg(long, env = "COFIDE_CONNECT_AUDIT_RETENTION", value_name = "DURATION", value_parser = duration::argument)]
    pub audit_retention: Option<String>,
    /// How many audit events of agents are kept; those of others go by age alone [default: 1000000]
    #[arg(long, env = "COFIDE_CONNECT_AUDIT_MAX_EVENTS", value_name = "NUMBER")]
    pub audit_max_events: Option<u64>,
    /// error, warn, info, debug, trace, or directives such as info,cofide_xds=debug [default: info]
    #[arg(long, env = "COFIDE_CONNECT_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of the log lines [default: text]
    #[arg(long, env = "COFIDE_CONNECT_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use cofide_runtime::conventions;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_key_has_a_flag_and_an_environment_variable() {
        assert_eq!(conventions::breaches::<Connect>(&[]), [""; 0]);
    }

    #[test]
    fn a_password_is_not_printed() {
        let config = Config { sql_connection_string: Some("postgres://connect:s3cret@db.test/cofide".into()), ..Config::default() };
        assert_eq!(Connect::without_secrets(config).sql_connection_string.as_deref(), Some("(set)"));
    }

    #[test]
    fn a_flag_reaches_the_configuration() {
        let cli = Cli::parse_from(["cofide-connect", "serve", "--listen-address", "127.0.0.1:0", "--dns-names", "a.test,b.test"]);
        let Command::Serve(launch) = cli.command else { panic!("not serve") };
        let config: Config = cofide_runtime::config::load(None, &launch.overrides).unwrap();
        assert_eq!(config.listen_address.port(), 0);
        assert_eq!(config.dns_names, ["a.test", "b.test"]);
        assert_eq!(config.organization, "default");
    }
}
