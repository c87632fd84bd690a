//! What the cluster has of one kind, as a watch tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofide_runtime::Backoff;
use futures::TryStreamExt;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::failure;
use super::live::{Live, Name};
use crate::published::Wake;

const SPIRE_GROUP: &str = "spire.spiffe.io";
const RETRY: Duration = Duration::from_millis(200);
/// A definition that appears, or rights that are given, take effect within this time.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A connection that died without a word is noticed after this many seconds.
const WATCH_TIMEOUT: u32 = 120;

#[derive(Debug)]
pub(super) struct Mirror {
    name: &'static str,
    kind: ApiResource,
    /// What the controller behind it says is asked for; Istio's changes often, and nobody asks.
    keeps_status: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    presence: Presence,
    /// The version of each object; what is older than that is late news.
    versions: BTreeMap<Name, u64>,
    /// By name, the uid of what was deleted and which the watch may speak of once more before it says so too.
    gone: BTreeMap<Name, String>,
}

/// What is known of a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Presence {
    /// It was not listed yet.
    #[default]
    Unknown,
    /// The cluster does not have the kind.
    Absent,
    /// The agent may not look.
    Refused(String),
    /// Objects are shared, so that one which changes while somebody reads does not cost a copy of them all.
    Listed(Arc<BTreeMap<Name, Arc<Live>>>),
}

impl Mirror {
    /// `name` is the kind's own.
    pub(super) fn new(name: &'static str, kind: ApiResource) -> Self {
        let keeps_status = kind.group == SPIRE_GROUP;
        Self { name, kind, keeps_status, state: Mutex::default() }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn kind(&self) -> &ApiResource {
        &self.kind
    }

    pub(super) fn presence(&self) -> Presence {
        self.lock().presence.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the API server answered to a write, which the watch may tell later.
    pub(super) fn saw(&self, object: &DynamicObject) -> bool {
        self.lock().put(Record::new(object, self.keeps_status))
    }

    /// Takes in that an object is there no more, of which the watch may tell later. Until then it would be deleted again.
    pub(super) fn saw_gone(&self, name: Name, uid: &str) {
        self.lock().forget(name, uid);
    }

    /// Watches until `shutdown`.
    pub(super) async fn follow(&self, client: Client, wake: Wake, shutdown: CancellationToken) {
        let api: Api<DynamicObject> = Api::all_with(client, &self.kind);
        let mut events = Box::pin(watcher::watcher(api, watcher::Config::default().timeout(WATCH_TIMEOUT)));
        let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.try_next() => event,
            };
            let changed = match event {
                Ok(None) => return,
                Ok(Some(Event::Init)) => {
                    listed.clear();
                    false
                }
                // Not the object itself: with all that the API server knows of it, it is many times as large.
                Ok(Some(Event::InitApply(object))) => {
                    listed.push(Record::new(&object, self.keeps_status));
                    false
                }
                Ok(Some(Event::InitDone)) => {
                    backoff.reset();
                    self.lock().replace(std::mem::take(&mut listed))
                }
                Ok(Some(Event::Apply(object))) => self.lock().put(Record::new(&object, self.keeps_status)),
                Ok(Some(Event::Delete(object))) => self.lock().remove(&object),
                Err(error) => {
                    let changed = self.failed(&error);
                    if changed {
                        wake.wake();
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(backoff.wait()) => {}
                    }
                    false
                }
            };
            if changed {
                wake.wake();
            }
        }
    }

    /// What was known stays known, unless the whole kind has gone.
    fn failed(&self, error: &watcher::Error) -> bool {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
                status
            }
            // Connections break, and a place in the history is forgotten (410): the watcher takes care of both.
            _ => {
                tracing::debug!(kind = %self.kind.kind, %error, "a watch broke off");
                return false;
            }
        };
        let presence = match status.code {
            404 => Presence::Absent,
            401 | 403 => Presence::Refused(failure::forbidden("list and watch", &self.kind, &status.message)),
            _ => {
                tracing::debug!(kind = %self.kind.kind, %error, "cannot watch");
                return false;
            }
        };
        let mut state = self.lock();
        if state.presence == presence {
            return false;
        }
        match &presence {
            // A cluster without Istio, or without spire-controller-manager, is no failure of anybody.
            Presence::Absent => tracing::info!(kind = %self.kind.kind, "the cluster does not have this kind; it is looked for again"),
            _ => tracing::warn!(kind = %self.kind.kind, %error, "cannot watch"),
        }
        *state = State { presence, ..State::default() };
        true
    }
}

