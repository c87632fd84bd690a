//! What the watches of a cluster show, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cofide_k8s_api::{FederatedServiceObject, istio};
use cofide_testkit::lab::Cluster;
use futures::TryStreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far beyond what anything takes.
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(1);

/// Follows a cluster until it is dropped.
pub(crate) struct Seen {
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
}

#[derive(Default)]
struct State {
    /// By kind, namespace and name: the hostname that it is for.
    objects: BTreeMap<(String, String, String), String>,
    /// By hostname: when the last of its objects was seen for the first time.
    written: BTreeMap<String, Instant>,
    /// By hostname: what istiod gave it.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// Names of FederatedServices.
    ready: BTreeSet<String>,
}

impl Seen {
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let (state, stop) = (Arc::<Mutex<State>>::default(), CancellationToken::new());
        for kind in istio::kinds().into_iter().chain([ApiResource::erase::<FederatedServiceObject>(&())]) {
            let (client, state) = (cluster.client()?, state.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(async move { follow(client, &kind, &state).await }));
        }
        Ok(Self { state, _stop: stop.drop_guard() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// When the last object for a hostname was there.
    pub(crate) fn written(&self, hostname: &str) -> Option<Instant> {
        self.state().written.get(hostname).copied()
    }

    /// How many objects there are whose hostname is like this.
    pub(crate) fn count(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        self.state().objects.values().filter(|hostname| is_meant(hostname)).count()
    }

    /// Waits for the address that the mesh has for a name.
    pub(crate) async fn address(&self, hostname: &str) -> Result<Ipv4Addr> {
        self.until(&format!("{hostname} has an address"), |state| state.addresses.get(hostname).copied()).await
    }

    pub(crate) async fn until_none(&self, hostname: &str) -> Result<()> {
        let is_gone = |state: &State| state.objects.values().all(|of| of != hostname).then_some(());
        self.until(&format!("the objects for {hostname} are gone"), is_gone).await
    }

    pub(crate) async fn until_ready(&self, count: usize) -> Result<Instant> {
        self.until(&format!("{count} services are ready"), |state| (state.ready.len() >= count).then(Instant::now)).await
    }

    pub(crate) async fn until_name_is_ready(&self, name: &str) -> Result<()> {
        self.until(&format!("{name} is ready"), |state| state.ready.contains(name).then_some(())).await
    }

    /// Waits until so many objects are there whose hostname is like this.
    pub(crate) async fn until_count(&self, count: usize, is_meant: impl Fn(&str) -> bool) -> Result<Instant> {
        let are_there = |state: &State| state.objects.values().filter(|hostname| is_meant(hostname)).count() >= count;
        self.until(&format!("{count} objects are there"), |state| are_there(state).then(Instant::now)).await
    }

    async fn until<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = find(&self.state()) {
                return Ok(found);
            }
            ensure!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(POLL).await;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(client: Client, kind: &ApiResource, state: &Mutex<State>) {
    let api: Api<DynamicObject> = Api::all_with(client, kind);
    let kind = kind.kind.as_str();
    let mut events = Box::pin(watcher::watcher(api, watcher::Config::default()));
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(object) | Event::InitApply(object))) => lock(state).put(kind, &object),
            Ok(Some(Event::Delete(object))) => lock(state).remove(kind, &object),
            Ok(Some(Event::Init | Event::InitDone)) => {}
            Ok(None) => return,
            // A cluster without Istio has no such kind; a watch that broke off is taken up again.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

impl State {
    fn put(&mut self, kind: &str, object: &DynamicObject) {
        if kind == "FederatedService" {
            let conditions = object.data["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
                self.ready.insert(object.name_any());
            }
            return;
        }
        let first_host = || object.data["spec"]["hosts"][0].as_str();
        let Some(hostname) = object.annotations().get("registry.cofide.io/hostname").map(String::as_str).or_else(first_host) else {
            return;
        };
        if kind == "ServiceEntry" {
            let given = object.data["status"]["addresses"].as_array().into_iter().flatten();
            let address = given.filter_map(|given| given["value"].as_str()?.parse().ok()).next();
            self.addresses.extend(address.map(|address| (hostname.to_owned(), address)));
        }
        if self.objects.insert(place(kind, object), hostname.to_owned()).is_none() {
            self.written.insert(hostname.to_owned(), Instant::now());
        }
    }

    fn remove(&mut self, kind: &str, object: &DynamicObject) {
        if kind == "FederatedService" {
            self.ready.remove(&object.name_any());
            return;
        }
        if let Some(hostname) = self.objects.remove(&place(kind, object))
            && kind == "ServiceEntry"
        {
            self.addresses.remove(&hostname);
        }
    }
}

fn place(kind: &str, object: &DynamicObject) -> (String, String, String) {
    (kind.to_owned(), object.namespace().unwrap_or_default(), object.name_any())
}
