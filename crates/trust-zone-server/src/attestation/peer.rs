//! Connections that know who made them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

use super::{AttestationError, Process};

/// The process at the other end, taken hold of when it connected.
#[derive(Clone, Debug)]
pub struct Peer {
    process: Result<Arc<Process>, AttestationError>,
    closed: CancellationToken,
}

impl Peer {
    fn of(stream: &UnixStream, closed: CancellationToken) -> Self {
        let identify = || {
            let unidentified = |reason: String| AttestationError::Unidentified(reason);
            let credentials = stream.peer_cred().map_err(|error| unidentified(error.to_string()))?;
            match credentials.pid() {
                Some(pid) if pid > 0 => Process::open(pid, credentials.uid(), credentials.gid()).map(Arc::new),
                _ => Err(unidentified("it has no pid here; it may run in a pid namespace that this server cannot see into".into())),
            }
        };
        Self { process: identify(), closed }
    }

    pub fn process(&self) -> Result<Arc<Process>, AttestationError> {
        self.process.clone()
    }

    /// For log lines.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, |process| process.pid())
    }

    /// Ready when the connection has ended.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// A connection; each request on it carries the [`Peer`] in its extensions.
#[derive(Debug)]
pub struct PeerStream {
    stream: UnixStream,
    peer: Peer,
    /// Tells everybody who holds the peer that the connection has ended.
    _open: DropGuard,
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// The connections to a socket, without end.
pub fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<PeerStream>> {
    futures::stream::unfold(listener, |listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let closed = CancellationToken::new();
                    let peer = Peer::of(&stream, closed.clone());
                    return Some((Ok(PeerStream { stream, peer, _open: closed.drop_guard() }), listener));
                }
                Err(error) => {
                    // Most likely out of file descriptors; connections wait in the queue until some are free again.
                    tracing::warn!(%error, "cannot accept a connection on the workload socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
