//! The state of the world in memory, and what follows from it for each connected cluster.
//!
//! ```text
//!  store ── changes since revision r ──> reload only what changed ──> Snapshot (before, after)
//!                                                                          │ affected: (cluster, key), ...
//!                                                                          v
//!                        agents <── delta or state of the world ── one Cache per connected cluster
//!                           │
//!                           └── ACK, NACK, what they already hold ──> receipts ──> store
//! ```
//!
//! A cluster's cache exists for as long as somebody holds it, which is while a stream of its agent is open: what nobody
//! asks for is not computed. A version is the hash of the content, so a cache that is made anew has the same versions,
//! and an agent that comes back with what it holds is sent what differs and nothing else.
//!
//! The hub wakes after each commit and looks by itself every second: the waking is for speed, the look for whatever was
//! missed. In the same way it follows what other replicas change in the same database.

mod receipts;
mod reload;
mod resources;
mod router;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use cofide_api::convert::plan_resource;
use cofide_core::{Bundle, Change, ClusterId, ControlPlaneTrust, Revision, SpiffeId, TrustDomain};
use cofide_plan::{Key, Snapshot};
use cofide_runtime::{Chain, Component};
use cofide_store::{Store, StoreError};
use cofide_svid::BundleSource;
use cofide_xds::{Cache, Resource, Update};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use receipts::ReceiptLog;
pub use resources::version;
pub use router::PlanRouter;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer to a committed change waits for the hub. The change stands in any case.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);

/// Clones share the same state.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    spiffe_id: SpiffeId,
    snapshot: RwLock<Snapshot>,
    /// Held while snapshot and caches are brought to the next revision, and while a cache is filled: the two agree.
    caches: Mutex<HashMap<ClusterId, Weak<Cache>>>,
    reached: watch::Sender<Revision>,
    /// Counts the changes of trust zones and bundles and the clusters that went, for whoever must look again at what was
    /// verified with them.
    trust: watch::Sender<u64>,
}

