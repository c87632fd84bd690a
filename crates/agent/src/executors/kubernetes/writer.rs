//! Makes the objects of some kinds what they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::ApiResource;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::decide::{Action, IsUnwanted, Objects, decide};
use super::failure::{self, Failure, Verb};
use super::mirror::{Mirror, Presence};
use crate::published::Wake;
use crate::render::object::{MANAGER, ObjectName, RenderedObject};

/// How many requests are under way at a time.
const PARALLEL: usize = 16;

/// Writes objects of a few kinds, of which it keeps mirrors.
pub(super) struct Writer {
    client: Client,
    mirrors: Arc<Vec<Mirror>>,
    /// The kinds that are written at a time.
    waves: &'static [&'static [&'static str]],
    /// One for each request that may be under way.
    turns: Semaphore,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Wanted objects that are not as they should be; trying again helps nothing until something changes.
    pub(super) problems: BTreeMap<ObjectName, String>,
    /// Wanted objects for which there is no kind, no right, or no answer, and why.
    pub(super) unwritten: BTreeMap<ObjectName, String>,
    /// Whether there is a kind of which it is not known yet what there is.
    pub(super) is_partly_unknown: bool,
    /// What concerns no single object: a kind that is not there, a right that is missing.
    pub(super) kinds: BTreeSet<String>,
    /// To be tried again.
    pub(super) retry: Vec<String>,
}

impl Writer {
    /// Begins to watch the kinds of all waves, which are written one after the other and deleted the other way round. `wake` is
    /// called when one of their objects has changed.
    pub(super) fn start(
        client: Client,
        waves: &'static [&'static [&'static str]],
        kinds: &[ApiResource],
        wake: &Wake,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let in_order = waves.iter().copied().flatten().filter_map(|name| Some((*name, kinds.iter().find(|kind| kind.kind == **name)?)));
        let mirrors: Arc<Vec<Mirror>> = Arc::new(in_order.map(|(name, kind)| Mirror::new(name, kind.clone())).collect());
        for index in 0..mirrors.len() {
            let (mirrors, client, wake, shutdown) = (mirrors.clone(), client.clone(), wake.clone(), shutdown.clone());
            tasks.spawn(async move { mirrors[index].follow(client, wake, shutdown).await });
        }
        Self { client, mirrors, waves, turns: Semaphore::new(PARALLEL) }
    }

    pub(super) fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Writes what differs, and then deletes what is not wanted. Kind by kind would make each change wait for as many answers as
    /// there are kinds.
    pub(super) async fn write<O: RenderedObject>(&self, wanted: &Objects<O>, is_unwanted: IsUnwanted<'_>) -> Written {
        let mut written = Written::default();
        let there = self.waves.iter().map(|wave| (wave, Phase::Apply));
        for (wave, phase) in there.chain(self.waves.iter().rev().map(|wave| (wave, Phase::Delete))) {
            let of_wave = self.mirrors.iter().filter(|mirror| wave.contains(&mirror.name()));
            let work = of_wave.map(|mirror| self.write_kind(mirror, wanted, is_unwanted, phase));
            for outcome in futures::future::join_all(work).await {
                written.take_in(outcome);
            }
        }
        written
    }

    async fn write_kind<O: RenderedObject>(
        &self,
        mirror: &Mirror,
        wanted: &Objects<O>,
        is_unwanted: IsUnwanted<'_>,
        phase: Phase,
    ) -> Written {
        let mut written = Written::default();
        let actions = match mirror.presence() {
            Presence::Listed(live) => decide(mirror.name(), wanted, is_unwanted, &live),
            // The mirror wakes us when it has been.
            Presence::Unknown => {
                written.is_partly_unknown = true;
                return written;
            }
            Presence::Absent => {
                let of_kind: Vec<_> = wanted.keys().filter(|name| name.kind == mirror.name()).collect();
                if !of_kind.is_empty() {
                    written.kinds.insert(failure::absent(mirror.kind()));
                }
                written.could_not_write(of_kind, &failure::absent(mirror.kind()));
                return written;
            }
            Presence::Refused(reason) => {
                written.could_not_write(wanted.keys().filter(|name| name.kind == mirror.name()), &reason);
                written.kinds.insert(reason);
                return written;
            }
        };
        let mut outstanding = BTreeSet::new();
        for action in &actions {
            if let Action::Apply { object, .. } = action {
                outstanding.insert(object.name().clone());
            }
        }
        // What stops the rest. What is under way is finished: to drop it would be to make it again.
        let stopped = AtomicBool::new(false);
        let mut stopped_by = None;
        let of_phase = actions.into_iter().filter(|action| phase == Phase::of(action));
        let work: Vec<_> = of_phase.map(|action| self.act(mirror, action, &stopped).boxed()).collect();
        let mut outcomes = futures::stream::iter(work).buffer_unordered(PARALLEL);
        while let Some(acted) = outcomes.next().await {
            let Some((action, outcome)) = acted else { continue };
            if let Action::Apply { object, .. } = &action
                && matches!(outcome, Ok(()) | Err(Failure::OfObject(_)))
            {
                outstanding.remove(object.name());
            }
            match outcome {
                Ok(()) => {}
                Err(Failure::OfObject(problem)) => {
                    if let Action::Apply { object, .. } | Action::Foreign { object } = &action {
                        written.problems.insert(object.name().clone(), problem);
                    } else {
                        written.retry.push(problem);
                    }
                }
                // The others of this kind would meet the same, or make it worse.
                Err(failure @ (Failure::OfKind(_) | Failure::Passing(_))) => {
                    stopped.store(true, Ordering::Relaxed);
                    stopped_by.get_or_insert(failure);
                }
            }
        }
        if let Some(failure) = stopped_by {
            let (Failure::OfObject(problem) | Failure::OfKind(problem) | Failure::Passing(problem)) = &failure;
            written.could_not_write(&outstanding, problem);
            written.retry.push(problem.clone());
            if matches!(failure, Failure::OfKind(_)) {
                written.kinds.insert(problem.clone());
            }
        }
        written
    }

    /// Nothing where it was stopped before it began.
    async fn act<O: RenderedObject>(
        &self,
        mirror: &Mirror,
        action: Action<O>,
        stopped: &AtomicBool,
    ) -> Option<(Action<O>, Result<(), Failure>)> {
        // Never closed.
        let _turn = self.turns.acquire().await;
        if stopped.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = match &action {
            Action::Apply { object, ours } => self.apply(mirror, object.as_ref(), *ours).await,
            Action::Delete { name, uid } => self.delete(mirror, name, uid).await,
            Action::Foreign { object } => Err(Failure::foreign(object.name())),
        };
        Some((action, outcome))
    }

    fn api(&self, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => Api::all_with(self.client.clone(), kind),
            namespace => Api::namespaced_with(self.client.clone(), namespace, kind),
        }
    }

