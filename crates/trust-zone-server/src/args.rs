//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use cofide_core::Selector;
use cofide_runtime::program::{ConfigCommand, Failure, Launch, Program};
use cofide_runtime::{bind, build_info, duration, logging};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::attestation;
use crate::config::{Config, DEFAULT_ADMIN_SOCKET, DEFAULT_FILE};

/// A small SPIFFE server for laptops, demonstrations and tests
///
/// It issues X.509-SVIDs and JWT-SVIDs to local processes over the SPIFFE Workload API and Envoy's SDS, and is managed
/// through the same APIs as a SPIRE server. For production use SPIRE.
#[derive(Parser)]
#[command(name = "trust-zone-server", version = build_info::VERSION, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the server until SIGINT or SIGTERM
    #[command(after_long_help = "Examples:
  A server for one user, everything in ./trust-zone-server-data:
    trust-zone-server run --trust-domain a.test

  From a file, with the bundle published for federation partners:
    trust-zone-server run --config a.yaml --bundle-endpoint-address 127.0.0.1:8443

Flags win over environment variables, and these over the file.")]
    Run(Box<Launch<TrustZoneServer>>),
    /// Show configurations
    #[command(subcommand)]
    Config(ConfigCommand<TrustZoneServer>),
    /// Manage registration entries: which processes get which SPIFFE ID
    #[command(subcommand)]
    Entry(EntryCommand),
    /// Show and set trust bundles
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Show and rotate the authorities that sign SVIDs
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Ask a running server whether it serves; fails if not
    #[command(after_long_help = "Example:\n  trust-zone-server healthcheck --socket trust-zone-server-data/admin.sock")]
    Healthcheck(Connection),
    /// Print a completion script for a shell
    #[command(after_long_help = "Example:\n  trust-zone-server completion bash > /etc/bash_completion.d/trust-zone-server")]
    Completion { shell: clap_complete::Shell },
    /// Print the version
    Version,
}

/// The program itself.
pub struct TrustZoneServer;

impl Program for TrustZoneServer {
    const NAME: &'static str = "trust-zone-server";
    const CONFIG_VARIABLE: &'static str = "TRUST_ZONE_SERVER_CONFIG";
    const VARIABLE_PREFIX: &'static str = "TRUST_ZONE_SERVER_";
    const DEFAULT_FILE: &'static str = DEFAULT_FILE;
    type Overrides = Overrides;
    type Config = Config;

    fn check(config: &Config) -> Result<(), Failure> {
        Ok(config.check()?)
    }

    fn logging(config: &Config) -> (logging::Format, &str) {
        (config.log_format, &config.log_level)
    }

    fn closest(word: &str, known: &[&str]) -> Option<String> {
        cofide_core::closest(word, known.iter().copied()).map(str::to_owned)
    }

    async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        Ok(crate::run::run(config, shutdown).await?)
    }
}

