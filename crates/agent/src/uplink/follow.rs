//! Follows the plan: takes in what Connect says, keeps it, and answers for each part once it is in effect.
//!
//! An answer is a receipt, and Connect shows it to people, so it is not given before its time: an import counts as
//! applied when local proxies were shown it and, in a mesh, its objects are written; trust and registrations when the SPIRE
//! server holds them. While an executor cannot work at all (the server is down), nothing is answered. What an executor refuses,
//! or what nobody has shown to work, is rejected with its reason; where that heals by itself, comes later, or has another reason by
//! now, the stream is opened again so that the resource comes again and gets its receipt.
//!
//! Of several agents of a cluster one writes. The others hold the plan too, and serve their own clients from it, so they
//! acknowledge at once; but of what only the leader puts in effect they say that they [stand by](wire::standby_for), and Connect
//! takes the leader's word alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cofide_api::convert::plan as wire;
use cofide_connect_client::{Node, PlanChanges, PlanStream, PlanStreamState};
use cofide_core::{AttestationPolicyBindingId, ControlPlaneTrust, Hostname, TrustDomain};
use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::executors::kubernetes::{ImportsReport, MeshReport};
use crate::leader::Leadership;
use crate::plan::{Plan, PlanStore, ResourceName, Told};
use crate::published::Wake;
use crate::spire::Outcome;
use crate::spire::executor::LEFT_ALONE;
use crate::state::DataFolder;
use crate::world::{Link, LocalReport, SpireReport, World};

/// Between two streams that are opened to say something else of what was said already: where much changes at once, as when a
/// controller begins to work, it is told together.
const BETWEEN_STREAMS: Duration = Duration::from_secs(1);

/// After the plan could not be kept: a disk that was full may have room again.
const KEEP_AGAIN: Duration = Duration::from_secs(2);

/// Why things are not in effect, as Connect was told.
type Reasons = BTreeMap<ResourceName, String>;

/// What the follower needs.
pub struct Follower {
    pub channel: Channel,
    pub node: Node,
    pub data: Arc<DataFolder>,
    pub world: Arc<World>,
    pub leadership: Leadership,
    /// Whether an import is in effect when the mesh has its objects.
    pub has_mesh: bool,
    /// Told of each change of how Connect is recognised.
    pub on_control_plane: Box<dyn Fn(&ControlPlaneTrust) + Send + Sync>,
}

/// An answer that is still owed.
#[derive(Debug)]
struct Pending {
    changes: PlanChanges,
    /// The first revision of the plan that holds them.
    revision: u64,
}

impl Pending {
    /// The names of what was set.
    fn set(&self) -> impl Iterator<Item = &str> {
        self.changes.set.iter().map(|resource| resource.name.as_str())
    }
}