impl Hub {
    /// Loads everything. `spiffe_id` is the control plane's own, for the agents to recognise it by.
    pub async fn load(store: Store, spiffe_id: SpiffeId) -> Result<Self, StoreError> {
        let snapshot = reload::everything(&store, &spiffe_id).await?;
        let reached = watch::Sender::new(snapshot.revision());
        let inner =
            Inner { store, spiffe_id, snapshot: RwLock::new(snapshot), caches: Mutex::default(), reached, trust: watch::Sender::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Follows the store until `shutdown`; `readiness` says whether that works.
    pub async fn run(self, readiness: Component, shutdown: CancellationToken) {
        // Loading everything was the first look.
        readiness.ready();
        let mut revisions = self.inner.store.revisions();
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = revisions.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            // What comes back may have another past.
            match self.catch_up(!is_failing).await {
                Ok(()) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("what changed can be read again");
                    }
                    readiness.ready();
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(error = %Chain(&error), "cannot read what changed; agents keep what they have until it works again");
                    }
                    readiness.waiting("the database can be read again");
                }
            }
        }
    }

    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.inner.spiffe_id
    }

    /// The state as of the revision that the hub has reached.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the hub has applied a revision, so that whoever made a change finds it in effect.
    pub async fn reach(&self, revision: Revision) {
        let mut reached = self.inner.reached.subscribe();
        let waited = tokio::time::timeout(WAIT_AT_MOST, reached.wait_for(|reached| *reached >= revision)).await;
        if waited.is_err() {
            tracing::warn!(revision, "the change is committed, but the hub has not reached it yet");
        }
    }

    /// Told whenever a trust zone or a bundle has changed or a cluster is gone, after the change took effect.
    pub fn trust_changes(&self) -> watch::Receiver<u64> {
        self.inner.trust.subscribe()
    }

    /// The cache of a cluster, filled with its present plan.
    pub fn cache(&self, cluster: &ClusterId) -> Arc<Cache> {
        let mut caches = self.caches();
        if let Some(cache) = caches.get(cluster).and_then(Weak::upgrade) {
            return cache;
        }
        caches.retain(|_, cache| cache.strong_count() > 0);
        let cache = Arc::new(Cache::new());
        cache.replace_all(encoded_plan(&self.snapshot(), cluster));
        cache.mark_ready();
        caches.insert(cluster.clone(), Arc::downgrade(&cache));
        cache
    }

    /// How many clusters somebody listens for.
    pub fn followed_clusters(&self) -> usize {
        self.caches().values().filter(|cache| cache.strong_count() > 0).count()
    }

    fn caches(&self) -> MutexGuard<'_, HashMap<ClusterId, Weak<Cache>>> {
        self.inner.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn catch_up(&self, is_same_history: bool) -> Result<(), StoreError> {
        let before = self.snapshot();
        let reloaded = reload::since(&self.inner.store, &before, &self.inner.spiffe_id, is_same_history).await?;
        let Some(reloaded) = reloaded else { return Ok(()) };
        let reload::Reloaded { after, changes, is_afresh } = reloaded;
        let revision = after.revision();
        let caches = self.caches();
        *self.inner.snapshot.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        let held = |cluster: &ClusterId| caches.get(cluster).and_then(Weak::upgrade);
        if is_afresh {
            for (cluster, cache) in caches.keys().filter_map(|cluster| Some((cluster, held(cluster)?))) {
                cache.replace_all(encoded_plan(&after, cluster));
            }
        } else {
            // Work follows the change and not the number of clusters.
            for (cluster, update) in self.updates(&before, &after, &changes, |cluster| caches.contains_key(cluster)) {
                if let Some(cache) = held(&cluster) {
                    cache.apply(update);
                }
            }
        }
        drop(caches);
        tracing::debug!(revision, changes = changes.len(), is_afresh, "reached");
        let takes_trust = |change: &Change| match change {
            Change::TrustZone(_) | Change::BundleOf(_) => true,
            // With the cluster its agent is gone.
            Change::Cluster(id) => after.cluster(id).is_none(),
            _ => false,
        };
        if is_afresh || changes.iter().any(takes_trust) {
            self.inner.trust.send_modify(|count| *count += 1);
        }
        self.inner.reached.send_replace(revision);
        Ok(())
    }

    /// What the changes mean for the clusters that somebody listens for.
    fn updates(
        &self,
        before: &Snapshot,
        after: &Snapshot,
        changes: &[Change],
        is_connected: impl Fn(&ClusterId) -> bool,
    ) -> HashMap<ClusterId, Update> {
        let affected: BTreeSet<(ClusterId, Key)> = changes
            .iter()
            .flat_map(|change| cofide_plan::affected(before, after, change))
            .filter(|(cluster, _)| is_connected(cluster))
            .collect();
        let mut updates: HashMap<ClusterId, Update> = HashMap::new();
        for (cluster, key) in affected {
            let update = updates.entry(cluster.clone()).or_default();
            match cofide_plan::resource(after, &cluster, &key) {
                Some(resource) => update.set.push(resources::encode(&resource)),
                None => update.removed.push((plan_resource::type_url(&key).to_owned(), plan_resource::name(&key, &self.inner.spiffe_id))),
            }
        }
        updates
    }
}

fn encoded_plan(snapshot: &Snapshot, cluster: &ClusterId) -> Vec<(String, Resource)> {
    cofide_plan::plan(snapshot, cluster).iter().map(|(_, resource)| resources::encode(resource)).collect()
}

/// The bundles with which certificates of clients are verified: each zone's own, and nothing pooled.
#[derive(Clone)]
pub struct ZoneBundles(pub Hub);

impl BundleSource for ZoneBundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let snapshot = self.0.snapshot();
        let zone = snapshot.trust_zone_by_domain(trust_domain)?;
        zone.bundle.clone().map(Arc::new)
    }
}

impl std::fmt::Debug for ZoneBundles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ZoneBundles")
    }
}

/// What agents are told about the control plane itself: its management trust zone's bundle under its own SPIFFE ID.
fn control_plane_trust(snapshot: &Snapshot, spiffe_id: &SpiffeId) -> Option<ControlPlaneTrust> {
    let zone = snapshot.trust_zone_by_domain(spiffe_id.trust_domain())?;
    let bundle = zone.bundle.clone()?;
    zone.is_management_zone.then(|| ControlPlaneTrust { spiffe_id: spiffe_id.clone(), bundle })
}