/// What is set here replaces the same key of the file.
#[derive(Debug, Default, ClapArgs, Serialize)]
pub struct Overrides {
    /// The trust domain whose identities this server issues, as in a.test
    #[arg(long, env = "TRUST_ZONE_SERVER_TRUST_DOMAIN", value_name = "NAME")]
    pub trust_domain: Option<String>,
    /// Folder for keys, entries and bundles [default: trust-zone-server-data]
    #[arg(long, env = "TRUST_ZONE_SERVER_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Socket of the Workload API and SDS [default: workload-api.sock in the data folder]
    #[arg(long, env = "TRUST_ZONE_SERVER_WORKLOAD_API_SOCKET", value_name = "PATH")]
    pub workload_api_socket: Option<PathBuf>,
    /// Socket of the SPIRE server APIs [default: admin.sock in the data folder]
    #[arg(long, env = "TRUST_ZONE_SERVER_ADMIN_SOCKET", value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Health, readiness and metrics over HTTP [default: nowhere]
    #[arg(long, env = "TRUST_ZONE_SERVER_ADMIN_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub admin_address: Option<SocketAddr>,
    /// How many connections one user may have open to the socket of the Workload API and SDS [default: 256]
    #[arg(long, env = "TRUST_ZONE_SERVER_MAX_CONNECTIONS_PER_USER", value_name = "NUMBER")]
    pub max_connections_per_user: Option<usize>,
    #[command(flatten)]
    pub bundle_endpoint: BundleEndpointArgs,
    /// Life of X.509-SVIDs [default: 1h]
    #[arg(long, env = "TRUST_ZONE_SERVER_X509_SVID_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub x509_svid_ttl: Option<String>,
    /// Life of JWT-SVIDs [default: 5m]
    #[arg(long, env = "TRUST_ZONE_SERVER_JWT_SVID_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub jwt_svid_ttl: Option<String>,
    /// Life of the certificate authority [default: 1d]
    #[arg(long, env = "TRUST_ZONE_SERVER_CA_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub ca_ttl: Option<String>,
    /// Life of the keys that sign JWT-SVIDs [default: 1d]
    #[arg(long, env = "TRUST_ZONE_SERVER_JWT_KEY_TTL", value_name = "DURATION", value_parser = duration::argument)]
    pub jwt_key_ttl: Option<String>,
    #[command(flatten)]
    pub federation: FederationArgs,
    /// Log lines for people or for machines
    #[arg(long, env = "TRUST_ZONE_SERVER_LOG_FORMAT")]
    pub log_format: Option<logging::Format>,
    /// error, warn, info, debug or trace, or directives as in info,cofide_trust_zone_server=debug [default: info]
    #[arg(long, env = "TRUST_ZONE_SERVER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
}

#[derive(Debug, Default, ClapArgs, Serialize)]
pub struct BundleEndpointArgs {
    /// Publish the bundle (https_spiffe) at this address
    #[arg(long = "bundle-endpoint-address", env = "TRUST_ZONE_SERVER_BUNDLE_ENDPOINT_ADDRESS", value_name = "IP:PORT", value_parser = bind::argument)]
    pub address: Option<SocketAddr>,
}

#[derive(Debug, Default, ClapArgs, Serialize)]
pub struct FederationArgs {
    /// Never ask a federation partner for its bundle more often than this [default: 1m]
    #[arg(long, env = "TRUST_ZONE_SERVER_MINIMUM_POLL_INTERVAL", value_name = "DURATION", value_parser = duration::argument)]
    pub minimum_poll_interval: Option<String>,
    /// Ask a partner this often whose bundle carries no refresh hint [default: 5m]
    #[arg(long, env = "TRUST_ZONE_SERVER_DEFAULT_POLL_INTERVAL", value_name = "DURATION", value_parser = duration::argument)]
    pub default_poll_interval: Option<String>,
}

