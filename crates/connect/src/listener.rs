//! The sockets: TLS and, on loopback only, plain text.
//!
//! A connection is counted from its first packet, so slow handshakes and idle sockets are bounded like busy ones. Who is
//! on the other end is read once, after the handshake, and travels with every request as [`Peer`]. Whoever has shown
//! neither a certificate nor, by now, an access token keeps its place for a short time only ([`Patience`]).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cofide_runtime::places::{Place, Places};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::connections::{Connections, Registration};
use crate::peer::{Patience, Peer};

/// How many connections there may be, and how long a handshake may take.
#[derive(Debug)]
pub struct Limits {
    places: Arc<Places>,
    handshake: Duration,
}

impl Limits {
    pub fn new(total: usize, per_address: usize, handshake: Duration) -> Arc<Self> {
        const WARNING: &str = "connection refused: too many are open; see max_connections and max_connections_per_address";
        Arc::new(Self { places: Places::new(total, per_address, WARNING), handshake })
    }
}

/// Accepts on `listener` until `shutdown`, with TLS where `tls` is given.
pub fn accept(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: Arc<Limits>,
    connections: Connections,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, incoming) = mpsc::channel(64);
    let acceptor = tls.map(TlsAcceptor::from);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, for one: waiting lets connections end, a tight loop would not.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = limits.places.admit(address.ip()) else { continue };
            let (ready, acceptor, connections) = (ready.clone(), acceptor.clone(), connections.clone());
            let handshake = limits.handshake;
            tokio::spawn(async move {
                match establish(stream, address, acceptor, place, handshake, &connections).await {
                    Ok(connection) => drop(ready.send(Ok(connection)).await),
                    Err(error) => tracing::debug!(%address, %error, "the handshake failed"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}

async fn establish(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    place: Place,
    handshake: Duration,
    connections: &Connections,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    // For the first request there is as much time as for the handshake.
    let stranger = || Arc::new(Patience::until(Instant::now() + handshake));
    let Some(acceptor) = acceptor else {
        let peer = Peer { address, certificates: None, patience: stranger() };
        return Ok(Connection::new(Transport::Plain(stream), peer, place, connections));
    };
    let stream = match tokio::time::timeout(handshake, acceptor.accept(stream)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not finish its handshake in time")),
    };
    let certificates: Option<Arc<Vec<_>>> =
        stream.get_ref().1.peer_certificates().map(|chain| Arc::new(chain.iter().map(|c| c.clone().into_owned()).collect()));
    let patience = if certificates.is_some() { Arc::new(Patience::endless()) } else { stranger() };
    Ok(Connection::new(Transport::Tls(Box::new(stream)), Peer { address, certificates, patience }, place, connections))
}

/// A connection that can be cut from outside: when the identity behind it is no longer welcome, reading ends.
pub struct Connection {
    transport: Transport,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Wakes the connection when its patience may have run out; `None` once that can no longer happen.
    alarm: Option<Pin<Box<Sleep>>>,
    _registration: Registration,
    _place: Place,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn new(transport: Transport, peer: Peer, place: Place, connections: &Connections) -> Self {
        let registration = connections.register(&peer);
        let cut = Box::pin(registration.cut.clone().cancelled_owned());
        let alarm = peer.patience.deadline().map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        Self { transport, peer, cut, alarm, _registration: registration, _place: place }
    }

    /// Whether the client has had its time and nobody knows it still.
    fn poll_out_of_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(alarm) = &mut self.alarm {
            std::task::ready!(alarm.as_mut().poll(context));
            match self.peer.patience.deadline() {
                Some(deadline) if deadline > Instant::now() => alarm.as_mut().reset(deadline.into()),
                Some(_) => return Poll::Ready(()),
                None => self.alarm = None,
            }
        }
        Poll::Pending
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.poll_out_of_patience(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
