//! Clients that try again and again until they are answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cofide_testkit::kubernetes::{Client, Direct};

use crate::seen::Seen;
use crate::{PORT, TRUST_DOMAIN};

/// One attempt. A connection that arrives takes a few milliseconds.
const ATTEMPT: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(3);
/// Far beyond what anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a client knew where to connect, and when it was answered.
pub(crate) struct Reached {
    pub(crate) resolved: Instant,
    pub(crate) answered: Instant,
}

/// From the cluster without a mesh: the name by the agent's resolver, the connection through an Envoy of the agent.
pub(crate) async fn outside(client: &Client, direct: &Direct, hostname: &str) -> Result<Reached> {
    let begun = Instant::now();
    let address = loop {
        if let Some(address) = client.resolve(hostname).await.first() {
            break *address;
        }
        if begun.elapsed() > PATIENCE {
            bail!("{hostname} has no address after {PATIENCE:?}");
        }
        tokio::time::sleep(POLL).await;
    };
    until_answered(client, direct, hostname, (address, PORT).into()).await
}

/// From the mesh: the name as the mesh has it, the connection through the sidecar.
pub(crate) async fn inside(client: &Client, seen: &Seen, direct: &Direct, hostname: &str) -> Result<Reached> {
    let address = seen.address(hostname).await?;
    until_answered(client, direct, hostname, (address, PORT).into()).await
}

/// The application does TLS itself, and takes no answer but one of the server's trust domain.
async fn until_answered(client: &Client, direct: &Direct, hostname: &str, address: SocketAddr) -> Result<Reached> {
    let resolved = Instant::now();
    loop {
        let attempt = async { direct.ping_over(client.host().connect(address).await?, hostname, TRUST_DOMAIN).await };
        let error = match tokio::time::timeout(ATTEMPT, attempt).await {
            Ok(Ok(_)) => return Ok(Reached { resolved, answered: Instant::now() }),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer within {ATTEMPT:?}"),
        };
        if resolved.elapsed() > PATIENCE {
            return Err(error.context(format!("{hostname} at {address} does not answer after {PATIENCE:?}")));
        }
        tokio::time::sleep(POLL).await;
    }
}
