//! What the client is told.

use std::net::SocketAddr;

use clap::Parser;
use cofide_ping_pong::Mode;
use cofide_ping_pong::peers::Peer;

/// Pings a server by name, over mutual TLS with its own SVID or in plain text, and prints who answered.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes, of the last ping that failed:\n  0  all pings were answered\n  1  another failure\n  2  wrong usage\n  3  name not found: the service is not imported here\n  4  unreachable: nobody listens\n  5  untrusted issuer: the server's certificate chains to no authority that this workload holds\n  6  unexpected identity: the server is not who --expect names\n  7  refused by the other side, or by a gateway between\n  8  timed out\n\nExamples:\n  ping-pong-client --mode mtls --connect server.demo.a.demo.test:8443 --expect a.demo.test\n  ping-pong-client --mode plain --connect plain.demo.a.demo.test:8443 --dns-server 127.0.0.1:10053 --count 3\n  ping-pong-client --mode mtls --connect server.demo.a.demo.test --expect a.demo.test --xds-server 127.0.0.1:18001"
)]
pub(crate) struct Arguments {
    #[arg(long, value_enum)]
    pub(crate) mode: Mode,
    /// The server; with --xds-server the port is taken from the answer
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) connect: String,
    /// Whom to accept in mode mtls: a trust domain or a SPIFFE ID
    #[arg(long, value_name = "PEER", required_if_eq("mode", "mtls"))]
    pub(crate) expect: Option<Peer>,
    /// Ask this DNS server instead of the system's
    #[arg(long, value_name = "IP:PORT", conflicts_with = "xds_server")]
    pub(crate) dns_server: Option<SocketAddr>,
    /// Find the server by endpoint discovery (xDS) instead of DNS, as SDK clients do
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) xds_server: Option<String>,
    /// Print where the server is, and do not call it
    #[arg(long)]
    pub(crate) resolve: bool,
    /// How many pings; 0 means until stopped
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// Milliseconds between pings
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS")]
    pub(crate) interval: u64,
    /// Milliseconds that one ping may take
    #[arg(long, default_value_t = 5000, value_name = "MILLISECONDS")]
    pub(crate) timeout: u64,
    /// Keep one connection open for all pings instead of one for each
    #[arg(long)]
    pub(crate) hold: bool,
    /// Go on after a failed ping; the exit code still tells
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Wait for the server's greeting before the first ping
    #[arg(long)]
    pub(crate) expect_greeting: bool,
    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// The Workload API, as unix:PATH
    #[arg(long, value_name = "ENDPOINT", env = "SPIFFE_ENDPOINT_SOCKET")]
    pub(crate) workload_api: Option<String>,
    /// Milliseconds to wait for the first identity
    #[arg(long, default_value_t = 60_000, value_name = "MILLISECONDS")]
    pub(crate) identity_timeout: u64,
}
