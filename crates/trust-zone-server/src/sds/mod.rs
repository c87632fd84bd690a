//! Envoy's secret discovery service, on the socket of the Workload API.
//!
//! Every stream has a world of its own: the secrets of the process at the other end, under all the names that it may ask
//! for them. What the node says about itself chooses nothing but the form of the bundles: an Envoy before 1.18 has no validator for
//! SPIFFE, and gets them as SPIRE gives them to such ones. A process without an identity waits; one that loses its
//! identity loses its streams, and waits when it comes back.

mod secrets;

use std::sync::{Arc, Weak};
use std::time::Duration;

use cofide_xds::envoy::envoy::config::core::v3::node::UserAgentVersionType;
use cofide_xds::envoy::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;
use cofide_xds::type_url::SECRET;
use cofide_xds::{Cache, Limits, Node, Router, Server};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::attestation;
use crate::config;
use crate::workload::{WorkloadWatch, Workloads};
use secrets::Form;

/// How long a fetch waits for an identity before it answers that there is none.
const FETCH_WAIT: Duration = Duration::from_secs(5);

pub fn service(
    workloads: Workloads,
    names: config::Sds,
    shutdown: CancellationToken,
) -> SecretDiscoveryServiceServer<Server<SecretRouter>> {
    Server::with(SecretRouter { workloads, names: Arc::new(names) }, shutdown, Limits::default(), FETCH_WAIT).secrets()
}

/// Gives each stream the secrets of its peer.
#[derive(Debug)]
pub struct SecretRouter {
    workloads: Workloads,
    names: Arc<config::Sds>,
}

#[tonic::async_trait]
impl Router for SecretRouter {
    async fn cache_for(&self, peer: &cofide_xds::Peer, node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        let peer = peer.extensions.get::<attestation::Peer>().ok_or_else(|| Status::internal("the connection has no peer"))?;
        let watch = self.workloads.watch(peer).await?;
        let cache = Arc::new(Cache::new());
        let form = if has_spiffe_validator(node) { Form::SpiffeValidator } else { Form::Plain };
        tokio::spawn(feed(Arc::downgrade(&cache), watch, (self.names.clone(), form), peer.clone()));
        Ok(cache)
    }
}

/// Whoever does not say which Envoy it is, is taken for one of today.
fn has_spiffe_validator(node: &Node) -> bool {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            build.version.as_ref().is_none_or(|version| (version.major_number, version.minor_number) >= (1, 18))
        }
        _ => true,
    }
}

/// Keeps the cache in step with the workload, for as long as a stream reads it.
async fn feed(cache: Weak<Cache>, mut watch: WorkloadWatch, (names, form): (Arc<config::Sds>, Form), peer: attestation::Peer) {
    let mut had_identity = false;
    loop {
        let update = tokio::select! {
            () = peer.closed() => return,
            update = watch.next() => update,
        };
        let Some(cache) = cache.upgrade() else { return };
        match update {
            Ok(update) if !update.identities.is_empty() => {
                cache.replace(SECRET, secrets::all(&update, &names, form));
                cache.mark_ready();
                had_identity = true;
            }
            Ok(_) if had_identity => {
                tracing::info!(pid = peer.pid(), "the workload has no identity any more; closing its secret streams");
                return cache.close("no identity issued");
            }
            Ok(_) => tracing::debug!(pid = peer.pid(), "secrets wait for an entry that describes the workload"),
            Err(error) => return cache.close(Status::from(error).message()),
        }
    }
}
