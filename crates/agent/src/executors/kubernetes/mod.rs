//! Istio objects in the API server of the agent's cluster: the executor of [`render::istio`](crate::render::istio).
//!
//! ```text
//!  exports, plan ─ render ─> wanted ─┐
//!                                    ├─ decide (pure) ─> what to write and what to delete ─> API server
//!  mirrors of each kind ─────────────┘                                                          │
//!        ▲                                                                                      │
//!        └───────────────────────────────────── watch ──────────────────────────────────────────┘
//! ```
//!
//! - Only a difference is written, so an agent at rest writes nothing, and one that starts over a cluster that is as it should
//!   be writes nothing either.
//! - Ours is what carries our label or what we have applied. Somebody's change of ours is undone; what others add beside our
//!   fields stays. An object of somebody else that has our name, or our host, is left alone and its service told.
//! - Ours that is wanted no more is deleted, but only where it is known that it is wanted no more: from a view and a plan that
//!   are whole, and a kind that was listed as a whole. No memory is needed for that, so a crash leaves nothing behind.
//! - A kind that the cluster does not have, or that the agent may not touch, holds up no other one.

mod decide;
mod failure;
mod live;
mod mirror;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_api::convert::plan as wire;
use cofide_core::Hostname;
use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::ApiResource;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::export::Decision;
use crate::leader::Leadership;
use crate::own_cluster::OwnCluster;
use crate::published::Wake;
use crate::render::istio::client::imports;
use crate::render::istio::server::{Exporting, exports};
use crate::render::istio::{IstioObject, MANAGER, MeshSettings, ObjectName, Rendered, Side, decides_about_trust};
use crate::world::World;

use decide::{Action, Wanted, decide};
use failure::{Failure, Verb};
use live::taken;
use mirror::{Mirror, Presence};

/// How many requests are under way at a time.
const PARALLEL: usize = 16;

/// What became of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshReport {
    /// What could not be had in full, by the service.
    pub notes: BTreeMap<Hostname, Vec<String>>,
    /// What stands in the way of a service's objects.
    pub problems: BTreeMap<Hostname, Vec<String>>,
    /// What concerns no single service: a kind that is not there, a right that is missing.
    pub cluster: BTreeSet<String>,
    /// What became of the imports; absent while that is not known, and in an agent that does not lead.
    pub imports: Option<ImportsReport>,
}

/// What became of the imports of one revision of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportsReport {
    pub plan_revision: u64,
    /// Those whose objects are not all as they should be, and why.
    pub refused: BTreeMap<Hostname, String>,
}

impl MeshReport {
    /// All that stands in the way of one service.
    pub fn problems_of(&self, hostname: &Hostname) -> Vec<String> {
        self.problems.get(hostname).into_iter().flatten().chain(&self.cluster).cloned().collect()
    }
}

/// Keeps the Istio objects of the cluster as exports and plan say.
pub struct IstioExecutor {
    mesh: MeshOfCluster,
    mirrors: Arc<Vec<Mirror>>,
    /// One for each request that may be under way.
    turns: Semaphore,
}

/// Where and for whom.
#[derive(Clone)]
pub struct MeshOfCluster {
    pub client: Client,
    pub cluster: OwnCluster,
    pub settings: MeshSettings,
    pub leadership: Leadership,
    pub world: Arc<World>,
}

impl std::fmt::Debug for IstioExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IstioExecutor({:?})", self.mesh.settings)
    }
}

/// What is not as it should be after a run; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unfinished(Vec<String>);

impl IstioExecutor {
    /// Begins to watch. `wake` is called when an object that matters has changed.
    pub fn start(mesh: MeshOfCluster, wake: &Wake, tasks: &TaskTracker, shutdown: &CancellationToken) -> Self {
        let kinds = cofide_k8s_api::istio::kinds();
        let in_order = crate::render::istio::KINDS.iter().filter_map(|name| kinds.iter().find(|kind| kind.kind == **name));
        let mirrors: Arc<Vec<Mirror>> = Arc::new(in_order.map(|kind| Mirror::new(kind.clone())).collect());
        for index in 0..mirrors.len() {
            let (mirrors, client, wake, shutdown) = (mirrors.clone(), mesh.client.clone(), wake.clone(), shutdown.clone());
            tasks.spawn(async move { mirrors[index].follow(client, wake, shutdown).await });
        }
        Self { mesh, mirrors, turns: Semaphore::new(PARALLEL) }
    }

