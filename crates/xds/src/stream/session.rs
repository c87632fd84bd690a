//! The state of one stream, and the decision what to send next.
//!
//! Two kinds of types live on a stream. The ordered ones (clusters, endpoints, listeners, routes) share one lane: a
//! change of the cache becomes a round of steps, frozen when the round begins, and each step waits until the one before
//! it was acknowledged. What changes meanwhile makes the next round, so a steady flow of cluster changes cannot starve
//! listeners, and no listener runs ahead of its cluster. Each other type has a lane of its own.
//!
//! An answer to a question for names does not wait: whoever asks for the endpoints of a cluster has the cluster.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::{Limits, Violation};
use super::subscription::{InFlight, Subscription};
use crate::cache::View;
use crate::order::{self, Difference, Step};
use crate::type_url::{self, TypeRules};
use crate::{Cache, Resource};

/// A response larger than this many bytes is split where the protocol allows it: gRPC clients take 4 MiB by default.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Delta,
    StateOfTheWorld,
}

/// One response, not yet in the words of a dialect.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) type_url: Arc<str>,
    pub(crate) nonce: String,
    /// What all that the client holds of this type after the response has as its version.
    pub(crate) version: String,
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) removed: Vec<String>,
    /// Whether nothing more of this type follows.
    pub(crate) complete: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    dialect: Dialect,
    limits: Limits,
    /// How long the next step waits for an acknowledgement.
    ack_wait: Duration,
    subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// The change of the cache up to which subscriptions have been marked dirty.
    cursor: u64,
    /// What is left of the current round of the ordered types.
    round: VecDeque<Step>,
    /// Names of endpoints whose cluster was replaced; see [`Session::rewarm`].
    rewarming: BTreeSet<Arc<str>>,
    responses: u64,
    /// Seeded anew for each stream, so that no client can find two lists of names that look the same.
    hasher: RandomState,
}

