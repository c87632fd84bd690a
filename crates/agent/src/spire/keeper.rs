//! Keeps the server in step with the world's plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cofide_api::convert::plan as wire;
use cofide_core::{PolicyKind, TrustDomain};
use cofide_runtime::files::FileError;
use tokio::sync::Mutex;

use super::access::{Availability, NoWay, SpireAccess, Way, choose};
use super::client::{SpireClient, SpireError};
use super::desired::desired;
use super::executor::{self, Bundles, Outcome, Report};
use super::model::{BundleMark, Desired, OwnedTrust};
use super::view::EntryView;
use crate::executors::kubernetes::SpireObjects;
use crate::plan::Plan;
use crate::state::{DataFolder, TRUST};
use crate::world::{SpireReport, World};

/// Why an agent that works by objects does not see what becomes of them in the server.
const NO_SOCKET: &str = "this agent has no socket of that server (spire_server_socket; chart: spire.socket.mount)";

/// In the place of a keeper where somebody else keeps the server: answers the plan with what this agent can say of it.
pub fn leave_alone(world: &World) {
    let plan = world.plan.get();
    let registrations = plan.registrations().map(|registration| (registration.binding_id.clone(), Outcome::LeftAlone)).collect();
    let trust = plan.trust().map(|trust| (trust.trust_domain.clone(), Outcome::LeftAlone)).collect();
    let report = Report { registrations, trust, ..Report::default() };
    world.spire.set(Some(SpireReport { plan_revision: plan.revision, report }));
}

#[derive(Debug)]
pub struct SpireKeeper {
    own: TrustDomain,
    server: SpireClient,
    data: Arc<DataFolder>,
    world: Arc<World>,
    /// Absent on a host.
    cluster: Option<InCluster>,
    memory: Mutex<Memory>,
}

/// What an agent of a Kubernetes cluster can do beside.
#[derive(Debug)]
struct InCluster {
    access: SpireAccess,
    /// Absent where they are not to be used.
    objects: Option<SpireObjects>,
}

