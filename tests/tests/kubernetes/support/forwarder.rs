//! A load balancer in front of a gateway, as somebody has who writes `spec.gateways`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use cofide_testkit::lab::Host;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Carries connections on, until it is dropped.
pub(crate) struct Forwarder {
    carried: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Forwarder {
    pub(crate) fn start(host: &Host, port: u16, to: SocketAddr) -> Result<Self> {
        let listener = host.listen(port)?;
        let (carried, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (count, stopped) = (carried.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut outgoing = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await
                });
            }
        }));
        Ok(Self { carried, _stop: stop.drop_guard() })
    }

    /// How many connections came by here.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}
