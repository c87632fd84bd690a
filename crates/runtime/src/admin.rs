//! The admin port: liveness, readiness and metrics over plain HTTP, for probes and scrapers on the same machine or pod.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz/live` | 200 while the process runs |
//! | `/healthz/ready` | 200 when every part is ready, else 503 with what each waits for, as JSON |
//! | `/metrics` | OpenMetrics text |

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Readiness;
use crate::bounded::Bounded;
use crate::places::Places;

/// Probes and scrapes take one at a time, and that for a moment.
const MAX_CONNECTIONS: usize = 256;
const MAX_CONNECTIONS_PER_ADDRESS: usize = 32;
const TOO_MANY: &str = "a connection to the admin port was refused: its address has too many";

/// The metrics of the process. Clones share the registry.
pub type Metrics = Arc<Mutex<Registry>>;

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    metrics: Metrics,
}

/// Serves the admin port on `listener` until `shutdown`; returns the address at once.
pub fn serve(listener: TcpListener, readiness: Readiness, metrics: Metrics, shutdown: CancellationToken) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz/live", get(|| async { "ok\n" }))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Admin { readiness, metrics });
    let listener = Bounded { listener, places: Places::new(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, TOO_MANY) };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await {
            tracing::error!(%error, "the admin port stopped");
        }
    });
    Ok(address)
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    let waiting = admin.readiness.waiting();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(serde_json::json!({ "ready": waiting.is_empty(), "waiting": waiting })))
}

async fn metrics_text(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    let result = encode(&mut text, &admin.metrics.lock().unwrap_or_else(PoisonError::into_inner));
    match result {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_names_what_is_waited_for() {
        let readiness = Readiness::default();
        let plan = readiness.component("plan", "the first plan from Connect");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let address = serve(listener, readiness, Metrics::default(), shutdown.clone()).unwrap();

        let before = fetch(address, "/healthz/ready").await;
        assert!(before.starts_with("HTTP/1.1 503") && before.contains("the first plan from Connect"), "{before}");
        plan.ready();
        assert!(fetch(address, "/healthz/ready").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(address, "/healthz/live").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(address, "/metrics").await.contains("# EOF"));
        shutdown.cancel();
    }
    #[tokio::test]
    async fn a_client_that_is_silent_takes_no_place_from_another_address() {
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = serve(listener, Readiness::default(), Metrics::default(), shutdown.clone()).unwrap();
        let connect = async || {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS_PER_ADDRESS {
            silent.push(connect().await);
        }
        let ended = connect().await.read(&mut [0; 1]).await;
        assert!(!matches!(ended, Ok(read) if read > 0), "it is turned away: {ended:?}");
        assert!(fetch(address, "/healthz/live").await.starts_with("HTTP/1.1 200"));
        drop(silent);
        shutdown.cancel();
    }
}