impl Session {
    pub(crate) fn new(dialect: Dialect, limits: Limits, ack_wait: Duration) -> Self {
        Self {
            dialect,
            limits,
            ack_wait,
            subscriptions: BTreeMap::new(),
            cursor: 0,
            round: VecDeque::new(),
            rewarming: BTreeSet::new(),
            responses: 0,
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// The subscription of a type, and whether this is the first word about it.
    pub(crate) fn subscription(&mut self, type_url: &str) -> Result<(&mut Subscription, bool), Violation> {
        let is_first = !self.subscriptions.contains_key(type_url);
        if is_first {
            self.limits.check_length("type_url", type_url)?;
            if self.subscriptions.len() >= self.limits.types {
                return Err(Violation::Types(self.limits.types));
            }
        }
        let subscription = self.subscriptions.entry(type_url.into()).or_insert_with(|| Subscription::new(TypeRules::of(type_url)));
        Ok((subscription, is_first))
    }

    /// To be called after a request that made the stream larger.
    pub(crate) fn check_total(&self) -> Result<(), Violation> {
        let total: usize = self.subscriptions.values().map(Subscription::cost).sum();
        if total > self.limits.total_bytes { Err(Violation::Total(self.limits.total_bytes)) } else { Ok(()) }
    }

    /// The next response, if one may be sent now.
    pub(crate) fn next(&mut self, cache: &Cache, now: Instant) -> Option<Outgoing> {
        let view = cache.view();
        if !view.is_ready() {
            return None;
        }
        self.catch_up(&view);
        self.rewarm();
        self.next_answer(&view, now).or_else(|| self.next_step(&view, now)).or_else(|| self.next_change(&view, now))
    }

    /// When to call [`Session::next`] again even if nothing has happened: an acknowledgement is overdue then.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let responses = self.subscriptions.values().filter_map(|subscription| subscription.in_flight.back());
        responses.map(|response| response.deadline).filter(|deadline| *deadline > now).min()
    }

    /// Marks what has changed in the cache since the last time.
    fn catch_up(&mut self, view: &View<'_>) {
        match view.changes_since(self.cursor) {
            Some(changes) => {
                for (type_url, name) in changes {
                    if let Some(subscription) = self.subscriptions.get_mut(type_url)
                        && subscription.wants(name)
                    {
                        subscription.dirty.insert(name.clone());
                    }
                }
            }
            None => self.subscriptions.values_mut().for_each(|subscription| subscription.all_dirty = true),
        }
        self.cursor = view.sequence();
    }

    /// An Envoy that gets a cluster anew warms it, and for that waits for its endpoints to arrive once more, although it
    /// holds them and does not ask ("Resource warming" in the protocol). So a replaced cluster counts as a question.
    fn rewarm(&mut self) {
        if let Some(endpoints) = self.subscriptions.get_mut(type_url::ENDPOINT) {
            let names = std::mem::take(&mut self.rewarming).into_iter();
            endpoints.asked.extend(names.filter(|name| endpoints.wildcard || endpoints.names.contains(name)));
        }
    }

    /// Answers that overtake the order.
    fn next_answer(&mut self, view: &View<'_>, now: Instant) -> Option<Outgoing> {
        loop {
            let is_asking = |subscription: &Subscription| subscription.rules.overtakes() && subscription.is_asking();
            let (type_url, subscription) = self.subscriptions.iter_mut().find(|(_, subscription)| is_asking(subscription))?;
            let type_url = type_url.clone();
            let is_first = subscription.owed;
            let answer = if is_first || subscription.rules.rank.is_none() {
                subscription.take_difference(&type_url, view)
            } else {
                subscription.take_answer(&type_url, view)
            };
            self.drop_from_round(&type_url, &answer);
            if let Some(response) = self.emit(&type_url, answer, now) {
                return Some(response);
            }
        }
    }

    /// Takes names out of the current round, which froze an older state of them.
    fn drop_from_round(&mut self, type_url: &Arc<str>, answer: &Difference) {
        if self.round.iter().all(|step| step.type_url != *type_url) {
            return;
        }
        let names: BTreeSet<&str> =
            answer.set.iter().map(|resource| resource.name()).chain(answer.removed.iter().map(String::as_str)).collect();
        for step in self.round.iter_mut().filter(|step| step.type_url == *type_url) {
            step.difference.set.retain(|resource| !names.contains(resource.name()));
            step.difference.removed.retain(|name| !names.contains(name.as_str()));
        }
    }

    /// The next step of the ordered types.
    fn next_step(&mut self, view: &View<'_>, now: Instant) -> Option<Outgoing> {
        let mut is_new = false;
        loop {
            let mut ordered = self.subscriptions.values().filter(|subscription| subscription.rules.rank.is_some());
            if ordered.any(|subscription| subscription.awaits_acknowledgement(now)) {
                return None;
            }
            match self.round.pop_front() {
                Some(step) => {
                    if let Some(response) = self.emit(&step.type_url, step.difference, now) {
                        return Some(response);
                    }
                }
                None if is_new => return None,
                None => {
                    self.round = self.new_round(view);
                    is_new = true;
                }
            }
        }
    }

    fn new_round(&mut self, view: &View<'_>) -> VecDeque<Step> {
        let pending = self.subscriptions.iter_mut().filter(|(_, subscription)| subscription.is_pending());
        let mut pending: Vec<_> =
            pending.filter_map(|(type_url, subscription)| Some((subscription.rules.rank?, type_url, subscription))).collect();
        pending.sort_by_key(|(rank, ..)| *rank);
        let differences =
            pending.into_iter().map(|(_, type_url, subscription)| (type_url.clone(), subscription.take_difference(type_url, view)));
        order::steps(differences.collect())
    }

    /// Changes of the types that depend on nothing.
    fn next_change(&mut self, view: &View<'_>, now: Instant) -> Option<Outgoing> {
        let is_due = |subscription: &Subscription| {
            subscription.rules.rank.is_none() && subscription.is_pending() && !subscription.awaits_acknowledgement(now)
        };
        let due: Vec<_> =
            self.subscriptions.iter().filter(|(_, subscription)| is_due(subscription)).map(|(type_url, _)| type_url.clone()).collect();
        due.into_iter().find_map(|type_url| {
            let difference = self.subscriptions.get_mut(&type_url)?.take_difference(&type_url, view);
            self.emit(&type_url, difference, now)
        })
    }

    /// Turns a difference into a response and notes it as sent, or answers `None` where there is nothing to say.
    fn emit(&mut self, type_url: &Arc<str>, mut difference: Difference, now: Instant) -> Option<Outgoing> {
        let subscription = self.subscriptions.get_mut(type_url)?;
        // A step may be older than the last word on what is wanted.
        difference.set.retain(|resource| subscription.wants(resource.name()));
        difference.removed.retain(|name| subscription.wants(name));
        if difference.set.is_empty() && difference.removed.is_empty() && !(difference.owed && subscription.rules.tells_absence) {
            return None;
        }
        let surplus = if self.dialect == Dialect::Delta { split_off_surplus(&mut difference.set) } else { Vec::new() };
        if subscription.rules.rank.is_none() {
            subscription.asked.extend(surplus.iter().map(|resource| resource.shared_name().clone()));
        } else if !surplus.is_empty() {
            // What depends on this type waits for all of it.
            let difference = Difference { set: surplus, ..Difference::default() };
            self.round.push_front(Step { type_url: type_url.clone(), difference });
        }
        let Difference { set, removed, .. } = difference;
        for name in &removed {
            subscription.holdings.remove(name);
        }
        for resource in &set {
            if &**type_url == type_url::CLUSTER && subscription.holdings.contains(resource.name()) {
                self.rewarming.extend(type_url::endpoints_of(resource).map(Arc::from));
            }
            subscription.holdings.insert(resource.clone());
        }
        self.responses += 1;
        let nonce = self.responses.to_string();
        if self.dialect == Dialect::StateOfTheWorld {
            // Only the last response of a type can be acknowledged.
            subscription.in_flight.clear();
        }
        subscription.sent(InFlight {
            nonce: nonce.clone(),
            resources: set.clone(),
            removed: removed.clone(),
            deadline: now + self.ack_wait,
        });
        let version = subscription.holdings.set_version().to_string();
        let is_whole = self.dialect == Dialect::StateOfTheWorld && !subscription.rules.by_name;
        let resources = if is_whole { subscription.holdings.sent().cloned().collect() } else { set };
        let complete = !subscription.is_pending() && self.round.iter().all(|step| step.type_url != *type_url);
        Some(Outgoing { type_url: type_url.clone(), nonce, version, resources, removed, complete })
    }
}

/// Cuts a list to what one response may hold, at least one; returns the rest.
fn split_off_surplus(resources: &mut Vec<Arc<Resource>>) -> Vec<Arc<Resource>> {
    let mut size = 0;
    let fits = resources.iter().take_while(|resource| {
        size += resource.wire_size();
        size <= MAX_RESPONSE_BYTES
    });
    let count = fits.count().max(1).min(resources.len());
    resources.split_off(count)
}