fn name(object: &DynamicObject) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn version(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// What is kept of one object.
#[derive(Debug)]
struct Record {
    name: Name,
    version: u64,
    live: Arc<Live>,
}

impl Record {
    fn new(object: &DynamicObject, keeps_status: bool) -> Self {
        Self { name: name(object), version: version(object), live: Arc::new(Live::new(object, keeps_status)) }
    }
}

impl State {
    /// Answers whether that is news.
    fn replace(&mut self, records: Vec<Record>) -> bool {
        self.versions = records.iter().map(|record| (record.name.clone(), record.version)).collect();
        let live: BTreeMap<_, _> = records.into_iter().map(|record| (record.name, record.live)).collect();
        let presence = Presence::Listed(Arc::new(live));
        let changed = self.presence != presence;
        self.presence = presence;
        self.gone.clear();
        changed
    }

    fn put(&mut self, Record { name, version, live: record }: Record) -> bool {
        let Presence::Listed(live) = &mut self.presence else { return false };
        if self.versions.get(&name).is_some_and(|known| *known > version) {
            return false;
        }
        match self.gone.get(&name) {
            Some(uid) if *uid == record.uid => return false,
            // Another one in its place.
            _ => drop(self.gone.remove(&name)),
        }
        self.versions.insert(name.clone(), version);
        if live.get(&name) == Some(&record) {
            return false;
        }
        Arc::make_mut(live).insert(name, record);
        true
    }

    fn forget(&mut self, name: Name, uid: &str) {
        let Presence::Listed(live) = &mut self.presence else { return };
        if live.get(&name).is_some_and(|held| held.uid == uid) {
            Arc::make_mut(live).remove(&name);
            self.versions.remove(&name);
            self.gone.insert(name, uid.to_owned());
        }
    }

    fn remove(&mut self, object: &DynamicObject) -> bool {
        let Presence::Listed(live) = &mut self.presence else { return false };
        let (name, version) = (name(object), version(object));
        if object.metadata.uid.as_ref() == self.gone.get(&name) {
            self.gone.remove(&name);
        }
        if self.versions.get(&name).is_some_and(|known| *known > version) {
            return false;
        }
        self.versions.remove(&name);
        Arc::make_mut(live).remove(&name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(uid: &str, version: u64) -> DynamicObject {
        let metadata = json!({ "namespace": "demo", "name": "a", "uid": uid, "resourceVersion": version.to_string() });
        serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap()
    }

    fn record(uid: &str, version: u64) -> Record {
        Record::new(&object(uid, version), false)
    }

    fn uids(state: &State) -> Vec<String> {
        let Presence::Listed(live) = &state.presence else { return vec![] };
        live.values().map(|live| live.uid.clone()).collect()
    }

    fn listed(records: Vec<Record>) -> State {
        let mut state = State::default();
        state.replace(records);
        state
    }

    #[test]
    fn what_was_deleted_is_gone_before_the_watch_says_so_and_late_news_of_it_does_not_bring_it_back() {
        let mut state = listed(vec![record("one", 3)]);
        state.forget(name(&object("one", 3)), "one");
        assert!(uids(&state).is_empty());
        assert!(!state.put(record("one", 4)), "an update from before");
        assert!(!state.remove(&object("one", 5)), "the watch has come to it");
        assert!(uids(&state).is_empty() && state.gone.is_empty());
    }

    #[test]
    fn another_object_of_the_name_is_seen_before_and_after_the_end_of_the_one_before() {
        let mut state = listed(vec![record("one", 3)]);
        state.forget(name(&object("one", 3)), "one");
        assert!(state.put(record("two", 6)));
        assert!(!state.remove(&object("one", 5)), "late news");
        assert_eq!(uids(&state), ["two"]);
        state.forget(name(&object("one", 3)), "one");
        assert_eq!(uids(&state), ["two"], "it is not the one that was deleted");
    }
}
