//! Sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cofide_runtime::bind::BindError;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::handler::Handler;
use crate::resolver::{Bounded, ResolveError, Resolver};
use crate::upstream::{Nobody, ResolvConf, Servers, Upstream, is_self};
use crate::zone::ZoneHandle;

/// An idle TCP connection is closed after this (RFC 7766, section 6.2.3: "on the order of a few seconds").
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Responses that may wait to be written to one TCP connection.
const TCP_RESPONSES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the upstream name server {0} is this resolver itself; name another one")]
    ForwardsToItself(SocketAddr),
    #[error("cannot use the upstream name servers: {0}")]
    Upstream(#[from] ResolveError),
}

/// A running resolver.
#[derive(Debug)]
pub struct Bound {
    /// Where it listens, over UDP and TCP, in the order of the addresses that were asked for.
    pub addresses: Vec<SocketAddr>,
    task: JoinHandle<()>,
}

impl Bound {
    /// Returns when the resolver has stopped, which it does after its shutdown token was cancelled.
    pub async fn stopped(self) {
        // An error says that the task panicked or was aborted: stopped as well.
        let _ = self.task.await;
    }
}

/// Listens on each address over UDP and TCP, on the same port of both; port 0 takes a free one. Everything is bound when
/// this returns.
pub async fn serve(bind: &[SocketAddr], zone: ZoneHandle, upstream: Upstream, shutdown: CancellationToken) -> Result<Bound, ServeError> {
    let mut sockets = Vec::new();
    for address in bind {
        sockets.push(bind_both(*address).await?);
    }
    let addresses: Vec<SocketAddr> = sockets.iter().map(|(address, ..)| *address).collect();

    let resolver: Arc<dyn Resolver> = match upstream {
        Upstream::ResolvConf(path) => Arc::new(ResolvConf::new(path, addresses.clone())),
        Upstream::Servers(servers) => {
            if let Some(server) = servers.iter().find(|server| is_self(**server, &addresses)) {
                return Err(ServeError::ForwardsToItself(*server));
            }
            Arc::new(Servers::new(&servers)?)
        }
        Upstream::Nobody => Arc::new(Nobody),
        Upstream::Custom(resolver) => resolver,
    };

    let mut server = hickory_server::Server::new(Handler::new(zone, Bounded::new(resolver)));
    for (_, udp, tcp) in sockets {
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_RESPONSES);
    }
    let task = tokio::spawn(async move {
        let result = tokio::select! {
            () = shutdown.cancelled() => server.shutdown_gracefully().await,
            result = server.block_until_done() => result,
        };
        if let Err(error) = result {
            tracing::error!(%error, "the DNS resolver has stopped");
        }
    });
    Ok(Bound { addresses, task })
}

async fn bind_both(address: SocketAddr) -> Result<(SocketAddr, UdpSocket, TcpListener), BindError> {
    let over_tcp = |error| BindError::new(address, "DNS over TCP", error);
    // The port that is free for TCP may be taken for UDP: ask for another one, then.
    let mut attempts_left = if address.port() == 0 { 16 } else { 1 };
    loop {
        attempts_left -= 1;
        let tcp = TcpListener::bind(address).await.map_err(over_tcp)?;
        let bound = tcp.local_addr().map_err(over_tcp)?;
        match UdpSocket::bind(bound).await {
            Ok(udp) => return Ok((bound, udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts_left > 0 => {}
            Err(error) => return Err(BindError::new(address, "DNS over UDP", error)),
        }
    }
}