impl Follower {
    /// Follows until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Wake::default();
        self.world.local.wakes(&wake);
        self.world.spire.wakes(&wake);
        self.world.mesh.wakes(&wake);
        self.leadership.wakes(&wake);
        let mut plan = (*self.world.plan.get()).clone();
        let mut standby = self.standby();
        plan.stand_by(standby);
        let mut stream = self.open(&plan, standby);
        let mut state = stream.state();
        let mut pending: Vec<Pending> = Vec::new();
        // What a new stream was opened for and has yet to bring.
        let mut asked_again: BTreeSet<ResourceName> = BTreeSet::new();
        let mut reasons = Reasons::new();
        let (mut may_ask, mut has_to_ask) = (Instant::now(), false);
        // When the plan is to be kept that could not be.
        let mut keep_at: Option<Instant> = None;
        let again = |is_kept: bool| (!is_kept).then(|| Instant::now() + KEEP_AGAIN);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = wake.woken() => {}
                () = tokio::time::sleep_until(may_ask), if has_to_ask => {}
                () = tokio::time::sleep_until(keep_at.unwrap_or_else(Instant::now)), if keep_at.is_some() => {
                    keep_at = again(self.keep(&plan).await);
                    if keep_at.is_none() {
                        tracing::info!("the plan is kept again");
                    }
                    continue;
                }
                changed = state.changed() => {
                    if changed.is_ok() {
                        self.world.link.set(link(&state.borrow_and_update()));
                    }
                    continue;
                }
                changes = stream.next() => {
                    let (revision, control_plane) = (plan.revision, plan.control_plane_trust().cloned());
                    let mut arrived = Some(changes);
                    while let Some(changes) = arrived {
                        // Between two answers of one stream its state does not change.
                        if state.has_changed().unwrap_or(false) {
                            self.world.link.set(link(&state.borrow_and_update()));
                            plan.begin_stream(standby);
                            pending.clear();
                        }
                        if plan.apply(&changes) {
                            tracing::debug!(type_url = changes.type_url, revision = plan.revision, "plan changed");
                        }
                        let owed = Pending { changes, revision: plan.revision };
                        asked_again.retain(|(type_url, name)| *type_url != owed.changes.type_url || owed.set().all(|set| set != name));
                        pending.push(owed);
                        // What is here already is kept in the same writing, for the plan is written whole. This comes to an
                        // end: of each type, Connect sends no more before it has the answer, and nothing is answered here.
                        arrived = stream.next().now_or_never();
                    }
                    if plan.revision != revision {
                        keep_at = again(self.put_in_effect(&plan, control_plane).await);
                    }
                }
            }
            if self.standby() != standby {
                standby = self.standby();
                plan.stand_by(standby);
                asked_again.clear();
                stream = self.open(&plan, standby);
                state = stream.state();
                pending.clear();
                continue;
            }
            self.settle(&mut plan, &mut stream, &mut pending, standby, &mut reasons).await;
            let misreported = self.misreported(&plan, &pending, standby, &reasons);
            has_to_ask = !misreported.is_subset(&asked_again);
            if has_to_ask && Instant::now() >= may_ask {
                (may_ask, has_to_ask) = (Instant::now() + BETWEEN_STREAMS, false);
                tracing::info!(resources = ?misreported, "these are not as Connect was told any more; asking for them again");
                for (type_url, name) in &misreported {
                    plan.forget(type_url, name);
                }
                asked_again = misreported;
                stream = self.open(&plan, standby);
                state = stream.state();
                pending.clear();
            }
        }
        if let Err(error) = PlanStore(&self.data).save(&plan) {
            tracing::error!(%error, "cannot keep the plan; after a restart more of it is fetched again");
        }
    }

    /// The types that another agent of the cluster puts in effect.
    fn standby(&self) -> &'static [&'static str] {
        match (self.leadership.is_leader(), self.has_mesh) {
            (true, _) => &[],
            (false, false) => &[wire::FEDERATED_TRUST, wire::WORKLOAD_REGISTRATION],
            (false, true) => &[wire::FEDERATED_TRUST, wire::WORKLOAD_REGISTRATION, wire::IMPORTED_SERVICE],
        }
    }

    fn open(&self, plan: &Plan, standby: &[&str]) -> PlanStream {
        let client_features = standby.iter().map(|type_url| wire::standby_for(type_url)).collect();
        PlanStream::new(self.channel.clone(), Node { client_features, ..self.node.clone() }, plan.versions(standby))
    }

    /// Keeps the plan and then publishes it. Only what is published comes into effect and is acknowledged, so Connect never
    /// hears of something that a restart would forget. Answers whether it was kept: a disk that is full is no reason to keep news
    /// from clients.
    async fn put_in_effect(&self, plan: &Plan, control_plane: Option<ControlPlaneTrust>) -> bool {
        // Before it is acted on, so that a restart never goes back behind what clients have seen.
        let is_kept = self.keep(plan).await;
        if let Some(trust) = plan.control_plane_trust()
            && control_plane.as_ref() != Some(trust)
        {
            (self.on_control_plane)(trust);
        }
        self.world.plan.set(plan.clone());
        is_kept
    }

    /// Writes the plan to disk, and answers whether it is there.
    async fn keep(&self, plan: &Plan) -> bool {
        // Not on a thread of the runtime: a large plan takes its time.
        let (data, kept) = (self.data.clone(), plan.clone());
        let saved = tokio::task::spawn_blocking(move || PlanStore(&data).save(&kept)).await;
        let error = match saved {
            Ok(saved) => saved.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error {
            tracing::error!(error, "cannot keep the plan; a restart without Connect would go back to an older one");
        }
        error.is_none()
    }

    /// Gives the answers that can be given.
    async fn settle(&self, plan: &mut Plan, stream: &mut PlanStream, pending: &mut Vec<Pending>, standby: &[&str], reasons: &mut Reasons) {
        let reports = Reports::of(&self.world, self.has_mesh);
        for mut owed in std::mem::take(pending) {
            let stands_by = standby.contains(&owed.changes.type_url);
            let verdict = if stands_by { Some(BTreeMap::new()) } else { verdict(&owed, &reports) };
            let Some(rejected) = verdict else {
                pending.push(owed);
                continue;
            };
            let PlanChanges { type_url, set, removed, receipt, .. } = &mut owed.changes;
            for name in set.iter().map(|resource| &resource.name).chain(removed.iter()) {
                reasons.remove(&(*type_url, name.clone()));
            }
            for (name, reason) in &rejected {
                tracing::warn!(type_url, name, reason, "a resource of the plan is not in effect");
                reasons.insert((*type_url, name.clone()), reason.clone());
            }
            let applied = set.iter().filter(|resource| !rejected.contains_key(&resource.name));
            let told = if stands_by { Told::Held } else { Told::InEffect };
            plan.acknowledge(type_url, told, applied.map(|resource| (resource.name.as_str(), resource.version.as_str())));
            receipt.rejected.extend(rejected);
            stream.acknowledge(owed.changes.receipt).await;
        }
    }

    /// What was rejected and is in effect after all, or for another reason; and what was in effect and is not any more.
    fn misreported(&self, plan: &Plan, pending: &[Pending], standby: &[&str], reasons: &Reasons) -> BTreeSet<ResourceName> {
        if *self.world.link.get() != Link::Connected {
            return BTreeSet::new();
        }
        let owed: BTreeSet<(&str, &str)> = pending.iter().flat_map(|owed| owed.set().map(|name| (owed.changes.type_url, name))).collect();
        let is_settled = |(type_url, name): &ResourceName| !standby.contains(type_url) && !owed.contains(&(*type_url, name.as_str()));
        let reports = Reports::of(&self.world, self.has_mesh);
        let outcome = |(type_url, name): &ResourceName| outcome(type_url, name, plan.revision, &reports);
        let healed = plan.unacknowledged().filter(|name| is_settled(name) && matches!(outcome(name), Some(Ok(())))).cloned();
        let is_held = |name: &ResourceName| plan.told(name) == Some(Told::Nothing);
        let is_other = |name, told: &String| matches!(outcome(name), Some(Err(reason)) if reason != *told);
        let changed = reasons.iter().filter(|(name, told)| is_held(name) && is_settled(name) && is_other(name, told)).map(|(name, _)| name);
        let was_told = |name: &ResourceName| plan.told(name) == Some(Told::InEffect);
        let broken = reports.refused().filter(|name| was_told(name) && is_settled(name) && matches!(outcome(name), Some(Err(_))));
        healed.chain(changed.cloned()).chain(broken).collect()
    }
}

