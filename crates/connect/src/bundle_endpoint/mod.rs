//! The bundle of every trust zone, published for whoever trusts it: `https_web` (SPIFFE Federation, section 5.2.1).
//!
//! ```text
//!  hub ── trust changes ──> folder: <zone>/bundle in files, for a web server or a bucket to serve
//!   └──── snapshot ───────> GET /<zone>/bundle ──> document (pure) ──> 200 with ETag, 304, 404
//!                              over TLS, by a certificate of the web PKI (certificate), read again when it is renewed
//! ```
//!
//! A bundle is public, so nobody is asked who they are. What it takes to serve it is bounded instead: connections in all,
//! the time of each, and the length of a request.

pub mod certificate;
mod document;
pub mod folder;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::certificate::WebCertificate;
use crate::hub::Hub;

/// Partners look every few minutes. Whoever opens more connections than this waits until others go.
const MAX_CONNECTIONS: usize = 512;
/// For a connection as a whole, handshake and all its requests, so that a slow client cannot hold a place.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// For the headers of one request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Bytes of one request's headers.
const MAX_REQUEST: usize = 16 << 10;

/// Serves on `listener` until `shutdown`; returns the address at once.
pub fn serve(
    listener: TcpListener,
    certificate: &Arc<WebCertificate>,
    hub: Hub,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener, TlsAcceptor::from(certificate.server_config()), hub, shutdown));
    Ok(address)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, hub: Hub, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for one: waiting lets connections end.
                tracing::warn!(%error, "cannot accept a connection on the bundle endpoint");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, hub, shutdown) = (acceptor.clone(), hub.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                served = tokio::time::timeout(CONNECTION_TIME, serve_connection(stream, acceptor, hub)) => match served {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => tracing::debug!(%peer, reason, "a connection to the bundle endpoint failed"),
                    Err(_) => tracing::debug!(%peer, "a connection to the bundle endpoint took too long"),
                },
            }
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, hub: Hub) -> Result<(), String> {
    let stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
    let answer = service_fn(|request: Request<Incoming>| {
        let response = document::answer(&hub.snapshot(), request.method(), request.uri().path(), request.headers());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), answer);
    connection.await.map_err(|error| error.to_string())
}
