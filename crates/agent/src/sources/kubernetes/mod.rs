//! FederatedServices and what they refer to, as a Kubernetes API server holds them: the source of the profiles `kubernetes`
//! and `istio`.
//!
//! ```text
//!  FederatedServices ─┐
//!  Services ──────────┼─ watch ─> Store of records ─ burst ─> decide ─> ClusterView
//!  EndpointSlices ────┘
//! ```
//!
//! - [`mod@watch`] keeps a small record ([`records`]) of each object of all namespaces. What is known stays known while the API
//!   server is away; there is no view before each kind has been listed as a whole once.
//! - [`mod@decide`] is pure and looks at everything, once for a burst of events: which Service and which endpoints are behind each
//!   FederatedService ([`backing`]), and where remote clients enter ([`gateways`]).
//! - Age is the creation time of the object, then its uid; the generation is the API server's. Only the last valid versions of
//!   objects that are not valid now are remembered ([`last_valid`]).

pub mod backing;
pub mod decide;
pub mod gateways;
pub mod last_valid;
pub mod records;
#[cfg(test)]
mod tests;
pub mod watch;

use std::sync::Arc;

use cofide_core::TrustDomain;
use cofide_k8s_api::FederatedServiceObject;
use cofide_runtime::files::FileError;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::published::Wake;
use crate::world::World;
use decide::{SourceSettings, decide};
use last_valid::LastValid;
use records::{ServiceObjectRecord, ServiceRecord, SliceRecord};
use watch::{Burst, Store, watch};

/// Everything that is watched.
#[derive(Debug, Default)]
pub struct Stores {
    pub objects: Store<ServiceObjectRecord>,
    pub services: Store<ServiceRecord>,
    pub slices: Store<SliceRecord>,
}

/// Reads the cluster into the world's view.
#[derive(Debug)]
pub struct KubernetesSource {
    settings: SourceSettings,
    stores: Arc<Stores>,
    last_valid: Arc<LastValid>,
    world: Arc<World>,
}

impl KubernetesSource {
    /// Begins to watch. `wakes` are called when something may have changed.
    #[expect(clippy::too_many_arguments, reason = "each is another part of the agent, and all are there once")]
    pub fn start(
        client: &Client,
        last_valid: LastValid,
        own: TrustDomain,
        settings: SourceSettings,
        world: Arc<World>,
        wakes: Vec<Wake>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let stores = Arc::new(Stores::default());
        let (burst, run) = Burst::new(wakes, shutdown.clone());
        tasks.spawn(run);
        let (objects, services, slices): (Api<FederatedServiceObject>, Api<Service>, Api<EndpointSlice>) =
            (Api::all(client.clone()), Api::all(client.clone()), Api::all(client.clone()));
        let last_valid = Arc::new(last_valid);
        let (held, memory, burst_of, stop) = (stores.clone(), last_valid.clone(), burst.clone(), shutdown.clone());
        tasks.spawn(async move {
            let record = |object: &FederatedServiceObject, before: Option<&ServiceObjectRecord>| {
                let record = ServiceObjectRecord::new(object, &own, before);
                let valid = record.valid.or_else(|| memory.recall(&record.uid, &own));
                ServiceObjectRecord { valid, ..record }
            };
            watch(objects, &held.objects, record, burst_of, stop).await;
        });
        let (held, burst_of, stop) = (stores.clone(), burst.clone(), shutdown.clone());
        tasks.spawn(async move { watch(services, &held.services, |service, _| service.into(), burst_of, stop).await });
        let (held, stop) = (stores.clone(), shutdown.clone());
        tasks.spawn(async move { watch(slices, &held.slices, |slice, _| slice.into(), burst, stop).await });
        Self { settings, stores, last_valid, world }
    }

    /// What is watched, for whoever writes to the objects.
    pub fn stores(&self) -> Arc<Stores> {
        self.stores.clone()
    }

    /// Publishes how the cluster looks now; nothing before everything was listed once.
    ///
    /// # Errors
    ///
    /// When what is needed after a restart cannot be written down. The view is published.
    pub fn reconcile(&self) -> Result<(), FileError> {
        let (objects, services, slices) = (self.stores.objects.read(), self.stores.services.read(), self.stores.slices.read());
        let (Some(objects), Some(services), Some(slices)) = (&*objects, &*services, &*slices) else { return Ok(()) };
        let view = decide(&self.settings, objects.values(), services.values(), slices.values());
        // First, because whoever keeps it elsewhere is woken by the view.
        let kept = self.last_valid.keep(objects.values());
        self.world.view.set(Some(view));
        kept
    }
}
