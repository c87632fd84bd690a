//! Applications: servers that say who they are and repeat what they hear, and clients.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofide_svid::{Authorizer, BundleSet, ClientAuth, IdentitySlot, IdentitySource, tls};
use cofide_testkit::wait::PATIENCE;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an application needs for mTLS. Without an identity it shows no certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) identity: Option<Arc<IdentitySlot>>,
    pub(crate) bundles: Arc<BundleSet>,
}

impl Tls {
    pub(crate) fn without_identity(self) -> Self {
        Self { identity: None, ..self }
    }

    fn identity(&self) -> Option<Arc<dyn IdentitySource>> {
        self.identity.clone().map(|slot| slot as Arc<dyn IdentitySource>)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A server: the answer to a line is `<name> to <peer>: <line>`, with the client's SPIFFE ID where there is one.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

impl Server {
    /// Speaks plain text.
    pub(crate) async fn plain(name: &str) -> Self {
        Self::start(name, None, false).await
    }

    /// Speaks plain text, and speaks first: `<name> is ready`.
    pub(crate) async fn plain_that_speaks_first(name: &str) -> Self {
        Self::start(name, None, true).await
    }

    /// Does mTLS itself.
    pub(crate) async fn mtls(name: &str, tls: Tls) -> Self {
        Self::start(name, Some(tls), false).await
    }

    async fn start(name: &str, tls: Option<Tls>, speaks_first: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let acceptor = tls.map(|tls| {
            let identity = tls.identity().expect("a server has an identity");
            TlsAcceptor::from(Arc::new(tls::server_config(identity, tls.bundles, ClientAuth::Required)))
        });
        let (name, stopped) = (name.to_owned(), stop.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    () = stopped.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let serve = serve(stream, name.clone(), acceptor.clone(), speaks_first);
                let stopped = stopped.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        // A connection that breaks is the client's to notice.
                        _ = serve => {}
                    }
                });
            }
        });
        Self { address, _stop: stop.drop_guard() }
    }
}

async fn serve(stream: TcpStream, name: String, acceptor: Option<TlsAcceptor>, speaks_first: bool) -> anyhow::Result<()> {
    let (stream, peer): (Box<dyn Stream>, String) = match acceptor {
        None => (Box::new(stream), "somebody".into()),
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            let certificates = stream.get_ref().1.peer_certificates().context("the client has a certificate")?;
            let peer = tls::peer_spiffe_id(certificates)?.to_string();
            (Box::new(stream), peer)
        }
    };
    let mut stream = BufStream::new(stream);
    if speaks_first {
        stream.write_all(format!("{name} is ready\n").as_bytes()).await?;
        stream.flush().await?;
    }
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(format!("{name} to {peer}: {line}").as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    Ok(())
}

/// A client's open connection.
pub(crate) struct Connection {
    stream: BufStream<Box<dyn Stream>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Says a line and returns the answer; an error when the connection is closed.
    pub(crate) async fn say(&mut self, line: &str) -> anyhow::Result<String> {
        self.stream.write_all(format!("{line}\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.hear().await
    }

    /// The next line; an error when the connection is closed.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<String> {
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer);
        if tokio::time::timeout(PATIENCE, read).await.context("no answer")?? == 0 {
            bail!("the connection is closed");
        }
        Ok(answer.trim_end().to_owned())
    }

    /// Waits for the other end to close; an error when it does not within the time.
    pub(crate) async fn closed_within(mut self, limit: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut line = String::new();
        match tokio::time::timeout(limit, self.stream.read_line(&mut line)).await {
            Err(_) => bail!("still open after {limit:?}"),
            Ok(Ok(count)) if count > 0 => bail!("heard {line:?} instead of the end"),
            Ok(_) => Ok(start.elapsed()),
        }
    }
}

/// Connects, and says hello: what comes back shows who answered.
pub(crate) async fn connect_plain(address: SocketAddr) -> anyhow::Result<(Connection, String)> {
    let stream = TcpStream::connect(address).await?;
    let mut connection = Connection { stream: BufStream::new(Box::new(stream)) };
    let answer = connection.say("hello").await?;
    Ok((connection, answer))
}

/// Connects and waits for the server to speak.
pub(crate) async fn listen_first(address: SocketAddr) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await?;
    Connection { stream: BufStream::new(Box::new(stream)) }.hear().await
}

/// The same as [`connect_plain`] with mTLS, for a server of the trust domain; without a server name where that is `None`.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    server_name: Option<&str>,
    tls: &Tls,
    trust_domain: &str,
) -> anyhow::Result<(Connection, String)> {
    let authorizer = Authorizer::AnyIn(cofide_core::TrustDomain::new(trust_domain)?);
    let mut config = tls::client_config(tls.identity(), tls.bundles.clone(), authorizer);
    config.enable_sni = server_name.is_some();
    let name = ServerName::try_from(server_name.unwrap_or("unused.test").to_owned())?;
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut connection = Connection { stream: BufStream::new(Box::new(stream)) };
    let answer = connection.say("hello").await?;
    Ok((connection, answer))
}
