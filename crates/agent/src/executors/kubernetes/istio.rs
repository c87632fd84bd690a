//! Istio's objects: what exports and plan say, for the mesh of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cofide_api::convert::plan as wire;
use cofide_core::{ExportTarget, Hostname, ImportedService};
use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Unfinished;
use super::decide::Objects;
use super::live::{Name, Ours, taken};
use super::memo::Memo;
use super::writer::Writer;
use crate::export::{Decision, Export};
use crate::leader::Leadership;
use crate::mesh::MeshFindings;
use crate::own_cluster::OwnCluster;
use crate::published::Wake;
use crate::render::istio::client::imports;
use crate::render::istio::server::{Exporting, exports};
use crate::render::istio::{IstioObject, MeshSettings, Rendered, Side, WAVES};
use crate::view::{GatewayService, ObjectKey};
use crate::world::World;

/// What became of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshReport {
    /// What an exported service could not be given in full, for its owner.
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
    pub(super) writer: Writer,
    memory: Mutex<Memory>,
}

/// What was rendered in the last run.
#[derive(Default)]
struct Memory {
    exports: Memo<ObjectKey, RenderedExport, Rendered>,
    imports: Memo<Hostname, RenderedImport, Rendered>,
    /// For which all exports were rendered.
    gateways: Vec<GatewayService>,
}

/// What an export was rendered from, beside the gateways.
struct RenderedExport {
    export: Export,
    targets: Option<Vec<ExportTarget>>,
    taken_by: Option<String>,
}

struct RenderedImport {
    import: ImportedService,
    taken_by: Option<String>,
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

impl IstioExecutor {
    /// Begins to watch. `wake` is called when an object that matters has changed.
    pub fn start(mesh: MeshOfCluster, wake: &Wake, tasks: &TaskTracker, shutdown: &CancellationToken) -> Self {
        let writer = Writer::start(mesh.client.clone(), &WAVES, &cofide_k8s_api::istio::kinds(), wake, tasks, shutdown);
        Self { mesh, writer, memory: Mutex::default() }
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
        // First what decides about trust, last what lets traffic in; the other way round when they go.
        let is_unwanted = |there: &Ours| wanted.is_unwanted(there);
        let Some(written) = self.mesh.leadership.fenced(self.writer.write(&wanted.objects, &is_unwanted)).await else {
            self.speak_no_more();
            return Ok(());
        };
        for (name, problem) in written.problems {
            if let Some(object) = wanted.objects.get(&name) {
                report.problems.entry(object.hostname.clone()).or_default().push(problem);
            }
        }
        report.cluster.extend(written.kinds);
        report.imports = wanted.plan_revision.filter(|_| !written.is_partly_unknown).map(|plan_revision| {
            let of_import = |name| wanted.objects.get(name).filter(|object| object.side == Side::Import);
            let unwritten = written.unwritten.iter().filter_map(|(name, reason)| Some((of_import(name)?.hostname.clone(), reason.clone())));
            let mut refused: BTreeMap<_, _> = unwritten.collect();
            refused.extend(report.problems.iter().map(|(hostname, problems)| (hostname.clone(), problems.join("; "))));
            // Objects that no sidecar can use are not in effect either.
            let findings = self.mesh.world.mesh_findings.get();
            if let Some(reason) = findings.as_ref().as_ref().and_then(MeshFindings::of_imports) {
                for import in self.mesh.world.plan.get().imports() {
                    refused.entry(import.hostname.clone()).or_insert_with(|| reason.clone());
                }
            }
            ImportsReport { plan_revision, refused }
        });
        self.publish(report);
        if written.retry.is_empty() { Ok(()) } else { Err(Unfinished(written.retry)) }
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
        let (held, plan) = (self.mesh.world.exports.get(), self.mesh.world.plan.get());
        let taken = taken(self.writer.mirrors());
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { exports: of_exports, imports: of_imports, gateways } = &mut *memory;
        let mut wanted = Wanted::default();
        if let Some(held) = held.as_ref() {
            if *gateways != held.gateways {
                *of_exports = Memo::default();
                gateways.clone_from(&held.gateways);
            }
            of_exports.begin();
            let exports_known = plan.is_known(wire::EXPORTED_SERVICE);
            for export in &held.exports {
                let Some(service) = export.offer().map(|offer| &offer.service) else { continue };
                // From a plan that is not whole, nothing is concluded.
                let targets = if exports_known { plan.targets(&service.id) } else { None };
                let taken_by = taken.get(&service.hostname);
                let is_same =
                    |of: &RenderedExport| of.export == *export && of.targets.as_deref() == targets && of.taken_by.as_ref() == taken_by;
                let rendered = of_exports.of(export.key.clone(), is_same, || {
                    let rendered = exports(Exporting {
                        own: &self.mesh.cluster.trust_domain,
                        exports: std::slice::from_ref(export),
                        gateways,
                        targets: &|_| targets.map(<[_]>::to_vec),
                        taken: &taken,
                        settings: &self.mesh.settings,
                    });
                    let (export, targets, taken_by) = (export.clone(), targets.map(<[_]>::to_vec), taken_by.cloned());
                    (RenderedExport { export, targets, taken_by }, rendered)
                });
                take_in(&mut wanted, report, &rendered);
            }
            let invalid = |decision: &Decision| matches!(decision, Decision::Invalid);
            // What is not valid now may have been, and then its objects stand for its last valid version.
            let unknown = held.exports.iter().filter(|export| invalid(&export.decision));
            wanted.kept.extend(unknown.map(|export| (export.key.namespace.clone(), export.key.name.clone())));
            wanted.known.exports = !held.incomplete;
        }
        if plan.is_known(wire::IMPORTED_SERVICE) {
            of_imports.begin();
            for import in plan.imports() {
                let taken_by = taken.get(&import.hostname);
                let is_same = |of: &RenderedImport| of.import == *import && of.taken_by.as_ref() == taken_by;
                let rendered = of_imports.of(import.hostname.clone(), is_same, || {
                    let rendered = imports([import], &taken, &self.mesh.settings);
                    (RenderedImport { import: import.clone(), taken_by: taken_by.cloned() }, rendered)
                });
                take_in(&mut wanted, report, &rendered);
            }
            wanted.known.imports = true;
            wanted.plan_revision = Some(plan.revision);
        }
        wanted
    }
}

/// Everything that should be there, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    objects: Objects<IstioObject>,
    known: Known,
    /// Of the plan whose imports these are; absent while they are not known.
    plan_revision: Option<u64>,
    /// FederatedServices, by namespace and name, whose objects stay although none is wanted.
    kept: BTreeSet<Name>,
}