/// What the executors say, at one moment.
struct Reports {
    local: Arc<Option<LocalReport>>,
    spire: Arc<Option<SpireReport>>,
    mesh: Arc<Option<MeshReport>>,
    has_mesh: bool,
}

impl Reports {
    fn of(world: &World, has_mesh: bool) -> Self {
        Self { local: world.local.get(), spire: world.spire.get(), mesh: world.mesh.get(), has_mesh }
    }

    fn local(&self, revision: u64) -> Option<&LocalReport> {
        self.local.as_ref().as_ref().filter(|report| report.plan_revision >= revision)
    }

    fn spire(&self, revision: u64) -> Option<&SpireReport> {
        self.spire.as_ref().as_ref().filter(|report| report.plan_revision >= revision)
    }

    fn imports_of_mesh(&self) -> Option<&ImportsReport> {
        self.mesh.as_ref().as_ref()?.imports.as_ref()
    }

    /// Whether an import is in effect, for local proxies and for the mesh.
    fn import(&self, hostname: &Hostname, revision: u64) -> Option<Result<(), String>> {
        if let Some(reason) = self.local(revision)?.refused.get(hostname) {
            return Some(Err(reason.clone()));
        }
        if !self.has_mesh {
            return Some(Ok(()));
        }
        let refused = &self.imports_of_mesh().filter(|report| report.plan_revision >= revision)?.refused;
        Some(refused.get(hostname).map_or(Ok(()), |reason| Err(reason.clone())))
    }