    /// Makes the cluster's objects what they should be, as far as that is known; nothing where another agent leads.
    ///
    /// # Errors
    ///
    /// When something could not be written that may be written later. Everything else is in place then.
    pub async fn reconcile(&self) -> Result<(), Unfinished> {
        if !self.mesh.leadership.is_leader() {
            self.speak_no_more();
            return Ok(());
        }
        let mut report = MeshReport::default();
        let wanted = self.wanted(&mut report);
        let Some(Written { retry, mut unwritten, is_partly_unknown, .. }) =
            self.mesh.leadership.fenced(self.write(&wanted, &mut report)).await
        else {
            self.speak_no_more();
            return Ok(());
        };
        report.imports = wanted.plan_revision.filter(|_| !is_partly_unknown).map(|plan_revision| {
            unwritten.extend(report.problems.iter().map(|(hostname, problems)| (hostname.clone(), problems.join("; "))));
            ImportsReport { plan_revision, refused: unwritten }
        });
        self.publish(report);
        if retry.is_empty() { Ok(()) } else { Err(Unfinished(retry)) }
    }

    /// Another agent leads, and knows better what became of the imports.
    fn speak_no_more(&self) {
        let held = self.mesh.world.mesh.get();
        if let Some(held) = held.as_ref()
            && held.imports.is_some()
        {
            self.mesh.world.mesh.set(Some(MeshReport { imports: None, ..held.clone() }));
        }
    }

    /// A problem is told to the log when it is new, beside the status of an export and the receipt of an import.
    fn publish(&self, report: MeshReport) {
        let before = self.mesh.world.mesh.get();
        let before = before.as_ref().as_ref();
        for (hostname, problems) in &report.problems {
            if before.and_then(|before| before.problems.get(hostname)) != Some(problems) {
                tracing::warn!(%hostname, problems = problems.join("; "), "the Istio objects of a service are not as they should be");
            }
        }
        for problem in report.cluster.iter().filter(|problem| before.is_none_or(|before| !before.cluster.contains(*problem))) {
            tracing::warn!(problem, "Istio objects cannot be written");
        }
        self.mesh.world.mesh.set(Some(report));
    }

    fn wanted(&self, report: &mut MeshReport) -> Wanted {
        let (held, view, plan) = (self.mesh.world.exports.get(), self.mesh.world.view.get(), self.mesh.world.plan.get());
        let taken = taken(&self.mirrors);
        let mut wanted = Wanted::default();
        if let (Some(held), Some(view)) = (held.as_ref(), view.as_ref()) {
            let exports_known = plan.is_known(wire::EXPORTED_SERVICE);
            let rendered = exports(Exporting {
                own: &self.mesh.cluster.trust_domain,
                exports: &held.exports,
                gateways: &view.gateways,
                // From a plan that is not whole, nothing is concluded.
                targets: &|id| if exports_known { plan.targets(id).map(<[_]>::to_vec) } else { None },
                taken: &taken,
                settings: &self.mesh.settings,
            });
            take_in(&mut wanted, report, rendered);
            let invalid = |decision: &Decision| matches!(decision, Decision::Invalid);
            // What is not valid now may have been, and then its objects stand for its last valid version.
            let unknown = held.exports.iter().filter(|export| invalid(&export.decision));
            wanted.kept.extend(unknown.map(|export| (export.key.namespace.clone(), export.key.name.clone())));
            wanted.known.exports = !held.incomplete;
        }
        if plan.is_known(wire::IMPORTED_SERVICE) {
            take_in(&mut wanted, report, imports(plan.imports(), &taken, &self.mesh.settings));
            wanted.known.imports = true;
            wanted.plan_revision = Some(plan.revision);
        }
        wanted
    }

    /// Kind by kind would make each change wait for as many answers as there are kinds, and a mesh waits for the last of them.
    async fn write(&self, wanted: &Wanted, report: &mut MeshReport) -> Written {
        let mut all = Written::default();
        let (trust, traffic): (Vec<_>, Vec<_>) = self.mirrors.iter().partition(|mirror| decides_about_trust(&mirror.kind().kind));
        // First what decides about trust, then what lets traffic in; the other way round when they go.
        let waves = [(&trust, Phase::Apply), (&traffic, Phase::Apply), (&traffic, Phase::Delete), (&trust, Phase::Delete)];
        for (kinds, phase) in waves {
            let outcomes = futures::future::join_all(kinds.iter().map(|mirror| self.write_kind(mirror, wanted, phase))).await;
            for Written { problems, cluster, retry, unwritten, is_partly_unknown } in outcomes {
                for (hostname, problem) in problems {
                    report.problems.entry(hostname).or_default().push(problem);
                }
                report.cluster.extend(cluster);
                all.retry.extend(retry);
                all.unwritten.extend(unwritten);
                all.is_partly_unknown |= is_partly_unknown;
            }
        }
        all
    }

