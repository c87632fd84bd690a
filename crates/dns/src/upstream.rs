//! Forwarding, by hickory's resolver.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{TokioResolver, system_conf};

use crate::resolver::{Answer, ResolveError, Resolver};

pub const SYSTEM_RESOLV_CONF: &str = "/etc/resolv.conf";

/// Who answers for the names that are not imported.
#[derive(Clone)]
pub enum Upstream {
    /// The name servers of a resolv.conf file, which is followed when it changes. Those that are this resolver itself are
    /// left out.
    ResolvConf(PathBuf),
    /// These name servers, none of which may be this resolver itself.
    Servers(Vec<SocketAddr>),
    /// Nobody: such names are refused.
    Nobody,
    Custom(Arc<dyn Resolver>),
}

impl Upstream {
    pub fn system() -> Self {
        Self::ResolvConf(SYSTEM_RESOLV_CONF.into())
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ResolvConf(path) => f.debug_tuple("ResolvConf").field(path).finish(),
            Self::Servers(servers) => f.debug_tuple("Servers").field(servers).finish(),
            Self::Nobody => f.write_str("Nobody"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// Whether a query to `server` would come back to us, who listen on `bound`.
pub(crate) fn is_self(server: SocketAddr, bound: &[SocketAddr]) -> bool {
    // An address is local if a socket can be bound to it.
    let is_local = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    bound.iter().any(|bound| {
        let same_address = server.ip() == bound.ip()
            // "Any address" as a destination means this machine.
            || (server.ip().is_unspecified() && (bound.ip().is_loopback() || bound.ip().is_unspecified()))
            || (bound.ip().is_unspecified() && is_local(server.ip()));
        bound.port() == server.port() && same_address
    })
}

/// Asks a fixed set of name servers.
pub(crate) struct Servers(TokioResolver);

impl Servers {
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let server = |address: &SocketAddr| {
            let connection = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            NameServerConfig::new(address.ip(), true, vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())])
        };
        Self::with_options(servers.iter().map(server).collect(), ResolverOpts::default())
    }

    fn with_options(servers: Vec<NameServerConfig>, mut options: ResolverOpts) -> Result<Self, ResolveError> {
        if servers.is_empty() {
            return Err(ResolveError::NoUpstream);
        }
        // Names arrive complete; completing them, and /etc/hosts, is the stub resolver's part.
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        options.use_hosts_file = ResolveHosts::Never;
        // Two attempts fit into the time that a query may take as a whole.
        options.timeout = options.timeout.min(Duration::from_millis(1800));
        options.attempts = options.attempts.min(2);
        options.max_active_requests = 512;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map(Self).map_err(|error| ResolveError::Failed(error.to_string()))
    }
}

#[async_trait]
impl Resolver for Servers {
    async fn resolve(&self, name: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        match self.0.lookup(name, kind).await {
            Ok(lookup) => Ok(Answer::Records(lookup.answers().to_vec())),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let soa = none.soa.map(|soa| Box::new(soa.into_record_of_rdata()));
                match none.response_code {
                    ResponseCode::NoError => Ok(Answer::NoData(soa)),
                    ResponseCode::NXDomain => Ok(Answer::NoSuchName(soa)),
                    code => Err(ResolveError::Failed(code.to_string())),
                }
            }
            Err(error) => Err(ResolveError::Failed(error.to_string())),
        }
    }
}

/// How often the file is looked at, at most.
const RECHECK: Duration = Duration::from_secs(1);

/// Asks the name servers of a resolv.conf file. A laptop that changes networks has another file afterwards.
pub(crate) struct ResolvConf {
    path: PathBuf,
    bound: Vec<SocketAddr>,
    recheck: Duration,
    state: Mutex<State>,
}

struct State {
    checked_at: Option<Instant>,
    /// Of the file that `servers` was made from; `None` where it could not be read.
    modified_at: Option<SystemTime>,
    servers: Option<Arc<Servers>>,
}

impl ResolvConf {
    pub(crate) fn new(path: PathBuf, bound: Vec<SocketAddr>) -> Self {
        let state = Mutex::new(State { checked_at: None, modified_at: None, servers: None });
        Self { path, bound, recheck: RECHECK, state }
    }