    /// Takes fields back from whoever changed them (`ours`). Where the object was not there a moment ago, nothing is taken: if it
    /// is there by now it is somebody else's, and the API server says so.
    async fn apply(&self, mirror: &Mirror, object: &impl RenderedObject, ours: bool) -> Result<(), Failure> {
        let ObjectName { namespace, name, .. } = object.name();
        let params = PatchParams { force: ours, ..PatchParams::apply(MANAGER) };
        match self.api(mirror.kind(), namespace).patch(name, &params, &Patch::Apply(&object.json())).await {
            Ok(written) => {
                tracing::debug!(object = %object.name(), "applied");
                mirror.saw(&written);
                Ok(())
            }
            Err(error) => Err(Failure::new(&error, if ours { Verb::Update } else { Verb::Create }, mirror.kind(), object.name())),
        }
    }

    async fn delete(&self, mirror: &Mirror, name: &ObjectName, uid: &str) -> Result<(), Failure> {
        // Another object of that name is not the one that was decided about.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api(mirror.kind(), &name.namespace).delete(&name.name, &params).await {
            Ok(answer) => {
                tracing::debug!(object = %name, "deleted");
                match answer.left() {
                    // A finalizer keeps it.
                    Some(object) => drop(mirror.saw(&object)),
                    None => mirror.saw_gone((name.namespace.clone(), name.name.clone()), uid),
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                mirror.saw_gone((name.namespace.clone(), name.name.clone()), uid);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(Failure::new(&error, Verb::Delete, mirror.kind(), name)),
        }
    }
}

impl Written {
    fn take_in(&mut self, other: Self) {
        self.problems.extend(other.problems);
        for (name, reason) in other.unwritten {
            self.unwritten.entry(name).or_insert(reason);
        }
        self.is_partly_unknown |= other.is_partly_unknown;
        self.kinds.extend(other.kinds);
        self.retry.extend(other.retry);
    }

    fn could_not_write<'a>(&mut self, names: impl IntoIterator<Item = &'a ObjectName>, reason: &str) {
        for name in names {
            self.unwritten.entry(name.clone()).or_insert_with(|| reason.to_owned());
        }
    }

    /// What stands in the way of one object.
    pub(super) fn obstacle(&self, name: &ObjectName) -> Option<&str> {
        self.problems.get(name).or_else(|| self.unwritten.get(name)).map(String::as_str)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Apply,
    Delete,
}

impl Phase {
    fn of<O>(action: &Action<O>) -> Self {
        match action {
            Action::Apply { .. } | Action::Foreign { .. } => Self::Apply,
            Action::Delete { .. } => Self::Delete,
        }
    }
}