/// Of which side it is known what is not wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    exports: bool,
    imports: bool,
}

impl Wanted {
    /// Whether it is known that nobody wants it. Of what has lost its labels nothing is known.
    fn is_unwanted(&self, there: &Ours) -> bool {
        let is_of = |side: Side| there.source.as_deref() == Some(side.as_str());
        if is_of(Side::Import) {
            return self.known.imports;
        }
        // One of a FederatedService that cannot be read now stays.
        is_of(Side::Export) && self.known.exports && there.owner.as_ref().is_none_or(|owner| !self.kept.contains(owner))
    }
}

fn take_in(wanted: &mut Wanted, report: &mut MeshReport, rendered: &Rendered) {
    let Rendered { objects, notes, refused } = rendered;
    for (hostname, reason) in refused {
        report.problems.entry(hostname.clone()).or_default().push(reason.clone());
    }
    wanted.objects.extend(objects.iter().map(|(name, object)| (name.clone(), object.clone())));
    for (hostname, notes) in notes {
        report.notes.entry(hostname.clone()).or_default().extend(notes.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::istio::OWNER_ANNOTATION;
    use crate::render::object::SOURCE_LABEL;
    use serde_json::json;

    fn there(side: Side, owner: &str) -> Ours {
        let metadata = json!({ "labels": { SOURCE_LABEL: side.as_str() }, "annotations": { OWNER_ANNOTATION: owner } });
        Ours::new(&json!({ "metadata": metadata }))
    }

    #[test]
    fn what_is_not_wanted_is_known_for_each_side_on_its_own() {
        let (export, import) = (there(Side::Export, "team/service"), there(Side::Import, ""));
        let unwanted = |exports, imports| {
            let wanted = Wanted { known: Known { exports, imports }, ..Wanted::default() };
            (wanted.is_unwanted(&export), wanted.is_unwanted(&import))
        };
        assert_eq!(unwanted(false, false), (false, false));
        assert_eq!(unwanted(true, false), (true, false));
        assert_eq!(unwanted(false, true), (false, true));
    }

    #[test]
    fn objects_of_a_service_that_cannot_be_read_now_stay() {
        let kept = [("team".to_owned(), "service".to_owned())].into();
        let wanted = Wanted { known: Known { exports: true, imports: true }, kept, ..Wanted::default() };
        assert!(!wanted.is_unwanted(&there(Side::Export, "team/service")));
        assert!(wanted.is_unwanted(&there(Side::Export, "team/another")));
    }

    #[test]
    fn what_has_lost_its_labels_is_left() {
        let wanted = Wanted { known: Known { exports: true, imports: true }, ..Wanted::default() };
        assert!(!wanted.is_unwanted(&Ours::new(&json!({ "metadata": {} }))));
    }
}
