//! Pings a server by name and prints who answered.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use cofide_ping_pong::discovery::{by_dns, by_xds};
use cofide_ping_pong::failure::{Failure, Reason};
use cofide_ping_pong::peers::{Peer, spiffe_id_of};
use cofide_ping_pong::{Mode, workload_identity};
use rustls_pki_types::ServerName;
use serde::Serialize;
use spiffe::X509Source;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Pings a server by name, over mutual TLS with its own SVID or in plain text, and prints who answered.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all pings were answered; 1 other; 2 usage; 3 name not found; 4 unreachable; 5 untrusted issuer;\n6 unexpected identity; 7 refused by the other side; 8 timed out.\n\nExamples:\n  ping-pong-client --mode mtls --connect server.demo.a.demo.test:8443 --expect a.demo.test\n  ping-pong-client --mode plain --connect plain.demo.a.demo.test:8443 --dns-server 127.0.0.1:10053 --count 3\n  ping-pong-client --mode mtls --connect server.demo.a.demo.test --expect a.demo.test --xds-server 127.0.0.1:18001"
)]
struct Arguments {
    #[arg(long, value_enum)]
    mode: Mode,
    /// The server; with --xds-server the port is taken from the answer
    #[arg(long, value_name = "HOST[:PORT]")]
    connect: String,
    /// Whom to accept in mode mtls: a trust domain or a SPIFFE ID
    #[arg(long, value_name = "PEER", required_if_eq("mode", "mtls"))]
    expect: Option<Peer>,
    /// Ask this DNS server instead of the system's
    #[arg(long, value_name = "IP:PORT", conflicts_with = "xds_server")]
    dns_server: Option<SocketAddr>,
    /// Find the server by endpoint discovery (xDS) instead of DNS, as SDK clients do
    #[arg(long, value_name = "HOST:PORT")]
    xds_server: Option<String>,
    /// Print where the server is, and do not call it
    #[arg(long)]
    resolve: bool,
    /// How many pings; 0 means until stopped
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Milliseconds between pings
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS")]
    interval: u64,
    /// Milliseconds that one ping may take
    #[arg(long, default_value_t = 5000, value_name = "MILLISECONDS")]
    timeout: u64,
    /// Keep one connection open for all pings instead of one for each
    #[arg(long)]
    hold: bool,
    /// Go on after a failed ping; the exit code still tells
    #[arg(long)]
    keep_going: bool,
    /// Wait for the server's greeting before the first ping
    #[arg(long)]
    expect_greeting: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// The Workload API, as unix:PATH
    #[arg(long, value_name = "ENDPOINT", env = "SPIFFE_ENDPOINT_SOCKET")]
    workload_api: Option<String>,
    /// Milliseconds to wait for the first identity
    #[arg(long, default_value_t = 60_000, value_name = "MILLISECONDS")]
    identity_timeout: u64,
}

/// Longer than a program needs to take over a rotated identity.
const SECOND_ATTEMPT: Duration = Duration::from_millis(20);

struct Client {
    arguments: Arguments,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    _identity: Option<X509Source>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// The SPIFFE ID in the server's certificate; a plain-text client sees none.
    peer: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
enum Line<'a> {
    Pong { reply: &'a str, peer: Option<&'a str>, milliseconds: u128, attempts: u8 },
    Failed { reason: Reason, message: &'a str },
    Summary { answered: u64, failed: u64 },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments).await?;
    if client.arguments.resolve {
        return Ok(client.print_addresses().await);
    }
    let (mut answered, mut failed, mut last) = (0u64, 0u64, Reason::Other);
    let mut connection = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(client.arguments.interval.max(1)));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let closed = tokio::select! {
            _ = ticks.tick() => None,
            failure = client.closed(&mut connection) => Some(failure),
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let outcome = match closed {
            Some(failure) => Err(failure),
            None => client.ping(&mut connection).await,
        };
        match outcome {
            Ok(()) => answered += 1,
            Err(failure) => {
                failed += 1;
                last = failure.reason;
                connection = None;
                client.print_failure(&failure);
                if !client.arguments.keep_going {
                    break;
                }
            }
        }
        if answered + failed == client.arguments.count {
            break;
        }
    }
    client.print_summary(answered, failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(last as u8) })
}

