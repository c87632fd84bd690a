//! Bundles over HTTPS, for whoever asks (SPIFFE Federation, section 5).
//!
//! A bundle is public, so nobody is asked who they are. What it takes to serve it is bounded instead: connections in
//! all and from one address, the time of each, and the length of a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cofide_core::Bundle;
use cofide_runtime::places::Places;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::document::answer;

/// For a connection as a whole, handshake and request, so that a slow client cannot hold a place.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// For the handshake, and for the headers of the request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Bytes of the request's headers.
const MAX_REQUEST: usize = 16 << 10;
/// Partners that share an address each need one at a time, and that for a moment.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
const TOO_MANY: &str = "a connection to the bundle endpoint was refused: its address has too many";
/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes bundles. Whoever implements [`Bundles`] says which.
#[derive(Debug)]
pub struct BundleServer<B> {
    pub tls: ServerConfig,
    /// Whoever opens more connections waits until others go.
    pub max_connections: usize,
    pub bundles: B,
}

/// What is published.
pub trait Bundles: Send + Sync + 'static {
    /// The bundle at the path of a URL.
    ///
    /// # Errors
    ///
    /// Why there is none, for the client to read.
    fn at(&self, path: &str) -> Result<Bundle, &'static str>;
}

impl<B: Bundles> BundleServer<B> {
    /// Serves on `listener` until `shutdown`; returns the address at once.
    pub fn serve(mut self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        self.tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(self.tls));
        tokio::spawn(accept(listener, acceptor, self.max_connections, Arc::new(self.bundles), shutdown));
        Ok(address)
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    max_connections: usize,
    bundles: Arc<impl Bundles>,
    shutdown: CancellationToken,
) {
    let all = Arc::new(Semaphore::new(max_connections));
    let places = Places::new(max_connections, MAX_CONNECTIONS_PER_ADDRESS, TOO_MANY);
    loop {
        let Ok(of_all) = all.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for one: waiting lets connections end.
                tracing::warn!(%error, "cannot accept a connection on the bundle endpoint");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.admit(peer.ip()) else { continue };
        let (acceptor, bundles, shutdown) = (acceptor.clone(), bundles.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                served = tokio::time::timeout(CONNECTION_TIME, serve_connection(stream, acceptor, &*bundles)) => match served {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => tracing::debug!(%peer, reason, "a connection to the bundle endpoint failed"),
                    Err(_) => tracing::debug!(%peer, "a connection to the bundle endpoint took too long"),
                },
            }
            drop((of_all, place));
        });
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, bundles: &impl Bundles) -> Result<(), String> {
    let handshake = tokio::time::timeout(HEADER_TIME, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| "the handshake took too long")?.map_err(|error| error.to_string())?;
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(bundles.at(request.uri().path()), request.method(), request.headers());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http
        // A partner comes back in minutes, and until then would hold a place.
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client, publish_to};
    use crate::{BundleEndpoint, FetchError};
    use cofide_svid::BundleSet;
    use tokio::io::AsyncReadExt;

    /// A server for so many connections at a time, and a client that knows it.
    async fn server(places: usize, shutdown: &CancellationToken) -> (SocketAddr, Bundle, impl AsyncFn(&str) -> Result<Bundle, FetchError>) {
        let publisher = publish_to("a.test", places, shutdown).await;
        let client = client(&Arc::new(BundleSet::from_iter([publisher.bundle.clone()])));
        let at = publisher.endpoint;
        let fetch = async move |path: &str| client.fetch(&BundleEndpoint { url: at.url.join(path).unwrap(), ..at.clone() }).await;
        (publisher.address, publisher.bundle, fetch)
    }

    #[tokio::test]
    async fn what_the_client_fetches_is_what_the_server_has_at_that_path() {
        let shutdown = CancellationToken::new();
        let (_, bundle, fetch) = server(1, &shutdown).await;
        assert_eq!(fetch("/").await.unwrap(), bundle);
        assert!(fetch("/other").await.unwrap_err().to_string().contains("404"));
    }

    #[tokio::test]
    async fn whoever_finds_no_place_waits_until_another_goes() {
        let shutdown = CancellationToken::new();
        let (address, bundle, fetch) = server(1, &shutdown).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut fetching = std::pin::pin!(fetch("/"));
        let soon = tokio::time::timeout(Duration::from_millis(300), &mut fetching).await;
        assert!(soon.is_err(), "the only place is taken");
        drop(silent);
        assert_eq!(fetching.await.unwrap(), bundle);
    }

    #[tokio::test]
    async fn one_address_leaves_places_to_others() {
        let shutdown = CancellationToken::new();
        let (address, bundle, fetch) = server(MAX_CONNECTIONS_PER_ADDRESS + 1, &shutdown).await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS_PER_ADDRESS {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            silent.push(socket.connect(address).await.unwrap());
        }
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut refused = socket.connect(address).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), refused.read(&mut [0; 1])).await.expect("it is turned away at once");
        assert!(!matches!(ended, Ok(read) if read > 0), "{ended:?}");
        assert_eq!(fetch("/").await.unwrap(), bundle, "another address has its place");
    }

    #[tokio::test]
    async fn a_stop_ends_connections_too() {
        let shutdown = CancellationToken::new();
        let (address, ..) = server(1, &shutdown).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0; 1])).await.expect("the server lets go");
        // An end or a reset: nothing was said.
        assert!(!matches!(ended, Ok(read) if read > 0), "{ended:?}");
    }
}
