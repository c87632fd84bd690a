//! The world of one group of equal clients, and a short memory of how it changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::Resource;

/// Entries of the change log unless said otherwise. A stream that falls further behind compares the whole world once.
const LOG_CAPACITY: usize = 8192;

/// A change of several resources that becomes visible at once.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Type URL and resource.
    pub set: Vec<(String, Resource)>,
    /// Type URL and name.
    pub removed: Vec<(String, String)>,
}

/// Resources by type URL and name. Writers decide what is in it, streams follow.
///
/// Writes are cheap and never wait for a stream; setting what is there already changes nothing and wakes nobody.
pub struct Cache {
    state: RwLock<State>,
    /// Sent on each change; the value is the sequence after it.
    changed: watch::Sender<u64>,
    log_capacity: usize,
}

#[derive(Default)]
struct State {
    types: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Resource>>>,
    /// The number of changes of single resources so far.
    sequence: u64,
    /// The type and name of the last changes, oldest first; the last entry is change number `sequence`.
    log: VecDeque<(Arc<str>, Arc<str>)>,
    ready: bool,
    closed: Option<String>,
}

impl Cache {
    pub fn new() -> Self {
        Self::with_log_capacity(LOG_CAPACITY)
    }

    /// A cache that remembers this many changes.
    pub fn with_log_capacity(log_capacity: usize) -> Self {
        Self { state: RwLock::default(), changed: watch::Sender::new(0), log_capacity }
    }

    /// Says that what the cache holds is the whole truth. Until then its clients wait.
    pub fn mark_ready(&self) {
        self.write(|state, _| state.ready = true);
    }

    pub fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// Ends the streams of this cache, now and in future, with `UNAVAILABLE` and the reason: for a client that has to be
    /// routed anew, or whose reason to exist is gone.
    pub fn close(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.write(|state, _| state.closed = Some(reason));
    }

    /// Answers whether that changed anything.
    pub fn set(&self, type_url: &str, resource: Resource) -> bool {
        self.apply(Update { set: vec![(type_url.to_owned(), resource)], removed: Vec::new() })
    }

    /// Answers whether that changed anything.
    pub fn remove(&self, type_url: &str, name: &str) -> bool {
        self.apply(Update { set: Vec::new(), removed: vec![(type_url.to_owned(), name.to_owned())] })
    }

    /// Applies the whole update at once; answers whether that changed anything. Where an update sets and removes the
    /// same name, it is set.
    pub fn apply(&self, update: Update) -> bool {
        self.write(|state, log_capacity| {
            for (type_url, name) in &update.removed {
                state.remove(type_url, name, log_capacity);
            }
            for (type_url, resource) in update.set {
                state.set(&type_url, resource, log_capacity);
            }
        })
    }

    /// Makes these the only resources of a type; answers whether that changed anything.
    pub fn replace(&self, type_url: &str, resources: Vec<Resource>) -> bool {
        self.write(|state, log_capacity| state.replace(type_url, resources, log_capacity))
    }

    /// Makes these (type URL and resource) the only resources of all; answers whether that changed anything. For whoever
    /// renders a world as a whole: what did not change is not sent.
    pub fn replace_all(&self, resources: Vec<(String, Resource)>) -> bool {
        self.write(|state, log_capacity| {
            let mut wanted: BTreeMap<String, Vec<Resource>> =
                state.types.keys().map(|type_url| (type_url.to_string(), Vec::new())).collect();
            for (type_url, resource) in resources {
                wanted.entry(type_url).or_default().push(resource);
            }
            for (type_url, resources) in wanted {
                state.replace(&type_url, resources, log_capacity);
            }
        })
    }

    pub fn get(&self, type_url: &str, name: &str) -> Option<Arc<Resource>> {
        self.lock().types.get(type_url)?.get(name).cloned()
    }

    /// The resources of a type, by name.
    pub fn list(&self, type_url: &str) -> Vec<Arc<Resource>> {
        self.lock().types.get(type_url).map(|resources| resources.values().cloned().collect()).unwrap_or_default()
    }

    /// A receiver that is told of every change, of readiness and of the end.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The cache as it is now; it stays so until the view is dropped, so a view is never held across an await.
    pub(crate) fn view(&self) -> View<'_> {
        View(self.lock())
    }

    fn lock(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut State, usize)) -> bool {
        let mut state: RwLockWriteGuard<'_, State> = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = (state.sequence, state.ready, state.closed.is_some());
        change(&mut state, self.log_capacity);
        let after = (state.sequence, state.ready, state.closed.is_some());
        drop(state);
        if before != after {
            self.changed.send_replace(after.0);
        }
        before.0 != after.0
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let counts: BTreeMap<_, _> = state.types.iter().map(|(type_url, resources)| (type_url, resources.len())).collect();
        f.debug_struct("Cache").field("sequence", &state.sequence).field("ready", &state.ready).field("resources", &counts).finish()
    }
}

