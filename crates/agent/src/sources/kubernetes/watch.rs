//! Follows the objects of one kind, and keeps a record of each.
//!
//! kube's watcher lists, watches, takes up again where a connection broke, and lists anew where the API server has forgotten
//! the place (410). What is here adds: a record in the place of each object, the objects of a list all at once, and patience:
//! a kind that is not defined yet (404), an API server that is away or asks to be left alone (429), rights that are missing
//! (403) are all waited for, and whatever was known stays in force meanwhile.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use cofide_runtime::Backoff;
use futures::TryStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::records::Name;
use crate::published::Wake;

/// How long one waits for more after an event that is not alone, and how long at most. Alone is what comes so long after the
/// last wake-up.
const QUIET: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(200);
/// A definition that appears, or rights that are given, take effect within this time.
const LONGEST_RETRY: Duration = Duration::from_secs(3);
/// A connection that died without a word is noticed after this many seconds.
const WATCH_TIMEOUT: u32 = 120;

/// The records of one kind.
#[derive(Debug)]
pub struct Store<T>(RwLock<Option<BTreeMap<Name, T>>>);

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<T: PartialEq> Store<T> {
    /// Nothing until the first complete list.
    pub fn read(&self) -> RwLockReadGuard<'_, Option<BTreeMap<Name, T>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces everything; answers whether that changed anything.
    fn replace(&self, all: BTreeMap<Name, T>) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = held.as_ref() != Some(&all);
        *held = Some(all);
        changed
    }

    fn put(&self, name: Name, record: T) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let held = held.get_or_insert_default();
        if held.get(&name) == Some(&record) {
            return false;
        }
        held.insert(name, record);
        true
    }

    fn remove(&self, name: &Name) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.as_mut().is_some_and(|held| held.remove(name).is_some())
    }
}

/// Turns many events into few wake-ups: one for the first, one for those that follow on its heels.
#[derive(Clone, Debug)]
pub struct Burst(mpsc::Sender<()>);

impl Burst {
    /// Wakes until `shutdown`.
    pub fn new(wakes: Vec<Wake>, shutdown: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        Self::with(QUIET, LONGEST_WAIT, wakes, shutdown)
    }

    fn with(quiet: Duration, longest: Duration, wakes: Vec<Wake>, shutdown: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        // One place is enough: a wake-up means "look", and one that waits means it already.
        let (sender, mut events) = mpsc::channel::<()>(1);
        let run = async move {
            let mut woken: Option<Instant> = None;
            while events.recv().await.is_some() {
                // Most events come alone, and somebody waits for what follows from them.
                if woken.is_some_and(|woken| woken.elapsed() < longest) {
                    let calm = async { while let Ok(Some(())) = tokio::time::timeout(quiet, events.recv()).await {} };
                    let _ = tokio::time::timeout(longest, calm).await;
                }
                wakes.iter().for_each(Wake::wake);
                woken = Some(Instant::now());
            }
        };
        let run = async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = run => {}
            }
        };
        (Self(sender), run)
    }

    fn event(&self) {
        let _ = self.0.try_send(());
    }
}

/// Keeps `store` in step with the cluster until `shutdown`. `record` makes a record of an object and of the record before.
pub async fn watch<K, T>(api: Api<K>, store: &Store<T>, record: impl Fn(&K, Option<&T>) -> T, burst: Burst, shutdown: CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq,
{
    let kind = K::kind(&());
    let config = watcher::Config::default().timeout(WATCH_TIMEOUT);
    let mut events = Box::pin(watcher::watcher(api, config));
    let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
    let mut complaint = String::new();
    let mut listed = BTreeMap::new();
    let name = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
    let of = |object: &K| {
        let name = name(object);
        let made = record(object, store.read().as_ref().and_then(|held| held.get(&name)));
        (name, made)
    };
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.try_next() => event,
        };
        let changed = match event {
            Ok(Some(Event::Init)) => {
                listed.clear();
                false
            }
            Ok(Some(Event::InitApply(object))) => {
                listed.extend([of(&object)]);
                false
            }
            Ok(Some(Event::InitDone)) => {
                if !complaint.is_empty() {
                    tracing::info!(%kind, "the API server answers again");
                    complaint.clear();
                }
                backoff.reset();
                store.replace(std::mem::take(&mut listed))
            }
            Ok(Some(Event::Apply(object))) => {
                backoff.reset();
                let (name, made) = of(&object);
                store.put(name, made)
            }
            Ok(Some(Event::Delete(object))) => {
                backoff.reset();
                store.remove(&name(&object))
            }
            Ok(None) => return,
            Err(error) => {
                complain(&kind, &error, &mut complaint);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff.wait()) => {}
                }
                false
            }
        };
        if changed {
            burst.event();
        }
    }
}

/// Once for each thing that is wrong. A place that the API server has forgotten, and a connection that it closed, are the
/// ordinary course of a watch.
fn complain(kind: &str, error: &watcher::Error, complaint: &mut String) {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            Some(status.as_ref())
        }
        watcher::Error::WatchError(status) => Some(status.as_ref()),
        watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => None,
        watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_) => None,
    };
    let remedy = match status.map(|status| status.code) {
        Some(410) => return,
        Some(404) => "the cluster does not have this kind; install its CustomResourceDefinition",
        Some(401 | 403) => "the agent's service account lacks a right; see the chart's ClusterRole",
        _ if matches!(error, watcher::Error::WatchFailed(_)) => {
            tracing::debug!(kind, %error, "a watch broke off; it is taken up again");
            return;
        }
        _ => "it is tried again; what was known stays in force",
    };
    let text = error.to_string();
    if *complaint != text {
        tracing::warn!(kind, error = %text, remedy, "cannot watch");
        *complaint = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const FOREVER: Duration = Duration::from_secs(3600);

    async fn is_woken(wake: &Wake) -> bool {
        // Whoever can run without time going by has run then.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        wake.woken().now_or_never().is_some()
    }

    #[tokio::test]
    async fn an_event_that_comes_alone_wakes_at_once_and_one_on_its_heels_waits_for_others() {
        let wake = Wake::default();
        let (burst, run) = Burst::with(FOREVER, FOREVER, vec![wake.clone()], CancellationToken::new());
        let running = tokio::spawn(run);
        burst.event();
        assert!(is_woken(&wake).await);
        burst.event();
        assert!(!is_woken(&wake).await);
        running.abort();
    }

    #[tokio::test]
    async fn events_that_come_together_wake_once_beside_the_first() {
        let wake = Wake::default();
        let (burst, run) = Burst::with(Duration::from_millis(1), FOREVER, vec![wake.clone()], CancellationToken::new());
        let running = tokio::spawn(run);
        burst.event();
        assert!(is_woken(&wake).await);
        for _ in 0..5 {
            burst.event();
        }
        tokio::time::timeout(Duration::from_secs(10), wake.woken()).await.expect("the others are seen too");
        assert!(!is_woken(&wake).await);
        running.abort();
    }
}