    async fn write_kind(&self, mirror: &Mirror, wanted: &Wanted, phase: Phase) -> Written {
        let kind = mirror.kind();
        let mut written = Written::default();
        let all_of_kind = || wanted.objects.values().filter(|object| object.name.kind == kind.kind);
        let actions = match mirror.presence() {
            Presence::Listed(live) => decide(&kind.kind, wanted, &live),
            // The mirror wakes us when it has been.
            Presence::Unknown => return Written { is_partly_unknown: true, ..written },
            Presence::Absent => {
                if all_of_kind().next().is_some() {
                    written.cluster.push(failure::absent(kind));
                }
                written.could_not_write(all_of_kind(), &failure::absent(kind));
                return written;
            }
            Presence::Refused(reason) => {
                written.could_not_write(all_of_kind(), &reason);
                written.cluster.push(reason);
                return written;
            }
        };
        let mut outstanding: BTreeMap<ObjectName, Arc<IstioObject>> = BTreeMap::new();
        for action in &actions {
            if let Action::Apply { object, .. } = action {
                outstanding.insert(object.name.clone(), object.clone());
            }
        }
        let work: Vec<_> =
            actions.into_iter().filter(|action| phase == Phase::of(action)).map(|action| self.act(mirror, action).boxed()).collect();
        let mut outcomes = futures::stream::iter(work).buffer_unordered(PARALLEL);
        while let Some((action, outcome)) = outcomes.next().await {
            let Err(failure) = outcome else {
                if let Action::Apply { object, .. } = &action {
                    outstanding.remove(&object.name);
                }
                continue;
            };
            match failure {
                Failure::OfService(problem) => {
                    if let Action::Apply { object, .. } | Action::Foreign { object } = &action {
                        outstanding.remove(&object.name);
                        written.problems.push((object.hostname.clone(), problem));
                    } else {
                        written.retry.push(problem);
                    }
                }
                Failure::OfKind(problem) => {
                    written.could_not_write(outstanding.values(), &problem);
                    written.retry.push(problem.clone());
                    written.cluster.push(problem);
                    // The others of this kind would meet the same, or make it worse.
                    break;
                }
                Failure::Passing(problem) => {
                    written.could_not_write(outstanding.values(), &problem);
                    written.retry.push(problem);
                    break;
                }
            }
        }
        written
    }

    async fn act(&self, mirror: &Mirror, action: Action) -> (Action, Result<(), Failure>) {
        // Never closed.
        let _turn = self.turns.acquire().await;
        let outcome = match &action {
            Action::Apply { object, ours } => self.apply(mirror, object, *ours).await,
            Action::Delete { name, uid } => self.delete(mirror, name, uid).await,
            Action::Foreign { object } => Err(Failure::foreign(&object.name)),
        };
        (action, outcome)
    }

    fn api(&self, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.mesh.client.clone(), namespace, kind)
    }

    /// Takes fields back from whoever changed them (`ours`). Where the object was not there a moment ago, nothing is taken: if it
    /// is there by now it is somebody else's, and the API server says so.
    async fn apply(&self, mirror: &Mirror, object: &IstioObject, ours: bool) -> Result<(), Failure> {
        let ObjectName { namespace, name, .. } = &object.name;
        let params = PatchParams { force: ours, ..PatchParams::apply(MANAGER) };
        match self.api(mirror.kind(), namespace).patch(name, &params, &Patch::Apply(&object.json())).await {
            Ok(written) => {
                tracing::debug!(object = %object.name, "applied");
                mirror.saw(&written);
                Ok(())
            }
            Err(error) => Err(Failure::new(&error, if ours { Verb::Update } else { Verb::Create }, mirror.kind(), &object.name)),
        }
    }

    async fn delete(&self, mirror: &Mirror, name: &ObjectName, uid: &str) -> Result<(), Failure> {
        // Another object of that name is not the one that was decided about.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api(mirror.kind(), &name.namespace).delete(&name.name, &params).await {
            Ok(_) => {
                tracing::debug!(object = %name, "deleted");
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(Failure::new(&error, Verb::Delete, mirror.kind(), name)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Apply,
    Delete,
}

impl Phase {
    fn of(action: &Action) -> Self {
        match action {
            Action::Apply { .. } | Action::Foreign { .. } => Self::Apply,
            Action::Delete { .. } => Self::Delete,
        }
    }
}

/// What is not as it should be after the objects of one kind were written.
#[derive(Default)]
struct Written {
    problems: Vec<(Hostname, String)>,
    cluster: Vec<String>,
    retry: Vec<String>,
    /// Imports that wait for an object of which there is no kind, no right, or no answer; and why.
    unwritten: BTreeMap<Hostname, String>,
    /// Whether it is not known yet what there is of the kind.
    is_partly_unknown: bool,
}

impl Written {
    fn could_not_write<'a>(&mut self, objects: impl IntoIterator<Item = &'a Arc<IstioObject>>, reason: &str) {
        for object in objects.into_iter().filter(|object| object.side == Side::Import) {
            self.unwritten.entry(object.hostname.clone()).or_insert_with(|| reason.to_owned());
        }
    }
}

fn take_in(wanted: &mut Wanted, report: &mut MeshReport, rendered: Rendered) {
    let Rendered { objects, notes, refused } = rendered;
    for (hostname, reason) in refused {
        report.problems.entry(hostname).or_default().push(reason);
    }
    wanted.objects.extend(objects.into_iter().map(|(name, object)| (name, Arc::new(object))));
    for (hostname, notes) in notes {
        report.notes.entry(hostname).or_default().extend(notes);
    }
}