impl State {
    fn set(&mut self, type_url: &str, resource: Resource, log_capacity: usize) {
        let type_url = match self.types.get_key_value(type_url) {
            Some((known, _)) => known.clone(),
            None => type_url.into(),
        };
        let resources = self.types.entry(type_url.clone()).or_default();
        if resources.get(resource.name()).is_some_and(|held| held.version() == resource.version()) {
            return;
        }
        let name = resource.shared_name().clone();
        resources.insert(name.clone(), Arc::new(resource));
        self.record(type_url, name, log_capacity);
    }

    fn remove(&mut self, type_url: &str, name: &str, log_capacity: usize) {
        let Some((type_url, _)) = self.types.get_key_value(type_url) else { return };
        let type_url = type_url.clone();
        if let Some((name, _)) = self.types.get_mut(&type_url).and_then(|resources| resources.remove_entry(name)) {
            self.record(type_url, name, log_capacity);
        }
    }

    fn replace(&mut self, type_url: &str, wanted: Vec<Resource>, log_capacity: usize) {
        let names: BTreeSet<&str> = wanted.iter().map(Resource::name).collect();
        let present = self.types.get(type_url).into_iter().flat_map(BTreeMap::keys);
        let surplus: Vec<Arc<str>> = present.filter(|name| !names.contains(name.as_ref())).cloned().collect();
        for name in surplus {
            self.remove(type_url, &name, log_capacity);
        }
        for resource in wanted {
            self.set(type_url, resource, log_capacity);
        }
    }

    fn record(&mut self, type_url: Arc<str>, name: Arc<str>, log_capacity: usize) {
        self.sequence += 1;
        self.log.push_back((type_url, name));
        if self.log.len() > log_capacity {
            self.log.pop_front();
        }
    }
}

/// The cache at one moment.
pub(crate) struct View<'a>(RwLockReadGuard<'a, State>);

impl View<'_> {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready
    }

    pub(crate) fn closed(&self) -> Option<&str> {
        self.0.closed.as_deref()
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// Type and name of what changed after that sequence, or `None` where the log does not reach back so far.
    pub(crate) fn changes_since(&self, sequence: u64) -> Option<impl Iterator<Item = &(Arc<str>, Arc<str>)>> {
        let missed = usize::try_from(self.0.sequence.checked_sub(sequence)?).ok()?;
        let start = self.0.log.len().checked_sub(missed)?;
        Some(self.0.log.range(start..))
    }

    pub(crate) fn get(&self, type_url: &str, name: &str) -> Option<&Arc<Resource>> {
        self.0.types.get(type_url)?.get(name)
    }

    pub(crate) fn names(&self, type_url: &str) -> impl Iterator<Item = &Arc<str>> {
        self.0.types.get(type_url).into_iter().flat_map(BTreeMap::keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, content: &str) -> Resource {
        Resource::new("t", name, &content.to_owned())
    }

    fn names_since(cache: &Cache, sequence: u64) -> Option<Vec<String>> {
        cache.view().changes_since(sequence).map(|changes| changes.map(|(_, name)| name.to_string()).collect())
    }

    #[test]
    fn what_is_there_already_changes_nothing_and_wakes_nobody() {
        let cache = Cache::new();
        let mut changed = cache.subscribe();
        assert!(cache.set("t", resource("a", "1")));
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        assert!(!cache.set("t", resource("a", "1")));
        assert!(!cache.remove("t", "b"));
        assert!(!cache.remove("unknown", "a"));
        assert!(!cache.replace("t", vec![resource("a", "1")]));
        assert!(!cache.replace_all(vec![("t".into(), resource("a", "1"))]));
        assert!(!changed.has_changed().unwrap());
    }

    #[test]
    fn the_log_says_what_changed_as_long_as_it_remembers() {
        let cache = Cache::with_log_capacity(2);
        cache.set("t", resource("a", "1"));
        cache.set("t", resource("b", "1"));
        assert_eq!(names_since(&cache, 0), Some(vec!["a".into(), "b".into()]));
        cache.remove("t", "a");
        assert_eq!(names_since(&cache, 0), None, "change 1 is forgotten");
        assert_eq!(names_since(&cache, 1), Some(vec!["b".into(), "a".into()]));
        assert_eq!(names_since(&cache, 3), Some(vec![]));
        assert_eq!(names_since(&cache, 4), None, "a sequence of another cache");
    }

    #[test]
    fn a_replacement_changes_only_the_difference() {
        let cache = Cache::new();
        cache.replace("t", vec![resource("a", "1"), resource("b", "1")]);
        let sequence = cache.view().sequence();
        assert!(cache.replace("t", vec![resource("b", "1"), resource("c", "1")]));
        assert_eq!(names_since(&cache, sequence), Some(vec!["a".into(), "c".into()]));
        assert!(cache.replace_all(vec![("u".into(), resource("d", "1"))]));
        assert_eq!((cache.list("t").len(), cache.list("u").len()), (0, 1));
    }

    #[test]
    fn an_update_that_sets_and_removes_a_name_sets_it() {
        let cache = Cache::new();
        cache.apply(Update { set: vec![("t".into(), resource("a", "1"))], removed: vec![("t".into(), "a".into())] });
        assert!(cache.get("t", "a").is_some());
    }
}
