//! Connections that know who made them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

use super::limit::{Admission, ConnectionLimit, Slot};
use super::{AttestationError, Process};

/// How long a connection beyond the limit stays to be told so.
const REFUSAL: Duration = Duration::from_secs(5);

/// The process at the other end, taken hold of when it connected.
#[derive(Clone, Debug)]
pub struct Peer {
    process: Result<Arc<Process>, AttestationError>,
    closed: CancellationToken,
}

impl Peer {
    /// `credentials` are those of a connection that is within its limit.
    fn of(credentials: Result<UCred, AttestationError>, closed: CancellationToken) -> Self {
        let identify = || {
            let unidentified = |reason: String| AttestationError::Unidentified(reason);
            let credentials = credentials?;
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
    /// When a connection that is over the limit ends.
    deadline: Option<Pin<Box<Sleep>>>,
    _slot: Option<Slot>,
    /// Tells everybody who holds the peer that the connection has ended.
    _open: DropGuard,
}

impl PeerStream {
    /// `None` where not even a refusal can be afforded.
    fn new(stream: UnixStream, limit: &ConnectionLimit) -> Option<Self> {
        let closed = CancellationToken::new();
        let open = closed.clone().drop_guard();
        let credentials = stream.peer_cred().map_err(|error| AttestationError::Unidentified(error.to_string()));
        let admission = credentials.as_ref().ok().map(|credentials| limit.admit(credentials.uid()));
        let (credentials, deadline, slot) = match admission {
            None => (credentials, None, None),
            Some(Admission::Admitted(slot)) => (credentials, None, Some(slot)),
            Some(Admission::Refused(slot, reason)) => (Err(reason), Some(Box::pin(tokio::time::sleep(REFUSAL))), Some(slot)),
            Some(Admission::Dropped) => return None,
        };
        Some(Self { stream, peer: Peer::of(credentials, closed), deadline, _slot: slot, _open: open })
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// The connections to a socket, without end; each user may have as many as `limit` says.
pub fn incoming(listener: UnixListener, limit: ConnectionLimit) -> impl Stream<Item = io::Result<PeerStream>> {
    futures::stream::unfold((listener, limit), |(listener, limit)| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(stream) = PeerStream::new(stream, &limit) {
                        return Some((Ok(stream), (listener, limit)));
                    }
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
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
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
