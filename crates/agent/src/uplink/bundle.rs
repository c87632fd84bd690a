//! Pushes the zone's bundle to Connect when it changes.

use std::sync::Arc;

use cofide_core::Bundle;
use tokio::sync::Mutex;

use super::connect::{CallError, Connect};
use super::own_bundle::{OwnBundle, OwnBundleError};
use crate::own_cluster::OwnCluster;
use crate::world::{Link, World};

#[derive(Debug)]
pub struct BundlePush {
    cluster: OwnCluster,
    own: OwnBundle,
    connect: Connect,
    world: Arc<World>,
    /// What Connect has been told since the plan stream is up: a Connect that was away may have come back with less.
    pushed: Mutex<Option<Bundle>>,
}

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Own(#[from] OwnBundleError),
    #[error("pushing the trust zone's bundle: {0}")]
    Call(#[from] CallError),
}

impl BundlePush {
    pub fn new(cluster: OwnCluster, own: OwnBundle, connect: Connect, world: Arc<World>) -> Self {
        Self { cluster, own, connect, world, pushed: Mutex::new(None) }
    }

    /// Reads the bundle and, where Connect was not told of it in this form, tells it.
    pub async fn reconcile(&self) -> Result<(), BundleError> {
        let bundle = self.own.read(&self.cluster.trust_domain).await?;
        let mut pushed = self.pushed.lock().await;
        if *self.world.link.get() != Link::Connected {
            // It is told as soon as the plan stream is up, which the same identity opens.
            *pushed = None;
            return Ok(());
        }
        if pushed.as_ref() != Some(&bundle) {
            self.connect.update_bundle(&self.cluster.trust_zone_id, &bundle).await?;
            tracing::info!(
                x509_authorities = bundle.x509_authorities.len(),
                sequence_number = bundle.sequence_number,
                "bundle pushed to Connect"
            );
            *pushed = Some(bundle);
        }
        Ok(())
    }
}
