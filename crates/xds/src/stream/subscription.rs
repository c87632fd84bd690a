//! What a client wants of one type, what it holds, and what it has yet to answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::cache::View;
use crate::order::Difference;
use crate::resource::{Fingerprint, SetVersion, fingerprint};
use crate::type_url::TypeRules;
use crate::{Rejection, Resource};

/// The name that asks for everything.
pub(crate) const WILDCARD: &str = "*";

/// Unacknowledged responses that are remembered per type. A client that lets more of them pile up gets no receipts for
/// the oldest.
const MAX_IN_FLIGHT: usize = 64;

/// What it costs to keep one name, apart from its bytes.
const NAME_OVERHEAD: usize = 64;

/// One type on one stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) rules: TypeRules,
    /// Everything is wanted.
    pub(crate) wildcard: bool,
    /// Wanted by name, whether or not everything is.
    pub(crate) names: Names,
    /// Whether the client has ever named something; if not, an empty list still means everything.
    pub(crate) explicit: bool,
    pub(crate) holdings: Holdings,
    /// Names to be answered even if the client holds them already, or if there is nothing to send.
    pub(crate) asked: BTreeSet<Arc<str>>,
    /// Names that the client stopped wanting in a request that was not acted upon.
    pub(crate) let_go: BTreeSet<Arc<str>>,
    /// Names whose content may differ from what the client holds.
    pub(crate) dirty: BTreeSet<Arc<str>>,
    /// Any name may differ.
    pub(crate) all_dirty: bool,
    /// A response is due even if it is empty.
    pub(crate) owed: bool,
    /// Of the last list of names that was acted upon, where each request repeats the list.
    pub(crate) list: Option<u64>,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) last_nonce: Option<String>,
}

/// A response that awaits its ACK or NACK.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) nonce: String,
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) removed: Vec<String>,
    /// From then on nothing waits for the acknowledgement any more.
    pub(crate) deadline: Instant,
}

/// What a receipt needs to know of the response that it is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) resources: Vec<(String, String)>,
    pub(crate) removed: Vec<String>,
    pub(crate) rejection: Option<Rejection>,
}

