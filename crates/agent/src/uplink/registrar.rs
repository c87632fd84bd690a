//! Makes Connect's list of this cluster's services what the manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_core::{FederatedService, FederatedServiceId};
use cofide_runtime::files::FileError;
use futures::StreamExt;
use tokio::sync::Mutex;

use super::connect::{CallError, Connect};
use super::registrations::{RegistrationChange, Wanted, changes, is_own, registered_by_agents, strangers};
use crate::export::ServiceRegistration;
use crate::own_cluster::OwnCluster;
use crate::state::{DataFolder, REGISTRATIONS};
use crate::world::World;

/// Calls that are on their way at once.
const AT_A_TIME: usize = 16;

#[derive(Debug)]
pub struct Registrar {
    cluster: OwnCluster,
    connect: Connect,
    data: Arc<DataFolder>,
    world: Arc<World>,
    /// Whether the source knows what is not there, as an API server that has listed everything does; a folder may be empty because
    /// nothing was mounted on it.
    is_source_whole: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Kept on disk: what this agent has registered, or was about to.
    registered: BTreeSet<FederatedServiceId>,
    /// What Connect was last seen to know; `None` for a service in a form that is not ours.
    confirmed: BTreeMap<FederatedServiceId, Option<FederatedService>>,
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

impl Registrar {
    pub fn open(
        cluster: OwnCluster,
        connect: Connect,
        data: Arc<DataFolder>,
        world: Arc<World>,
        is_source_whole: bool,
    ) -> Result<Self, FileError> {
        let state = State { registered: data.load(REGISTRATIONS)?.unwrap_or_default(), takes_over: is_source_whole, ..State::default() };
        Ok(Self { cluster, connect, data, world, is_source_whole, state: Mutex::new(state) })
    }

    /// Takes up again what is kept, which another agent of the cluster may have written.
    pub async fn recall(&self) -> Result<(), FileError> {
        let registered = self.data.load(REGISTRATIONS)?.unwrap_or_default();
        *self.state.lock().await = State { registered, takes_over: self.is_source_whole, ..State::default() };
        Ok(())
    }

    /// Registers, updates and withdraws once, and publishes what Connect knows. Before it is known what is exported, nothing
    /// is done; while that is known in part only, nothing is withdrawn.
    ///
    /// # Errors
    ///
    /// When Connect does not answer, or refuses a service: to be tried again.
    pub async fn reconcile(&self) -> Result<(), RegistrarError> {
        let exports = self.world.exports.get();
        let Some(exports) = exports.as_ref() else { return Ok(()) };
        let offers = || exports.exports.iter().filter_map(|export| export.offer());
        let wanted: Wanted = offers().map(|offer| (offer.service.id.clone(), offer.service.clone())).collect();
        let unreachable = offers().filter(|offer| !offer.is_reachable()).map(|offer| offer.service.id.clone()).collect();

        let mut state = self.state.lock().await;
        let mut refused = BTreeMap::new();
        let result = self.apply(&mut state, &wanted, &unreachable, exports.incomplete, &mut refused).await;
        let failure = result.as_ref().err();
        let agent_refused = failure.and_then(|failure| self.agent_refused(failure));
        let registrations = wanted.iter().filter_map(|(id, service)| {
            let confirmed = state.confirmed.get(id);
            let registration = match (confirmed, refused.remove(id), &agent_refused, failure) {
                (Some(Some(confirmed)), ..) if confirmed == service => ServiceRegistration::Registered,
                (_, Some(reason), ..) => ServiceRegistration::Refused(reason),
                (_, None, Some(reason), _) => ServiceRegistration::AgentRefused(reason.clone()),
                (None, None, None, _) if unreachable.contains(id) => ServiceRegistration::NotAnnounced,
                (Some(_), None, None, Some(failure)) => ServiceRegistration::Outdated(failure.to_string()),
                (None, None, None, Some(failure)) => ServiceRegistration::Unreachable(failure.to_string()),
                (_, None, None, None) => return None,
            };
            Some((id.clone(), registration))
        });
        self.world.service_registrations.set(registrations.collect());
        result
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

    async fn apply(
        &self,
        state: &mut State,
        wanted: &Wanted,
        unreachable: &BTreeSet<FederatedServiceId>,
        incomplete: bool,
        refused: &mut BTreeMap<FederatedServiceId, String>,
    ) -> Result<(), RegistrarError> {
        let listed = self.connect.list_federated_services().await?;
        // What nobody could reach yet is not announced. What was announced is kept up: that all pods are replaced at once, or a
        // load balancer is, does not take the service from its clients for longer than it lasts.
        let known: BTreeSet<&str> =
            listed.iter().filter(|service| is_own(&self.cluster, service)).map(|service| service.id.as_str()).collect();
        let is_announced = |id: &FederatedServiceId| !unreachable.contains(id) || known.contains(id.as_str());
        let wanted: &Wanted =
            &wanted.iter().filter(|(id, _)| is_announced(id)).map(|(id, service)| (id.clone(), service.clone())).collect();
        // Once, and not each time: what somebody registers beside this agent under ids like ours is then a stranger's.
        if state.takes_over && !incomplete {
            let taken_over = state.registered.union(&registered_by_agents(&self.cluster, &listed)).cloned().collect();
            self.remember(state, taken_over)?;
            state.takes_over = false;
        }
        let withdrawable = if incomplete { BTreeSet::new() } else { state.registered.clone() };
        let changes = changes(&self.cluster, wanted, &listed, &withdrawable);

        let found = strangers(&self.cluster, wanted, &listed, &state.registered).map(|service| service.id.clone()).collect();
        if found != state.strangers {
            for id in &found {
                tracing::warn!(
                    service_id = id,
                    "Connect lists a service of this cluster that no manifest describes and that this agent did not register; it is left alone"
                );
            }
            state.strangers = found;
        }

        // Remembered before it is told, so that a service which was told is always remembered.
        let mut registered: BTreeSet<_> = state.registered.union(&wanted.keys().cloned().collect()).cloned().collect();
        self.remember(state, registered.clone())?;

        state.confirmed = wanted.iter().map(|(id, service)| (id.clone(), Some(service.clone()))).collect();
        for change in &changes {
            match change {
                RegistrationChange::Update(service) => drop(state.confirmed.insert(service.id.clone(), None)),
                RegistrationChange::Register(_) | RegistrationChange::Deregister(_) => drop(state.confirmed.remove(change.id())),
            }
        }
        // All withdrawals before the first registration, which may be about the same hostname.
        let (withdrawals, others): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| matches!(change, RegistrationChange::Deregister(_)));
        for changes in [withdrawals, others] {
            let mut outcomes = futures::stream::iter(changes).map(|change| self.tell(change)).buffer_unordered(AT_A_TIME);
            while let Some((change, result)) = outcomes.next().await {
                let id = change.id().clone();
                match (result, change) {
                    (Ok(()), RegistrationChange::Register(service) | RegistrationChange::Update(service)) => {
                        state.confirmed.insert(id, Some(service));
                    }
                    (Ok(()), RegistrationChange::Deregister(_)) => {}
                    (Err(CallError::Refused(reason)), _) => {
                        refused.insert(id, reason);
                    }
                    (Err(error), _) => return Err(error.into()),
                }
            }
        }
        // What is neither wanted nor in Connect any more can be forgotten.
        registered.retain(|id| wanted.contains_key(id) || refused.contains_key(id) || incomplete);
        self.remember(state, registered)?;
        if refused.is_empty() {
            return Ok(());
        }
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
            self.data.save(REGISTRATIONS, &registered)?;
            state.registered = registered;
        }
        Ok(())
    }
}