    fn servers(&self) -> Option<Arc<Servers>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.checked_at.is_none_or(|checked_at| checked_at.elapsed() >= self.recheck) {
            let is_first = state.checked_at.replace(Instant::now()).is_none();
            let modified_at = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
            if is_first || modified_at != state.modified_at {
                state.modified_at = modified_at;
                state.servers = read(&self.path, &self.bound);
            }
        }
        state.servers.clone()
    }
}

/// `None`, with a word about it in the log, where the file names no server that could be asked.
fn read(path: &Path, bound: &[SocketAddr]) -> Option<Arc<Servers>> {
    let remedy = "only imported names are answered; configure upstream name servers";
    let parsed = std::fs::read(path).map_err(NetError::from).and_then(system_conf::parse_resolv_conf);
    let (config, options) = parsed
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "cannot use the system's resolver configuration; {remedy}"))
        .ok()?;
    let is_other = |server: &NameServerConfig| {
        !server.connections.iter().any(|connection| is_self(SocketAddr::new(server.ip, connection.port), bound))
    };
    let (_, _, servers) = config.into_parts();
    let servers: Vec<_> = servers.into_iter().filter(is_other).collect();
    let addresses: Vec<_> = servers.iter().map(|server| server.ip).collect();
    match Servers::with_options(servers, options) {
        Ok(servers) => {
            tracing::info!(path = %path.display(), ?addresses, "forwarding other names to the system's name servers");
            Some(Arc::new(servers))
        }
        Err(ResolveError::NoUpstream) => {
            tracing::warn!(path = %path.display(), "the system's only name server is this one; {remedy}");
            None
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot forward to the system's name servers; {remedy}");
            None
        }
    }
}

#[async_trait]
impl Resolver for ResolvConf {
    async fn resolve(&self, name: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        self.servers().ok_or(ResolveError::NoUpstream)?.resolve(name, kind).await
    }
}

/// Knows nothing.
pub(crate) struct Nobody;

#[async_trait]
impl Resolver for Nobody {
    async fn resolve(&self, _: Name, _: RecordType) -> Result<Answer, ResolveError> {
        Err(ResolveError::NoUpstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn it_knows_itself_under_every_address() {
        let cases = [
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.1:5353", false),
            ("127.0.0.2:53", "127.0.0.1:53", false),
            ("127.0.0.53:53", "0.0.0.0:53", true),
            ("192.0.2.1:53", "0.0.0.0:53", false),
            ("0.0.0.0:53", "127.0.0.1:53", true),
            ("0.0.0.0:53", "192.0.2.1:53", false),
        ];
        for (server, bound, expected) in cases {
            assert_eq!(is_self(address(server), &[address(bound)]), expected, "{server} while bound to {bound}");
        }
    }

    #[test]
    fn of_the_systems_name_servers_it_leaves_itself_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let bound = [address("127.0.0.1:53")];
        for (content, expected) in [
            ("nameserver 192.0.2.1\n", true),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", true),
            ("nameserver 127.0.0.1\n", false),
            ("search example.com\n", false),
            ("", false),
            ("\u{0}garbage", false),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path, &bound).is_some(), expected, "{content:?}");
        }
        assert!(read(&folder.path().join("missing"), &bound).is_none());
    }
    #[test]
    fn a_resolver_configuration_that_changes_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let at_once = ResolvConf { recheck: Duration::ZERO, ..ResolvConf::new(path.clone(), vec![address("127.0.0.1:53")]) };
        assert!(at_once.servers().is_none(), "there is no file yet");
        let write = |content: &str, minute: u64| {
            std::fs::write(&path, content).unwrap();
            let written_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 60 * minute);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(written_at).unwrap();
        };
        write("nameserver 192.0.2.1\n", 1);
        let first = at_once.servers().unwrap();
        assert!(Arc::ptr_eq(&first, &at_once.servers().unwrap()), "an unchanged file keeps its servers and their cache");
        write("nameserver 192.0.2.2\n", 2);
        assert!(!Arc::ptr_eq(&first, &at_once.servers().unwrap()));
        write("nameserver 127.0.0.1\n", 3);
        assert!(at_once.servers().is_none());
    }
}
