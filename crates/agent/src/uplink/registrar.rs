//! Makes Connect's list of this cluster's services what the manifests say.
//!
//! What Connect has is listed once and then followed: each call that succeeds is noted, so one service that changes is one call,
//! however many there are. It is listed anew where that may not be true any more: in a new term, after each change of the way
//! to Connect, after a call whose outcome is not known or that was refused, and from time to time, because a user may withdraw
//! a service too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cofide_core::FederatedServiceId;
use cofide_runtime::files::FileError;
use futures::{FutureExt, StreamExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connect::{CallError, Connect};
use super::registrations::{Known, RegistrationChange, Wanted, changes, known, registered_by_agents, strangers};
use crate::export::ServiceRegistration;
use crate::own_cluster::OwnCluster;
use crate::published::Wake;
use crate::state::{DataFolder, REGISTRATIONS};
use crate::world::{Exports, World};

/// Calls that are on their way at once.
const AT_A_TIME: usize = 16;
/// After so many it is told what became of them, and looked what is wanted by then: of a thousand services that come at once the
/// first need not wait for the last, nor one that changes meanwhile for all of them.
const BATCH: usize = 64;

#[derive(Debug)]
pub struct Registrar {
    cluster: OwnCluster,
    connect: Connect,
    memory: Memory,
    world: Arc<World>,
    /// How long what is known of Connect's list is believed.
    relist: Duration,
    /// The way to Connect has changed.
    link_changed: Wake,
    state: Mutex<State>,
}

/// How an agent that begins knows what it, or another one of its cluster, has registered before.
#[derive(Debug)]
pub enum Memory {
    /// It is kept in the data folder, before it is told: a folder of manifests may be empty because nothing was mounted on it, so
    /// that Connect lists a service is no reason to withdraw it.
    Kept(Arc<DataFolder>),
    /// It is not kept, for the ids in Connect's list say it. Only for a source that knows what is not there, as an API server
    /// that has listed everything does.
    Ids,
}

#[derive(Debug, Default)]
struct State {
    /// What this agent has registered, or was about to.
    registered: BTreeSet<FederatedServiceId>,
    /// What Connect had when it was heard of last.
    known: Known,
    /// Whether it has nothing else, as far as this agent can know; where not, it is listed first.
    is_current: bool,
    listed_at: Option<Instant>,
    strangers: BTreeSet<String>,
    /// Whether what agents of the cluster registered before this one began is yet to be taken over.
    takes_over: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot remember what is registered, so nothing is: {0}")]
    Memory(#[from] FileError),
    #[error("{0}")]
    Refused(String),
}

impl Memory {
    fn recall(&self) -> Result<State, FileError> {
        Ok(match self {
            Self::Kept(data) => State { registered: data.load(REGISTRATIONS)?.unwrap_or_default(), ..State::default() },
            Self::Ids => State { takes_over: true, ..State::default() },
        })
    }
}

/// One run, and what came of it.
#[derive(Default)]
struct Run {
    /// Whether Connect's list was read in it. A refusal may come from a list that is out of date, and is believed only then.
    has_listed: bool,
    refused: BTreeMap<FederatedServiceId, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

/// What is exported, as far as it concerns Connect.
struct Offered<'a> {
    wanted: Wanted<'a>,
    /// Those that no remote client could reach.
    unreachable: BTreeSet<&'a FederatedServiceId>,
    /// What is missing is not known to be gone.
    incomplete: bool,
}

impl<'a> Offered<'a> {
    fn new(exports: &'a Exports) -> Self {
        let offers = || exports.exports.iter().filter_map(|export| export.offer());
        Self {
            wanted: offers().map(|offer| (&offer.service.id, &offer.service)).collect(),
            unreachable: offers().filter(|offer| !offer.is_reachable()).map(|offer| &offer.service.id).collect(),
            incomplete: exports.incomplete,
        }
    }

    /// What nobody could reach yet is not announced. What was announced is kept up: that all pods are replaced at once, or a load
    /// balancer is, does not take the service from its clients for longer than it lasts.
    fn announced(&self, known: &Known) -> Wanted<'a> {
        let is_announced = |id: &FederatedServiceId| !self.unreachable.contains(id) || known.contains_key(id);
        self.wanted.iter().filter(|(id, _)| is_announced(id)).map(|(id, service)| (*id, *service)).collect()
    }
}

impl Registrar {
    /// `relist` is how long Connect's list, once read, is followed without a look.
    pub fn open(cluster: OwnCluster, connect: Connect, memory: Memory, world: Arc<World>, relist: Duration) -> Result<Self, FileError> {
        let state = Mutex::new(memory.recall()?);
        let link_changed = Wake::default();
        world.link.wakes(&link_changed);
        Ok(Self { cluster, connect, memory, world, relist, link_changed, state })
    }

    /// Begins anew: another agent of the cluster may have registered since.
    pub async fn recall(&self) -> Result<(), FileError> {
        *self.state.lock().await = self.memory.recall()?;
        Ok(())
    }

    /// Registers, updates and withdraws what differs, and publishes what Connect knows. Before it is known what is exported,
    /// nothing is done; while that is known in part only, nothing is withdrawn.
    ///
    /// # Errors
    ///
    /// When Connect does not answer, or refuses a service: to be tried again.
    pub async fn reconcile(&self) -> Result<(), RegistrarError> {
        let mut state = self.state.lock().await;
        let is_old = state.listed_at.is_none_or(|at| at.elapsed() >= self.relist);
        if self.link_changed.woken().now_or_never().is_some() || is_old {
            state.is_current = false;
        }
        let mut run = Run::default();
        loop {
            let exports = self.world.exports.get();
            let Some(exports) = exports.as_ref() else { return Ok(()) };
            let offered = Offered::new(exports);
            let step = self.step(&mut state, &offered, &mut run).await;
            self.publish(&state.known, &offered, &run.refused, step.as_ref().err());
            if step? == Step::Done {
                return Ok(());
            }
        }
    }

    fn publish(
        &self,
        known: &Known,
        offered: &Offered<'_>,
        refused: &BTreeMap<FederatedServiceId, String>,
        failure: Option<&RegistrarError>,
    ) {
        let agent_refused = failure.and_then(|failure| self.agent_refused(failure));
        let registrations = offered.wanted.iter().filter_map(|(&id, &service)| {
            let known = known.get(id);
            let registration = match (known, refused.get(id), &agent_refused, failure) {
                (Some(Some(known)), ..) if known == service => ServiceRegistration::Registered,
                (_, Some(reason), ..) => ServiceRegistration::Refused(reason.clone()),
                (_, None, Some(reason), _) => ServiceRegistration::AgentRefused(reason.clone()),
                (None, None, None, _) if offered.unreachable.contains(id) => ServiceRegistration::NotAnnounced,
                (Some(_), None, None, Some(failure)) => ServiceRegistration::Outdated(failure.to_string()),
                (None, None, None, Some(failure)) => ServiceRegistration::Unreachable(failure.to_string()),
                (_, None, None, None) => return None,
            };
            Some((id.clone(), registration))
        });
        self.world.service_registrations.set(registrations.collect());
    }

    /// What the owners of services are told where Connect did answer, and the answer was about the agent and not about a
    /// service: these are collected one by one, so a refusal that ends the run is none of them.
    fn agent_refused(&self, failure: &RegistrarError) -> Option<String> {
        match failure {
            RegistrarError::Call(CallError::Refused(said)) => Some(format!(
                "Connect answered and refused this agent: {said}. The agent of this cluster has the SPIFFE ID {}; where its entry in the trust \
                 zone's server says otherwise, issue it anew under that ID",
                self.cluster.agent_identity().spiffe_id()
            )),
            RegistrarError::Call(unrecognised @ CallError::Unauthenticated(_)) => Some(unrecognised.to_string()),
            RegistrarError::Call(CallError::Unreachable(_)) | RegistrarError::Memory(_) | RegistrarError::Refused(_) => None,
        }
    }

    /// One batch of what differs, withdrawals before everything else.
    async fn step(&self, state: &mut State, offered: &Offered<'_>, run: &mut Run) -> Result<Step, RegistrarError> {
        if !state.is_current {
            self.list(state, offered).await?;
            run.has_listed = true;
        }
        let wanted = offered.announced(&state.known);
        // Remembered before it is told, so that a service which was told is always remembered.
        if wanted.keys().any(|id| !state.registered.contains(*id)) {
            let registered = wanted.keys().map(|id| (*id).clone()).chain(state.registered.iter().cloned()).collect();
            self.remember(state, registered)?;
        }
        let nothing = BTreeSet::new();
        let withdrawable = if offered.incomplete { &nothing } else { &state.registered };
        let mut left = changes(&wanted, &state.known, withdrawable).filter(|change| !run.refused.contains_key(change.id())).peekable();
        let Some(first) = left.peek() else {
            drop(left);
            return self.end(state, &wanted, offered.incomplete, &run.refused);
        };
        // All withdrawals before the first registration, which may be about the same hostname.
        let is_withdrawal = |change: &RegistrationChange| matches!(change, RegistrationChange::Deregister(_));
        let first_is_withdrawal = is_withdrawal(first);
        let batch: Vec<_> = left.take_while(|change| is_withdrawal(change) == first_is_withdrawal).take(BATCH).collect();

        // Until all have been answered; whoever ends this in the middle leaves it so.
        state.is_current = false;
        let mut is_doubtful = false;
        let mut outcomes = futures::stream::iter(batch).map(|change| self.tell(change)).buffer_unordered(AT_A_TIME);
        while let Some((change, result)) = outcomes.next().await {
            match result {
                Ok(()) => change.note(&mut state.known),
                Err(CallError::Refused(reason)) if run.has_listed => drop(run.refused.insert(change.id().clone(), reason)),
                Err(CallError::Refused(_)) => is_doubtful = true,
                Err(error) => return Err(error.into()),
            }
        }
        state.is_current = !is_doubtful;
        Ok(Step::More)
    }

    async fn list(&self, state: &mut State, offered: &Offered<'_>) -> Result<(), RegistrarError> {
        let listed = self.connect.list_federated_services().await?;
        state.known = known(&self.cluster, &offered.wanted, &listed);
        // Once, and not each time: what somebody registers beside this agent under ids like ours is then a stranger's.
        if state.takes_over && !offered.incomplete {
            let taken_over = state.registered.union(&registered_by_agents(&self.cluster, &listed)).cloned().collect();
            self.remember(state, taken_over)?;
            state.takes_over = false;
        }
        let announced = offered.announced(&state.known);
        let found = strangers(&self.cluster, &announced, &listed, &state.registered).map(|service| service.id.clone()).collect();
        if found != state.strangers {
            for id in &found {
                tracing::warn!(
                    service_id = id,
                    "Connect lists a service of this cluster that no manifest describes and that this agent did not register; it is left alone"
                );
            }
            state.strangers = found;
        }
        (state.is_current, state.listed_at) = (true, Some(Instant::now()));
        Ok(())
    }

    /// Nothing is left to tell.
    fn end(
        &self,
        state: &mut State,
        wanted: &Wanted<'_>,
        incomplete: bool,
        refused: &BTreeMap<FederatedServiceId, String>,
    ) -> Result<Step, RegistrarError> {
        // What is neither wanted nor in Connect any more can be forgotten.
        let is_needed = |id: &FederatedServiceId| incomplete || wanted.contains_key(id) || state.known.contains_key(id);
        let needed: BTreeSet<_> = state.registered.iter().filter(|id| is_needed(id)).cloned().collect();
        self.remember(state, needed)?;
        if refused.is_empty() {
            return Ok(Step::Done);
        }
        state.is_current = false;
        let reasons: Vec<_> = refused.iter().map(|(id, reason)| format!("service {id}: {reason}")).collect();
        Err(RegistrarError::Refused(reasons.join("; ")))
    }

    /// Tells Connect of one change; the change comes back with the answer.
    async fn tell(&self, change: RegistrationChange) -> (RegistrationChange, Result<(), CallError>) {
        let (what, result) = match &change {
            RegistrationChange::Register(service) => ("registered", self.connect.register(service).await),
            RegistrationChange::Update(service) => ("updated", self.connect.update(service).await),
            RegistrationChange::Deregister(id) => ("withdrawn", self.connect.deregister(id).await),
        };
        if result.is_ok() {
            match &change {
                RegistrationChange::Register(service) | RegistrationChange::Update(service) => {
                    tracing::info!(hostname = %service.hostname, service_id = %service.id, "service {what}");
                }
                RegistrationChange::Deregister(id) => tracing::info!(service_id = %id, "service {what}"),
            }
        }
        (change, result)
    }

    fn remember(&self, state: &mut State, registered: BTreeSet<FederatedServiceId>) -> Result<(), FileError> {
        if state.registered != registered {
            if let Memory::Kept(data) = &self.memory {
                data.save(REGISTRATIONS, &registered)?;
            }
            state.registered = registered;
        }
        Ok(())
    }
}