/// Where the running server is.
#[derive(Clone, Debug, ClapArgs)]
pub struct Connection {
    /// The server's admin socket
    #[arg(long, env = "TRUST_ZONE_SERVER_ADMIN_SOCKET", value_name = "PATH", default_value = DEFAULT_ADMIN_SOCKET)]
    pub socket: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns, for people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub enum EntryCommand {
    /// Register a workload
    #[command(after_long_help = "Examples:
  Every process of user 1000:
    trust-zone-server entry create --spiffe-id-path /ns/demo/sa/client --selector unix:uid:1000

  One program, which may also talk to workloads of b.test:
    trust-zone-server entry create --spiffe-id-path /ns/demo/sa/server \\
      --selector unix:uid:1000 --selector unix:path:/usr/bin/server --federates-with b.test")]
    Create(CreateEntryArgs),
    /// List the entries
    List {
        #[command(flatten)]
        connection: Connection,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Delete entries by ID
    #[command(alias = "del")]
    Delete {
        #[command(flatten)]
        connection: Connection,
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

fn selector(text: &str) -> Result<Selector, String> {
    let selector = text.parse()?;
    attestation::check(&selector)?;
    Ok(selector)
}

/// As `cofidectl` takes it: the slash at the beginning may be left out.
fn path(text: &str) -> Result<String, String> {
    match text {
        _ if text.contains("://") => Err("give the path alone, as in /ns/demo/sa/server; the trust domain is the server's".to_owned()),
        _ if text.starts_with('/') => Ok(text.to_owned()),
        _ => Ok(format!("/{text}")),
    }
}

#[derive(Debug, ClapArgs)]
pub struct CreateEntryArgs {
    #[command(flatten)]
    pub connection: Connection,
    /// Path of the SPIFFE ID, as in /ns/demo/sa/server
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub spiffe_id_path: String,
    /// A selector that the process must carry, as in unix:uid:1000; repeat for more, all of which it must carry
    #[arg(long = "selector", value_name = "TYPE:VALUE", required = true, value_parser = selector)]
    pub selectors: Vec<Selector>,
    /// A foreign trust domain whose bundle the workload receives; its bundle must be held already
    #[arg(long, value_name = "TRUST-DOMAIN", value_delimiter = ',')]
    pub federates_with: Vec<String>,
    /// A DNS name for the certificate
    #[arg(long = "dns-name", value_name = "NAME", value_delimiter = ',')]
    pub dns_names: Vec<String>,
    /// How a workload with several identities tells this one from the others
    #[arg(long, default_value = "")]
    pub hint: String,
    /// Path of the parent's SPIFFE ID; kept, but without meaning to this server
    #[arg(long, value_name = "PATH", default_value = "/spire/server", value_parser = path)]
    pub parent_id_path: String,
    /// Life of the X.509-SVIDs [default: the server's]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub x509_svid_ttl: Option<std::time::Duration>,
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BundleFormat {
    /// The SPIFFE bundle format, a JWK set
    #[default]
    Spiffe,
    /// The X.509 authorities as PEM
    Pem,
}

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Print the server's own bundle, or a foreign one that it holds
    #[command(after_long_help = "Examples:
  trust-zone-server bundle show > a.test.json
  trust-zone-server bundle show --trust-domain b.test --format pem")]
    Show {
        #[command(flatten)]
        connection: Connection,
        /// A foreign trust domain instead of the server's own
        #[arg(long, value_name = "NAME")]
        trust_domain: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: BundleFormat,
    },
    /// List the foreign bundles that the server holds
    List {
        #[command(flatten)]
        connection: Connection,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Set the bundle of a foreign trust domain from a file in the SPIFFE bundle format
    #[command(after_long_help = "Example:\n  trust-zone-server bundle set --trust-domain b.test b.test.json")]
    Set {
        #[command(flatten)]
        connection: Connection,
        #[arg(long, value_name = "NAME")]
        trust_domain: String,
        /// The file, or - for standard input
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthorityKind {
    X509,
    Jwt,
}

#[derive(Clone, Debug, ClapArgs)]
pub struct AuthorityArgs {
    #[command(flatten)]
    pub connection: Connection,
    /// Which authority
    #[arg(long, value_enum, default_value = "x509")]
    pub kind: AuthorityKind,
}

#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Show which authority signs, which comes next and which came before
    Show {
        #[command(flatten)]
        connection: Connection,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Create the next authority and publish it in the bundle; it signs nothing yet
    Prepare(AuthorityArgs),
    /// Let the prepared authority sign from now on
    ///
    /// Do this when the partners have the bundle with the prepared authority, else they refuse the new SVIDs.
    Activate(AuthorityArgs),
    /// Remove the old authority from the bundle at once
    ///
    /// Whatever it has signed is refused from then on wherever the new bundle arrives.
    Retire(AuthorityArgs),
    /// Prepare, wait for the bundle to spread, activate
    ///
    /// The old authority stays in the bundle until its last SVID has expired.
    #[command(after_long_help = "Example:\n  trust-zone-server authority rotate --overlap 30s")]
    Rotate {
        #[command(flatten)]
        authority: AuthorityArgs,
        /// How long both authorities are published before the new one signs
        #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "10s")]
        overlap: std::time::Duration,
    },
}
