//! What the ping-pong server and client share.
//!
//! The pair stands for any two applications: it knows SPIFFE's Workload API (through the published `spiffe` and
//! `spiffe-rustls` crates) and nothing of the product. In mode `mtls` it speaks TLS with its own SVID; in mode `plain` it
//! speaks plain text and leaves identity to a proxy.
//!
//! The protocol is lines over TCP: the client sends `ping`, the server answers `...pong from <who>`.

pub mod discovery;
pub mod failure;
pub mod peers;

use std::time::Duration;

/// How the application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// TLS with the application's own SVID, both sides verified.
    Mtls,
    /// Plain text; a proxy does the rest.
    Plain,
}

/// After this time without an identity a person is told what the program waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the Workload API at `endpoint`, or where SPIFFE_ENDPOINT_SOCKET points, and waits up to `patience` for the first
/// SVID. From then on the source follows every change.
pub async fn workload_identity(endpoint: Option<&str>, patience: Duration) -> anyhow::Result<spiffe::X509Source> {
    let builder = spiffe::X509Source::builder().initial_sync_timeout(patience);
    let builder = match endpoint {
        Some(endpoint) => builder.endpoint(endpoint),
        None => builder,
    };
    let place = endpoint.unwrap_or("the socket named by SPIFFE_ENDPOINT_SOCKET");
    let mut source = std::pin::pin!(builder.build());
    let source = match tokio::time::timeout(PATIENCE, &mut source).await {
        Ok(source) => source,
        Err(_) => {
            eprintln!("waiting for an identity from the Workload API at {place}");
            source.await
        }
    };
    source.map_err(|error| {
        anyhow::anyhow!(
            "no identity from the Workload API at {place}: {error}; is the server up, and does an entry match this process? The log of a \
             trust-zone-server names the process that it knows no entry for. With Connect an attestation-policy-binding makes the entry: \
             cofidectl attestation-policy-binding list, and cofidectl explain --from TRUST_ZONE --to HOSTNAME"
        )
    })
}