    /// What the executors say is not in effect.
    fn refused(&self) -> impl Iterator<Item = ResourceName> {
        let local = self.local.as_ref().iter().flat_map(|report| report.refused.keys());
        let mesh = self.imports_of_mesh().into_iter().flat_map(|report| report.refused.keys());
        let imports = local.chain(mesh).map(|hostname| (wire::IMPORTED_SERVICE, hostname.to_string()));
        let spire = || self.spire.as_ref().as_ref().map(|report| &report.report);
        let trust = spire().into_iter().flat_map(|report| refused_of(&report.trust));
        let registrations = spire().into_iter().flat_map(|report| refused_of(&report.registrations));
        imports
            .chain(trust.map(|trust_domain| (wire::FEDERATED_TRUST, trust_domain.to_string())))
            .chain(registrations.map(|binding| (wire::WORKLOAD_REGISTRATION, binding.to_string())))
    }
}

fn refused_of<K>(outcomes: &BTreeMap<K, Outcome>) -> impl Iterator<Item = &K> {
    outcomes.iter().filter(|(_, outcome)| in_effect(Some(outcome)).is_err()).map(|(key, _)| key)
}

/// What Connect is told of something in the SPIRE server.
fn in_effect(outcome: Option<&Outcome>) -> Result<(), String> {
    match outcome {
        Some(Outcome::Failed(reason) | Outcome::Outdated(reason) | Outcome::Unsupported(reason) | Outcome::Unseen(reason)) => {
            Err(reason.clone())
        }
        Some(Outcome::LeftAlone) => Err(LEFT_ALONE.to_owned()),
        // That the bundle is missing is the other zone's matter; this agent has done its part.
        Some(Outcome::Applied | Outcome::Waiting(_)) | None => Ok(()),
    }
}

fn link(state: &PlanStreamState) -> Link {
    match state {
        PlanStreamState::Connecting => Link::Disconnected("connecting".to_owned()),
        PlanStreamState::Connected => Link::Connected,
        PlanStreamState::Disconnected { reason } => Link::Disconnected(reason.clone()),
    }
}

/// Reason by name of what is not in effect; `None` while it is not known.
fn verdict(owed: &Pending, reports: &Reports) -> Option<BTreeMap<String, String>> {
    let mut rejected = BTreeMap::new();
    for name in owed.set().chain(owed.changes.removed.iter().map(String::as_str)) {
        if let Err(reason) = outcome(owed.changes.type_url, name, owed.revision, reports)? {
            rejected.insert(name.to_owned(), reason);
        }
    }
    Some(rejected)
}

