//! Follows the plan: takes in what Connect says, keeps it, and answers for each part once it is in effect.
//!
//! An answer is a receipt, and Connect shows it to people, so it is not given before its time: an import counts as
//! applied when local proxies were shown it, trust and registrations when the SPIRE server holds them. While an executor
//! cannot work at all (the server is down), nothing is answered. What an executor refuses is rejected with its reason;
//! where that heals by itself, the stream is opened again so that the resource comes again and gets its receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_api::convert::plan as wire;
use cofide_connect_client::{Node, PlanChanges, PlanStream, PlanStreamState};
use cofide_core::{AttestationPolicyBindingId, ControlPlaneTrust, Hostname, TrustDomain};
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::plan::{Plan, PlanStore, ResourceName};
use crate::published::Wake;
use crate::spire::Outcome;
use crate::spire::executor::LEFT_ALONE;
use crate::state::DataFolder;
use crate::world::{Link, LocalReport, SpireReport, World};

/// What the follower needs.
pub struct Follower {
    pub channel: Channel,
    pub node: Node,
    pub data: Arc<DataFolder>,
    pub world: Arc<World>,
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
        let mut plan = (*self.world.plan.get()).clone();
        let mut stream = self.open(&plan);
        let mut state = stream.state();
        let mut pending: Vec<Pending> = Vec::new();
        // What a new stream was opened for and has yet to bring.
        let mut asked_again: BTreeSet<ResourceName> = BTreeSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = wake.woken() => {}
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
                            plan.begin_stream();
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
                        self.put_in_effect(&plan, control_plane).await;
                    }
                }
            }
            self.settle(&mut plan, &mut stream, &mut pending).await;
            let healed = self.healed(&plan, &pending);
            if !healed.is_subset(&asked_again) {
                tracing::info!(resources = ?healed, "what was rejected before is in effect now; asking Connect for it again");
                asked_again = healed;
                stream = self.open(&plan);
                state = stream.state();
                pending.clear();
            }
        }
        if let Err(error) = PlanStore(&self.data).save(&plan) {
            tracing::error!(%error, "cannot keep the plan; after a restart more of it is fetched again");
        }
    }

    fn open(&self, plan: &Plan) -> PlanStream {
        PlanStream::new(self.channel.clone(), self.node.clone(), plan.versions())
    }

    /// Keeps the plan and then publishes it. Only what is published comes into effect and is acknowledged, so Connect never
    /// hears of something that a restart would forget.
    async fn put_in_effect(&self, plan: &Plan, control_plane: Option<ControlPlaneTrust>) {
        // Before it is acted on, so that a restart never goes back behind what clients have seen. A disk that is full is no
        // reason to keep news from them, though. Not on a thread of the runtime: a large plan takes its time.
        let (data, kept) = (self.data.clone(), plan.clone());
        let saved = tokio::task::spawn_blocking(move || PlanStore(&data).save(&kept)).await;
        let error = match saved {
            Ok(saved) => saved.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            tracing::error!(error, "cannot keep the plan; a restart without Connect would go back to an older one");
        }
        if let Some(trust) = plan.control_plane_trust()
            && control_plane.as_ref() != Some(trust)
        {
            (self.on_control_plane)(trust);
        }
        self.world.plan.set(plan.clone());
    }

    /// Gives the answers that can be given.
    async fn settle(&self, plan: &mut Plan, stream: &mut PlanStream, pending: &mut Vec<Pending>) {
        let (local, spire) = (self.world.local.get(), self.world.spire.get());
        for mut owed in std::mem::take(pending) {
            let Some(rejected) = verdict(&owed, local.as_ref().as_ref(), spire.as_ref().as_ref()) else {
                pending.push(owed);
                continue;
            };
            let PlanChanges { type_url, set, receipt, .. } = &mut owed.changes;
            for (name, reason) in &rejected {
                tracing::warn!(type_url, name, reason, "a resource of the plan is not in effect");
            }
            let applied = set.iter().filter(|resource| !rejected.contains_key(&resource.name));
            plan.acknowledge(type_url, applied.map(|resource| (resource.name.as_str(), resource.version.as_str())));
            receipt.rejected.extend(rejected);
            stream.acknowledge(owed.changes.receipt).await;
        }
    }

    /// What was rejected and is in effect after all.
    fn healed(&self, plan: &Plan, pending: &[Pending]) -> BTreeSet<ResourceName> {
        if *self.world.link.get() != Link::Connected {
            return BTreeSet::new();
        }
        let owed: BTreeSet<(&str, &str)> = pending.iter().flat_map(|owed| owed.set().map(|name| (owed.changes.type_url, name))).collect();
        let (local, spire) = (self.world.local.get(), self.world.spire.get());
        let is_in_effect = |(type_url, name): &ResourceName| {
            let outcome = outcome(type_url, name, plan.revision, local.as_ref().as_ref(), spire.as_ref().as_ref());
            matches!(outcome, Some(Ok(())))
        };
        let rejected = plan.unacknowledged().map(|(name, _)| name).filter(|(type_url, name)| !owed.contains(&(*type_url, name.as_str())));
        rejected.filter(|name| is_in_effect(name)).cloned().collect()
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
fn verdict(owed: &Pending, local: Option<&LocalReport>, spire: Option<&SpireReport>) -> Option<BTreeMap<String, String>> {
    let mut rejected = BTreeMap::new();
    for name in owed.set().chain(owed.changes.removed.iter().map(String::as_str)) {
        if let Err(reason) = outcome(owed.changes.type_url, name, owed.revision, local, spire)? {
            rejected.insert(name.to_owned(), reason);
        }
    }
    Some(rejected)
}

/// Whether one resource of the plan, as of a revision, is in effect; `None` while that is not known.
fn outcome(
    type_url: &str,
    name: &str,
    revision: u64,
    local: Option<&LocalReport>,
    spire: Option<&SpireReport>,
) -> Option<Result<(), String>> {
    let of = |outcome: Option<&Outcome>| match outcome {
        Some(Outcome::Failed(reason) | Outcome::Outdated(reason)) => Err(reason.clone()),
        Some(Outcome::LeftAlone) => Err(LEFT_ALONE.to_owned()),
        // That the bundle is missing is the other zone's matter; this agent has done its part.
        Some(Outcome::Applied | Outcome::Waiting(_)) | None => Ok(()),
    };
    match type_url {
        wire::IMPORTED_SERVICE => {
            let report = local.filter(|report| report.plan_revision >= revision)?;
            let refused = name.parse().ok().and_then(|hostname: Hostname| report.refused.get(&hostname));
            Some(refused.map_or(Ok(()), |reason| Err(reason.clone())))
        }
        wire::FEDERATED_TRUST => {
            let report = spire.filter(|report| report.plan_revision >= revision)?;
            Some(of(TrustDomain::new(name).ok().and_then(|trust_domain| report.report.trust.get(&trust_domain))))
        }
        wire::WORKLOAD_REGISTRATION => {
            let report = spire.filter(|report| report.plan_revision >= revision)?;
            Some(of(name.parse().ok().and_then(|binding: AttestationPolicyBindingId| report.report.registrations.get(&binding))))
        }
        // To know these is all that there is to do.
        _ => Some(Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spire::Report;

    fn spire(plan_revision: u64, trust: &[(&str, Outcome)]) -> SpireReport {
        let trust = trust.iter().map(|(name, outcome)| (TrustDomain::new(name).unwrap(), outcome.clone())).collect();
        SpireReport { plan_revision, report: Report { trust, ..Report::default() } }
    }

    #[test]
    fn trust_is_in_effect_when_the_server_holds_it_and_not_before() {
        let at = |revision, report: Option<&SpireReport>| outcome(wire::FEDERATED_TRUST, "b.test", revision, None, report);
        assert_eq!(at(3, None), None);
        assert_eq!(at(3, Some(&spire(2, &[("b.test", Outcome::Applied)]))), None, "the report is about an older plan");
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Applied)]))), Some(Ok(())));
        assert_eq!(at(3, Some(&spire(4, &[("b.test", Outcome::Waiting("for b".into()))]))), Some(Ok(())));
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Failed("no".into()))]))), Some(Err("no".into())));
        assert_eq!(at(3, Some(&spire(3, &[("b.test", Outcome::Outdated("newer".into()))]))), Some(Err("newer".into())));
        assert_eq!(at(3, Some(&spire(3, &[]))), Some(Ok(())), "it is removed");
        let left = at(3, Some(&spire(3, &[("b.test", Outcome::LeftAlone)])));
        assert!(matches!(left, Some(Err(reason)) if reason.contains("AGENT_SPIRE=none")), "nobody takes it for applied");
    }

    #[test]
    fn an_import_without_an_address_is_rejected_with_the_reason() {
        let refused = BTreeMap::from([("x.demo.b.test".parse().unwrap(), "full".to_owned())]);
        let report = LocalReport { plan_revision: 5, refused };
        let at = |name| outcome(wire::IMPORTED_SERVICE, name, 5, Some(&report), None);
        assert_eq!(at("x.demo.b.test"), Some(Err("full".into())));
        assert_eq!(at("y.demo.b.test"), Some(Ok(())));
    }
}
