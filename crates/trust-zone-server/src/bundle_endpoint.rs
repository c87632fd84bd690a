//! The `https_spiffe` bundle endpoint: this trust domain's bundle, for whoever knows the way (SPIFFE Federation, section 5).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cofide_svid::bundle::to_jwks;
use cofide_svid::tls::{ClientAuth, server_config};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::issuer::ServerIdentity;

/// A partner needs one connection a minute. Whoever opens more waits, or goes.
const MAX_CONNECTIONS: usize = 64;
/// For a connection as a whole, so that a slow client cannot hold one of the places.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Serves the bundle on `listener` until `shutdown`; returns the address at once.
pub fn serve(
    listener: TcpListener,
    authority: Authority,
    identity: Arc<ServerIdentity>,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    // Nobody is asked for a certificate, so no bundles are looked up.
    let acceptor = TlsAcceptor::from(Arc::new(server_config(identity, Arc::new(authority.clone()), ClientAuth::None)));
    tokio::spawn(accept(listener, acceptor, authority, shutdown));
    Ok(address)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, authority: Authority, shutdown: CancellationToken) {
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
                tracing::warn!(%error, "cannot accept a connection on the bundle endpoint");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, authority, shutdown) = (acceptor.clone(), authority.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                served = tokio::time::timeout(CONNECTION_TIME, serve_connection(stream, acceptor, authority)) => match served {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => tracing::debug!(%peer, reason, "a connection to the bundle endpoint failed"),
                    Err(_) => tracing::debug!(%peer, "a connection to the bundle endpoint took too long"),
                },
            }
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, authority: Authority) -> Result<(), String> {
    let stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
    let answer = service_fn(|request| {
        let response = answer(&request, &authority);
        async move { Ok::<_, Infallible>(response) }
    });
    // One request for each connection: a partner comes back in a minute.
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).serve_connection(TokioIo::new(stream), answer).await.map_err(|error| error.to_string())
}

fn answer(request: &Request<Incoming>, authority: &Authority) -> Response<Full<Bytes>> {
    let refuse = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/" {
        return refuse(StatusCode::NOT_FOUND, "404 not found; the bundle is at /\n");
    }
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
    }
    let mut response = Response::new(Full::from(to_jwks(&authority.read().bundle)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