/// Whether one resource of the plan, as of a revision, is in effect; `None` while that is not known.
fn outcome(type_url: &str, name: &str, revision: u64, reports: &Reports) -> Option<Result<(), String>> {
    match type_url {
        wire::IMPORTED_SERVICE => {
            // What has no hostname for a name is not in the plan.
            name.parse().map_or(Some(Ok(())), |hostname: Hostname| reports.import(&hostname, revision))
        }
        wire::FEDERATED_TRUST => {
            let report = reports.spire(revision)?;
            Some(in_effect(TrustDomain::new(name).ok().and_then(|trust_domain| report.report.trust.get(&trust_domain))))
        }
        wire::WORKLOAD_REGISTRATION => {
            let report = reports.spire(revision)?;
            Some(in_effect(name.parse().ok().and_then(|binding: AttestationPolicyBindingId| report.report.registrations.get(&binding))))
        }
        // To know these is all that there is to do.
        _ => Some(Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spire::Report;

    fn reports(local: Option<LocalReport>, spire: Option<SpireReport>, mesh: Option<ImportsReport>, has_mesh: bool) -> Reports {
        let mesh = mesh.map(|imports| MeshReport { imports: Some(imports), ..MeshReport::default() });
        Reports { local: local.into(), spire: spire.into(), mesh: mesh.into(), has_mesh }
    }

    fn spire(plan_revision: u64, trust: &[(&str, Outcome)]) -> SpireReport {
        let trust = trust.iter().map(|(name, outcome)| (TrustDomain::new(name).unwrap(), outcome.clone())).collect();
        SpireReport { plan_revision, report: Report { trust, ..Report::default() } }
    }

    #[test]
    fn what_stops_to_work_in_the_server_is_named_and_what_waits_for_others_is_not() {
        let outcomes = [
            ("a.test", Outcome::Applied),
            ("b.test", Outcome::Failed("no".into())),
            ("c.test", Outcome::Waiting("for c".into())),
            ("d.test", Outcome::LeftAlone),
        ];
        let refused: Vec<_> = reports(None, Some(spire(3, &outcomes)), None, false).refused().collect();
        assert_eq!(refused, [(wire::FEDERATED_TRUST, "b.test".to_owned()), (wire::FEDERATED_TRUST, "d.test".to_owned())]);
    }

    #[test]
    fn trust_is_in_effect_when_the_server_holds_it_and_not_before() {
        let at = |revision, report: Option<&SpireReport>| {
            outcome(wire::FEDERATED_TRUST, "b.test", revision, &reports(None, report.cloned(), None, false))
        };
        assert_eq!(at(3, None), None);
        assert_eq!(at(3, Some(&spire(2, &[("b.test", Outcome::Applied)]))), None, "the report is about an older plan");
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Applied)]))), Some(Ok(())));
        assert_eq!(at(3, Some(&spire(4, &[("b.test", Outcome::Waiting("for b".into()))]))), Some(Ok(())));
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Failed("no".into()))]))), Some(Err("no".into())));
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Outdated("newer".into()))]))), Some(Err("newer".into())));
        assert_eq!(at(3, Some(&spire(3, &[]))), Some(Ok(())), "it is removed");
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Unsupported("no way".into()))]))), Some(Err("no way".into())));
        let left = at(3, Some(&spire(3, &[("b.test", Outcome::LeftAlone)])));
        assert!(matches!(left, Some(Err(reason)) if reason.contains("AGENT_SPIRE (chart: spire.mode)")), "nobody takes it for applied");
        let unseen = at(3, Some(&spire(3, &[("b.test", Outcome::Unseen("the controller is silent".into()))])));
        assert_eq!(unseen, Some(Err("the controller is silent".into())), "nor what nobody has shown to work");
    }

    #[test]
    fn an_import_without_an_address_is_rejected_with_the_reason() {
        let refused = BTreeMap::from([("x.demo.b.test".parse().unwrap(), "full".to_owned())]);
        let reports = reports(Some(LocalReport { plan_revision: 5, refused }), None, None, false);
        let at = |name| outcome(wire::IMPORTED_SERVICE, name, 5, &reports);
        assert_eq!(at("x.demo.b.test"), Some(Err("full".into())));
        assert_eq!(at("y.demo.b.test"), Some(Ok(())));
    }

    #[test]
    fn in_a_mesh_an_import_is_in_effect_when_its_objects_are_written_too() {
        let local = LocalReport { plan_revision: 5, refused: BTreeMap::new() };
        let refused = BTreeMap::from([("x.demo.b.test".parse().unwrap(), "taken".to_owned())]);
        let mesh = |plan_revision| Some(ImportsReport { plan_revision, refused: refused.clone() });
        let at = |mesh, name| outcome(wire::IMPORTED_SERVICE, name, 5, &reports(Some(local.clone()), None, mesh, true));
        assert_eq!(at(None, "y.demo.b.test"), None);
        assert_eq!(at(mesh(4), "y.demo.b.test"), None, "the report is about an older plan");
        assert_eq!(at(mesh(5), "y.demo.b.test"), Some(Ok(())));
        assert_eq!(at(mesh(5), "x.demo.b.test"), Some(Err("taken".into())));
    }
}