impl Client {
    async fn new(arguments: Arguments) -> anyhow::Result<Self> {
        let (host, port) = match arguments.connect.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().map_err(|_| anyhow::anyhow!("--connect: {port:?} is not a port"))?),
            None if arguments.xds_server.is_some() => (arguments.connect.clone(), 0),
            None => anyhow::bail!("--connect needs HOST:PORT, as in server.demo.a.demo.test:8443"),
        };
        let (identity, tls) = match (arguments.mode, arguments.expect.clone()) {
            (Mode::Mtls, Some(expected)) => {
                let source =
                    workload_identity(arguments.workload_api.as_deref(), Duration::from_millis(arguments.identity_timeout)).await?;
                let config =
                    spiffe_rustls::mtls_client(source.clone()).authorize(move |id: &spiffe::SpiffeId| expected.admits(id)).build()?;
                (Some(source), Some(TlsConnector::from(Arc::new(config))))
            }
            _ => (None, None),
        };
        Ok(Self { arguments, host, port, tls, _identity: identity })
    }

    /// Waits until the other side ends a held connection, which between two pings nobody else would notice.
    async fn closed(&self, held: &mut Option<Connection>) -> Failure {
        let Some(connection) = held else { return std::future::pending().await };
        let what = format!("the connection to {}", self.arguments.connect);
        match connection.stream.fill_buf().await {
            Ok([]) => Failure::new(Reason::Refused, format!("{what} was closed by the other side")),
            Ok(_) => Failure::new(Reason::Other, format!("{what} carries an answer to no ping")),
            Err(error) => Failure::from_io(&what, &error),
        }
    }

    async fn ping(&self, held: &mut Option<Connection>) -> Result<(), Failure> {
        let patience = Duration::from_millis(self.arguments.timeout);
        let late = || Failure::new(Reason::TimedOut, format!("no answer from {} within {patience:?}", self.arguments.connect));
        tokio::time::timeout(patience, self.ping_once(held)).await.map_err(|_| late())?
    }

    /// A connection that is refused while it is being made is tried once more, as clients of any protocol do: either side
    /// may be taking over a rotated identity, and a refusal that is meant is repeated.
    async fn ping_once(&self, held: &mut Option<Connection>) -> Result<(), Failure> {
        let began = Instant::now();
        if let Some(connection) = held.take() {
            return self.exchange(connection, held, began, 1).await;
        }
        let first = match self.open().await {
            Ok(connection) => self.exchange(connection, held, began, 1).await,
            Err(failure) => Err(failure),
        };
        match first {
            Err(failure) if failure.is_momentary => {
                tokio::time::sleep(SECOND_ATTEMPT).await;
                self.exchange(self.open().await?, held, began, 2).await
            }
            outcome => outcome,
        }
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        held: &mut Option<Connection>,
        began: Instant,
        attempts: u8,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::from_io(&format!("ping to {}", self.arguments.connect), &error);
        connection.stream.write_all(b"ping\n").await.map_err(failed)?;
        connection.stream.flush().await.map_err(failed)?;
        let reply = read_line(&mut connection.stream).await.map_err(failed)?;
        self.print_pong(&reply, connection.peer.as_deref(), began.elapsed(), attempts);
        if self.arguments.hold {
            *held = Some(connection);
        }
        Ok(())
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let stream = self.dial().await?;
        let _ = stream.set_nodelay(true);
        let (stream, peer): (Box<dyn Stream>, _) = match &self.tls {
            None => (Box::new(stream), None),
            Some(connector) => {
                // The server name is how gateways route; who the server is, its SPIFFE ID says.
                let name = ServerName::try_from(self.host.clone()).map_err(|error| Failure::new(Reason::Other, error.to_string()))?;
                let handshake = connector.connect(name, stream).await;
                let tls = handshake.map_err(|error| Failure::from_io(&format!("TLS handshake with {}", self.arguments.connect), &error))?;
                let peer = spiffe_id_of(tls.get_ref().1.peer_certificates()).map(|id| id.to_string());
                (Box::new(tls), peer)
            }
        };
        let mut stream = BufReader::new(stream);
        if self.arguments.expect_greeting {
            read_line(&mut stream).await.map_err(|error| Failure::from_io("waiting for the greeting", &error))?;
        }
        Ok(Connection { stream, peer })
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        match &self.arguments.xds_server {
            Some(server) => {
                // Half of the time, so that "not found" is said before the whole attempt counts as too late.
                let patience = Duration::from_millis(self.arguments.timeout / 2);
                let endpoints = by_xds(&self.host, server, patience).await?;
                // The first endpoint is the preferred one.
                match endpoints.into_iter().next() {
                    Some((address, port)) => by_dns(&address, port, None).await,
                    None => Ok(Vec::new()),
                }
            }
            None => by_dns(&self.host, self.port, self.arguments.dns_server).await,
        }
    }

    async fn dial(&self) -> Result<TcpStream, Failure> {
        let addresses = self.addresses().await?;
        let mut last = Failure::new(Reason::NameNotFound, format!("no address for {}", self.host));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failure::from_io(&format!("connecting to {} at {address}", self.host), &error),
            }
        }
        Err(last)
    }

    #[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
    fn print(&self, line: &Line<'_>, text: &str) {
        if self.arguments.json {
            println!("{}", serde_json::to_string(line).unwrap_or_default());
        } else {
            println!("{text}");
        }
    }

    #[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
    async fn print_addresses(&self) -> ExitCode {
        match self.addresses().await {
            Ok(addresses) => {
                addresses.iter().for_each(|address| println!("{} is at {address}", self.host));
                ExitCode::SUCCESS
            }
            Err(failure) => {
                self.print_failure(&failure);
                ExitCode::from(failure.reason as u8)
            }
        }
    }

    fn print_pong(&self, reply: &str, peer: Option<&str>, took: Duration, attempts: u8) {
        let line = Line::Pong { reply, peer, milliseconds: took.as_millis(), attempts };
        let certificate = peer.map(|id| format!(" (certificate: {id})")).unwrap_or_default();
        self.print(&line, &format!("ping... {reply}{certificate}"));
    }

    fn print_failure(&self, failure: &Failure) {
        let line = Line::Failed { reason: failure.reason, message: &failure.message };
        let hint = failure.reason.hint();
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        self.print(&line, &format!("ping... failed: {}{hint}", failure.message));
    }

    fn print_summary(&self, answered: u64, failed: u64) {
        if answered + failed > 1 {
            self.print(&Line::Summary { answered, failed }, &format!("{answered} answered, {failed} not"));
        }
    }
}

async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection was closed by the other side")),
        _ => Ok(line.trim_end().to_owned()),
    }
}
