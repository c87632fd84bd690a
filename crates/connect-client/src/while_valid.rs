//! A connection that gives way to a new one before the certificate that was shown on it expires.
//!
//! TLS asks for the certificate once, and Connect looks at it with every call: on a connection that outlives the agent's
//! certificate no call is answered any more, however fresh the agent's identity is by then.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use cofide_svid::{IdentitySource, X509Svid};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// After three quarters of the time that is left to the certificate. Whoever issues identities renews them after the half.
const GIVES_WAY_AFTER: f64 = 0.75;

/// How often it looks for another identity when there was none by then.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reading ends once it is time to give way and there is another identity to come back with. Without one it lasts: a new
/// connection would be worth no more.
pub(crate) struct WhileValid<S> {
    stream: S,
    shown: Option<Shown>,
}

struct Shown {
    certificate: Arc<X509Svid>,
    source: Arc<dyn IdentitySource>,
    alarm: Pin<Box<Sleep>>,
}

impl<S> WhileValid<S> {
    /// `shown` is the certificate of this connection, and where the next one will come from.
    pub(crate) fn new(stream: S, shown: Option<(Arc<X509Svid>, Arc<dyn IdentitySource>)>) -> Self {
        let shown = shown.map(|(certificate, source)| {
            let left = certificate.not_after.duration_since(SystemTime::now()).unwrap_or_default();
            let alarm = Box::pin(tokio::time::sleep(left.mul_f64(GIVES_WAY_AFTER)));
            Shown { certificate, source, alarm }
        });
        Self { stream, shown }
    }
}

impl Shown {
    fn poll_give_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            if self.source.identity().is_some_and(|now| now.leaf() != self.certificate.leaf()) {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(Instant::now() + LOOK_AGAIN);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WhileValid<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Without having filled anything: as if Connect had closed the connection, which its clients know how to take.
        if self.shown.as_mut().is_some_and(|shown| shown.poll_give_way(context).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WhileValid<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