/// What is known between two runs.
#[derive(Debug)]
struct Memory {
    owned: OwnedTrust,
    view: EntryView,
    /// What was refused at the last run.
    refused: Vec<String>,
    /// As they were named in the log last.
    strangers: BTreeSet<TrustDomain>,
    /// The last one that there was, as it was named in the log.
    way: Option<Way>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    Server(#[from] SpireError),
    #[error(transparent)]
    NoWay(#[from] NoWay),
    #[error("{0}")]
    Refused(String),
}

impl SpireKeeper {
    /// Entries are read again after `reread`, and otherwise where something speaks for it; see [`super::view`].
    pub fn open(
        own: TrustDomain,
        server: SpireClient,
        reread: Duration,
        data: Arc<DataFolder>,
        world: Arc<World>,
    ) -> Result<Self, FileError> {
        let (view, refused, strangers) = (EntryView::new(reread), Vec::new(), BTreeSet::new());
        let memory = Memory { owned: kept(&data)?, view, refused, strangers, way: None };
        Ok(Self { own, server, data, world, cluster: None, memory: Mutex::new(memory) })
    }

    /// For an agent of a Kubernetes cluster: its plan may be about pods, and a controller may be there to act on it.
    pub fn in_cluster(self, access: SpireAccess, objects: Option<SpireObjects>) -> Self {
        Self { cluster: Some(InCluster { access, objects }), ..self }
    }

    /// Takes up again what is kept, which another agent of the cluster may have written, and reads what that one may have
    /// changed in the server.
    pub async fn recall(&self) -> Result<(), FileError> {
        let mut memory = self.memory.lock().await;
        memory.owned = kept(&self.data)?;
        memory.view.forget();
        Ok(())
    }

    /// Applies the plan once and publishes what became of it. Before Connect has told everything, nothing is applied:
    /// a binding that is not known may be the reason for an entry that is there.
    ///
    /// # Errors
    ///
    /// When the server does not answer, or refuses something: to be tried again.
    pub async fn reconcile(&self) -> Result<(), KeeperError> {
        let plan = self.world.plan.get();
        if !plan.is_known(wire::WORKLOAD_REGISTRATION) || !plan.is_known(wire::FEDERATED_TRUST) {
            return Ok(());
        }
        let desired = self.desired(&plan);
        let mut memory = self.memory.lock().await;
        let way = match self.way(&mut memory) {
            Ok(way) => way,
            Err(error) => {
                // A socket that was there is that of a server which is away: nothing is said of it, as where it does not answer.
                if memory.way != Some(Way::Socket) {
                    self.all_failed(plan.revision, &desired, &error);
                }
                return Err(error.into());
            }
        };
        match way {
            (Way::Undecided, _) => Ok(()),
            (Way::LeftAlone, _) => {
                leave_alone(&self.world);
                Ok(())
            }
            (Way::Objects, Some(objects)) => self.by_objects(plan.revision, &desired, &mut memory, objects).await,
            (Way::Objects | Way::Socket, _) => self.by_socket(plan.revision, &desired, &mut memory).await,
        }
    }

    /// There are no pods on a host, so what is about them concerns others.
    fn desired(&self, plan: &Plan) -> Desired {
        let concerns = |kind: &PolicyKind| self.cluster.is_some() || !matches!(kind, PolicyKind::Kubernetes(_));
        desired(&self.own, plan.registrations().filter(|registration| concerns(&registration.kind)), plan.trust())
    }

    fn way(&self, memory: &mut Memory) -> Result<(Way, Option<&SpireObjects>), NoWay> {
        let Some(InCluster { access, objects }) = &self.cluster else { return Ok((Way::Socket, None)) };
        let objects = objects.as_ref();
        let kinds = objects.map_or(Availability::Absent, SpireObjects::availability);
        let way = choose(*access, &kinds, self.server.has_socket())?;
        if memory.way.replace(way) != Some(way) {
            match way {
                Way::Objects => tracing::info!("the SPIRE server is driven by objects for spire-controller-manager"),
                Way::Socket => tracing::info!("the SPIRE server is driven over its socket"),
                Way::LeftAlone => tracing::info!("the SPIRE server is left alone"),
                Way::Undecided => {}
            }
        }
        Ok((way, objects))
    }

    /// Tells of everything that the plan asks for that it is not done, and why.
    fn all_failed(&self, plan_revision: u64, desired: &Desired, error: &impl std::fmt::Display) {
        let report = Report::all_failed(desired, &error.to_string());
        self.world.spire.set(Some(SpireReport { plan_revision, report }));
    }

    async fn by_socket(&self, plan_revision: u64, desired: &Desired, memory: &mut Memory) -> Result<(), KeeperError> {
        let report = match self.apply(desired, memory).await {
            Ok(report) => report,
            Err(error) => {
                if let SpireError::OtherTrustDomain { .. } = error {
                    self.all_failed(plan_revision, desired, &error);
                }
                return Err(error.into());
            }
        };
        name_strangers(memory, &report, Way::Socket);
        let failures = report.failures();
        self.world.spire.set(Some(SpireReport { plan_revision, report }));
        memory.refused.clone_from(&failures);
        if failures.is_empty() { Ok(()) } else { Err(KeeperError::Refused(failures.join("; "))) }
    }

    /// Bundles go over the server's socket, where it is there; all else is in the objects.
    async fn by_objects(
        &self,
        plan_revision: u64,
        desired: &Desired,
        memory: &mut Memory,
        objects: &SpireObjects,
    ) -> Result<(), KeeperError> {
        // The entries are the controller's; what was read of them ages.
        memory.view.forget();
        let owned = &mut memory.owned;
        let (mut of_bundles, mut bundles, mut trouble) = (Report::default(), None, None);
        if self.server.has_socket() {
            match Bundles::set(&self.server, &self.own, desired, owned, |owned| self.keep(owned), &mut of_bundles).await {
                Ok(set) => bundles = Some(set),
                // The controller beside it may be that trust domain's too, so it is given nothing.
                Err(error @ SpireError::OtherTrustDomain { .. }) => {
                    self.all_failed(plan_revision, desired, &error);
                    return Err(error.into());
                }
                // The server may have moved to another node; that is no reason to keep the objects from its controller.
                Err(error) => trouble = Some(error.to_string()),
            }
        }
        let held = bundles.as_ref().map(|bundles| &bundles.held).ok_or_else(|| trouble.as_deref().unwrap_or(NO_SOCKET));
        let (mut report, mut retry) = objects.reconcile(desired, held).await;
        if let Some(bundles) = bundles {
            bundles.remove(&self.server, owned, |owned| self.keep(owned), &mut of_bundles).await;
            report.strangers = std::mem::take(&mut of_bundles.strangers);
            name_strangers(memory, &report, Way::Objects);
        }
        retry.extend(trouble);
        retry.extend(of_bundles.failures());
        for (trust_domain, outcome) in of_bundles.trust {
            report.trust.entry(trust_domain).and_modify(|held| held.worsen(&outcome)).or_insert(outcome);
        }
        // What the controller fails at is its own to try again, and it says when it has done it.
        self.world.spire.set(Some(SpireReport { plan_revision, report }));
        if retry.is_empty() { Ok(()) } else { Err(KeeperError::Refused(retry.join("; "))) }
    }

    async fn apply(&self, desired: &Desired, memory: &mut Memory) -> Result<Report, SpireError> {
        let relied_on_reading = memory.view.is_read();
        let report = self.apply_once(desired, memory).await?;
        if relied_on_reading && report.failures().iter().any(|failure| !memory.refused.contains(failure)) {
            // The server may hold something else than what was read then.
            memory.view.forget();
            return self.apply_once(desired, memory).await;
        }
        Ok(report)
    }

    async fn apply_once(&self, desired: &Desired, Memory { owned, view, .. }: &mut Memory) -> Result<Report, SpireError> {
        executor::reconcile(&self.server, &self.own, desired, owned, view, |owned| self.keep(owned)).await
    }

    fn keep(&self, owned: &OwnedTrust) -> Result<(), FileError> {
        let kept: BTreeMap<&str, &BundleMark> = owned.iter().map(|(domain, mark)| (domain.as_str(), mark)).collect();
        self.data.save(TRUST, &kept)
    }
}

/// Names those in the log that were not named before.
fn name_strangers(memory: &mut Memory, report: &Report, way: Way) {
    for trust_domain in report.strangers.difference(&memory.strangers) {
        // A relationship would bring the bundle back, and a controller the relationship.
        let first = match way {
            Way::Objects => "delete its ClusterFederatedTrustDomain, if there is one".to_owned(),
            _ => format!("spire-server federation delete -id spiffe://{trust_domain}"),
        };
        tracing::warn!(
            %trust_domain,
            "the SPIRE server trusts a domain that the plan does not name and that this agent does not remember setting up; it is left \
             alone. Where nobody else needs it: {first}; spire-server bundle delete -id spiffe://{trust_domain} -mode dissociate"
        );
    }
    memory.strangers.clone_from(&report.strangers);
}

fn kept(data: &DataFolder) -> Result<OwnedTrust, FileError> {
    let kept: BTreeMap<String, BundleMark> = data.load(TRUST)?.unwrap_or_default();
    Ok(kept.into_iter().filter_map(|(name, mark)| Some((TrustDomain::new(&name).ok()?, mark))).collect())
}
