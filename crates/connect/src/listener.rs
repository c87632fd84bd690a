//! The sockets: TLS and, on loopback only, plain text.
//!
//! A connection is counted from its first packet, so slow handshakes and idle sockets are bounded like busy ones. Who is
//! on the other end is read once, after the handshake, and travels with every request as [`Peer`]. Whoever has shown
//! neither a certificate nor, by now, an access token keeps its place for a short time only ([`Patience`]).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

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

/// How many connections there may be.
#[derive(Debug)]
pub struct Limits {
    total: usize,
    per_address: usize,
    handshake: Duration,
    open: Mutex<HashMap<IpAddr, usize>>,
    last_warning: AtomicI64,
}

impl Limits {
    pub fn new(total: usize, per_address: usize, handshake: Duration) -> Arc<Self> {
        Arc::new(Self { total, per_address, handshake, open: Mutex::default(), last_warning: AtomicI64::new(0) })
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let here = open.entry(address).or_default();
        if all >= self.total || *here >= self.per_address {
            let count = *here;
            if count == 0 {
                open.remove(&address);
            }
            drop(open);
            self.warn(address, all, count);
            return None;
        }
        *here += 1;
        Some(Slot { address, limits: self.clone() })
    }

    /// At most one line a second, however many are turned away.
    fn warn(&self, address: IpAddr, all: usize, here: usize) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        if self.last_warning.swap(now, Ordering::Relaxed) != now {
            tracing::warn!(
                %address, open = all, from_address = here,
                "connection refused: too many are open; see max_connections and max_connections_per_address"
            );
        }
    }
}

/// One admitted connection; gives its place back when dropped.
#[derive(Debug)]
struct Slot {
    address: IpAddr,
    limits: Arc<Limits>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
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
            let Some(slot) = limits.admit(address.ip()) else { continue };
            let (ready, acceptor, connections) = (ready.clone(), acceptor.clone(), connections.clone());
            tokio::spawn(async move {
                match establish(stream, address, acceptor, slot, &connections).await {
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
    slot: Slot,
    connections: &Connections,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    // For the first request there is as much time as for the handshake.
    let first_request = slot.limits.handshake;
    let stranger = || Arc::new(Patience::until(Instant::now() + first_request));
    let Some(acceptor) = acceptor else {
        let peer = Peer { address, certificates: None, patience: stranger() };
        return Ok(Connection::new(Transport::Plain(stream), peer, slot, connections));
    };
    let stream = match tokio::time::timeout(slot.limits.handshake, acceptor.accept(stream)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not finish its handshake in time")),
    };
    let certificates: Option<Arc<Vec<_>>> =
        stream.get_ref().1.peer_certificates().map(|chain| Arc::new(chain.iter().map(|c| c.clone().into_owned()).collect()));
    let patience = if certificates.is_some() { Arc::new(Patience::endless()) } else { stranger() };
    Ok(Connection::new(Transport::Tls(Box::new(stream)), Peer { address, certificates, patience }, slot, connections))
}

/// A connection that can be cut from outside: when the identity behind it is no longer welcome, reading ends.
pub struct Connection {
    transport: Transport,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Wakes the connection when its patience may have run out; `None` once that can no longer happen.
    alarm: Option<Pin<Box<Sleep>>>,
    _registration: Registration,
    _slot: Slot,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn new(transport: Transport, peer: Peer, slot: Slot, connections: &Connections) -> Self {
        let registration = connections.register(&peer);
        let cut = Box::pin(registration.cut.clone().cancelled_owned());
        let alarm = peer.patience.deadline().map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        Self { transport, peer, cut, alarm, _registration: registration, _slot: slot }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_one_address_cannot_take_all() {
        let limits = Limits::new(3, 2, Duration::from_secs(1));
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = limits.admit(one).unwrap();
        let _second = limits.admit(one).unwrap();
        assert!(limits.admit(one).is_none(), "two from one address are enough");
        let _third = limits.admit(two).unwrap();
        assert!(limits.admit(two).is_none(), "three in all are enough");
        drop(first);
        assert!(limits.admit(two).is_some());
        assert_eq!(limits.open.lock().unwrap().get(&one), Some(&1));
    }
}