impl Subscription {
    pub(crate) fn new(rules: TypeRules) -> Self {
        Self {
            rules,
            wildcard: false,
            names: Names::default(),
            explicit: false,
            holdings: Holdings::default(),
            asked: BTreeSet::new(),
            let_go: BTreeSet::new(),
            dirty: BTreeSet::new(),
            all_dirty: false,
            owed: false,
            list: None,
            in_flight: VecDeque::new(),
            last_nonce: None,
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub(crate) fn want_everything(&mut self) {
        if !self.wildcard {
            self.wildcard = true;
            self.all_dirty = true;
            self.owed = true;
            // What was given up while it was on its way arrives now as something wanted, and may be gone meanwhile.
            let on_its_way = self.in_flight.iter().flat_map(|response| &response.resources).map(|resource| resource.shared_name());
            self.asked.extend(on_its_way.filter(|name| !self.holdings.contains(name)).cloned());
        }
    }

    /// Forgets what is not wanted any more: the client has dropped it and needs no word about it.
    pub(crate) fn drop_unwanted(&mut self) {
        let (wildcard, names) = (self.wildcard, &self.names);
        if !wildcard {
            self.holdings.retain(|name| names.contains(name));
            self.asked.retain(|name| names.contains(name));
        }
    }

    /// The same for one name, at the cost of one name.
    pub(crate) fn drop_if_unwanted(&mut self, name: &str) {
        if !self.wants(name) {
            self.holdings.remove(name);
            self.asked.remove(name);
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.owed || self.all_dirty || !self.dirty.is_empty() || !self.asked.is_empty()
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.owed || !self.asked.is_empty()
    }

    /// Whether a response is out that is still worth waiting for.
    pub(crate) fn awaits_acknowledgement(&self, now: Instant) -> bool {
        self.in_flight.back().is_some_and(|response| response.deadline > now)
    }

    /// What of the names asked for is to be sent, whether the client holds it or not.
    pub(crate) fn take_answer(&mut self, type_url: &str, view: &View<'_>) -> Difference {
        let asked = std::mem::take(&mut self.asked);
        self.answer(&asked, type_url, view)
    }

    fn answer(&mut self, asked: &BTreeSet<Arc<str>>, type_url: &str, view: &View<'_>) -> Difference {
        let owed = std::mem::take(&mut self.owed) || !asked.is_empty();
        let mut answer = Difference { owed, ..Difference::default() };
        for name in asked {
            match view.get(type_url, name) {
                Some(resource) => answer.set.push(resource.clone()),
                None if self.rules.tells_absence || self.holdings.contains(name) => answer.removed.push(name.to_string()),
                None => {}
            }
        }
        answer
    }

    /// Everything in which the client's holdings differ from the cache, as far as it can have changed, and the answers
    /// to what was asked.
    pub(crate) fn take_difference(&mut self, type_url: &str, view: &View<'_>) -> Difference {
        let asked = std::mem::take(&mut self.asked);
        let mut difference = self.answer(&asked, type_url, view);
        let mut dirty = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.all_dirty) {
            dirty = self.holdings.names().cloned().collect();
            if self.wildcard {
                dirty.extend(view.names(type_url).cloned());
            } else {
                dirty.extend(self.names.iter().cloned());
            }
        }
        for name in dirty.iter().filter(|name| !asked.contains(*name) && self.wants(name)) {
            match view.get(type_url, name) {
                Some(resource) if self.holdings.version(name) != Some(resource.version()) => difference.set.push(resource.clone()),
                None if self.holdings.contains(name) => difference.removed.push(name.to_string()),
                _ => {}
            }
        }
        difference
    }

    pub(crate) fn sent(&mut self, response: InFlight) {
        self.last_nonce = Some(response.nonce.clone());
        self.in_flight.push_back(response);
        if self.in_flight.len() > MAX_IN_FLIGHT {
            self.in_flight.pop_front();
        }
    }

    pub(crate) fn acknowledge(&mut self, nonce: &str, rejection: Option<Rejection>) -> Option<Acknowledgement> {
        let position = self.in_flight.iter().position(|response| response.nonce == nonce)?;
        let InFlight { resources, removed, .. } = self.in_flight.remove(position)?;
        let resources = resources.iter().map(|resource| (resource.name().to_owned(), resource.version().to_owned())).collect();
        Some(Acknowledgement { resources, removed, rejection })
    }

    /// The memory that the client's words take.
    pub(crate) fn cost(&self) -> usize {
        self.names.cost + self.holdings.claimed_cost
    }
}

/// Names, and the memory that they take.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: BTreeSet<Arc<str>>,
    cost: usize,
}

impl Names {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    pub(crate) fn insert(&mut self, name: Arc<str>) {
        let cost = name.len() + NAME_OVERHEAD;
        if self.names.insert(name) {
            self.cost += cost;
        }
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let was_there = self.names.remove(name);
        if was_there {
            self.cost -= name.len() + NAME_OVERHEAD;
        }
        was_there
    }
}

impl FromIterator<Arc<str>> for Names {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(iterator: I) -> Self {
        let names: BTreeSet<Arc<str>> = iterator.into_iter().collect();
        let cost = names.iter().map(|name| name.len() + NAME_OVERHEAD).sum();
        Self { names, cost }
    }
}

/// What the client holds: what was sent to it, and what it said it had at the beginning.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    resources: BTreeMap<Arc<str>, Held>,
    version: SetVersion,
    /// Grows only: claims are made once per type.
    claimed_cost: usize,
}

#[derive(Debug)]
enum Held {
    Sent(Arc<Resource>),
    /// Held since an earlier stream, in this version.
    Claimed(String),
}

impl Held {
    fn version(&self) -> &str {
        match self {
            Self::Sent(resource) => resource.version(),
            Self::Claimed(version) => version,
        }
    }

    fn fingerprint(&self, name: &str) -> Fingerprint {
        match self {
            Self::Sent(resource) => resource.fingerprint(),
            Self::Claimed(version) => fingerprint(name, version),
        }
    }
}

impl Holdings {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.resources.contains_key(name)
    }

    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        self.resources.get(name).map(Held::version)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resources.keys()
    }

    /// The version of all of it together.
    pub(crate) fn set_version(&self) -> SetVersion {
        self.version
    }

    /// What was sent and still stands, by name.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values().filter_map(|held| match held {
            Held::Sent(resource) => Some(resource),
            Held::Claimed(_) => None,
        })
    }

    pub(crate) fn insert(&mut self, resource: Arc<Resource>) {
        self.put(resource.shared_name().clone(), Held::Sent(resource));
    }

    pub(crate) fn claim(&mut self, name: String, version: String) {
        self.claimed_cost += name.len() + version.len() + NAME_OVERHEAD;
        self.put(name.into(), Held::Claimed(version));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(held) = self.resources.remove(name) {
            self.version.toggle(held.fingerprint(name));
        }
    }

    fn put(&mut self, name: Arc<str>, held: Held) {
        self.remove(&name);
        self.version.toggle(held.fingerprint(&name));
        self.resources.insert(name, held);
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let gone: Vec<Arc<str>> = self.resources.keys().filter(|name| !keep(name)).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
    }
}
