//! One server as the client sees it: where it is, the connection to it, and a ping over that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofide_ping_pong::discovery::{by_dns, by_xds};
use cofide_ping_pong::failure::{Failure, Reason};
use cofide_ping_pong::peers::spiffe_id_of;
use cofide_ping_pong::{Mode, workload_identity};
use rustls_pki_types::ServerName;
use spiffe::X509Source;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::arguments::Arguments;

/// Longer than a program needs to take over a rotated identity.
const SECOND_ATTEMPT: Duration = Duration::from_millis(20);

pub(crate) struct Client {
    arguments: Arguments,
    pub(crate) host: String,
    port: u16,
    tls: Option<TlsConnector>,
    _identity: Option<X509Source>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that may carry more than one ping.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// The SPIFFE ID in the server's certificate; a plain-text client sees none.
    peer: Option<String>,
}

/// An answered ping.
pub(crate) struct Pong {
    pub(crate) reply: String,
    pub(crate) peer: Option<String>,
    pub(crate) took: Duration,
    pub(crate) attempts: u8,
}

impl Client {
    pub(crate) async fn new(arguments: Arguments) -> anyhow::Result<Self> {
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
    pub(crate) async fn closed(&self, held: &mut Option<Connection>) -> Failure {
        let Some(connection) = held else { return std::future::pending().await };
        let what = format!("the connection to {}", self.arguments.connect);
        match connection.stream.fill_buf().await {
            Ok([]) => Failure::new(Reason::Refused, format!("{what} was closed by the other side")),
            Ok(_) => Failure::new(Reason::Other, format!("{what} carries an answer to no ping")),
            Err(error) => Failure::from_io(&what, &error),
        }
    }

    pub(crate) async fn ping(&self, held: &mut Option<Connection>) -> Result<Pong, Failure> {
        let patience = Duration::from_millis(self.arguments.timeout);
        let late = || Failure::new(Reason::TimedOut, format!("no answer from {} within {patience:?}", self.arguments.connect));
        tokio::time::timeout(patience, self.ping_once(held)).await.map_err(|_| late())?
    }

    /// A connection that is refused while it is being made is tried once more, as clients of any protocol do: either side
    /// may be taking over a rotated identity, and a refusal that is meant is repeated.
    async fn ping_once(&self, held: &mut Option<Connection>) -> Result<Pong, Failure> {
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
    ) -> Result<Pong, Failure> {
        let failed = |error: std::io::Error| Failure::from_io(&format!("ping to {}", self.arguments.connect), &error);
        connection.stream.write_all(b"ping\n").await.map_err(failed)?;
        connection.stream.flush().await.map_err(failed)?;
        let reply = read_line(&mut connection.stream).await.map_err(failed)?;
        let pong = Pong { reply, peer: connection.peer.clone(), took: began.elapsed(), attempts };
        if self.arguments.hold {
            *held = Some(connection);
        }
        Ok(pong)
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

    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        // Half of the time, so that who does not answer is named before the whole attempt counts as too late.
        let patience = Duration::from_millis(self.arguments.timeout / 2);
        match &self.arguments.xds_server {
            Some(server) => {
                let endpoints = by_xds(&self.host, server, patience).await?;
                // The first endpoint is the preferred one.
                match endpoints.into_iter().next() {
                    Some((address, port)) => by_dns(&address, port, None, patience).await,
                    None => Ok(Vec::new()),
                }
            }
            None => by_dns(&self.host, self.port, self.arguments.dns_server, patience).await,
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
}

async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection was closed by the other side")),
        _ => Ok(line.trim_end().to_owned()),
    }
}
