//! The status of FederatedServices in a cluster: a part of each object, written by the leader.
//!
//! What is wanted is compared with what the watch says is there; only a difference is written, so a status that somebody
//! edits comes back, and a restart writes nothing. Between a write and the moment in which the watch brings it, the answer to
//! the write counts.
//!
//! What is on its way is not written before it has arrived, unless it takes long: of a service that becomes ready within
//! `PATIENCE` its owner sees one change and the API server one write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofide_core::ConditionKind;
use cofide_k8s_api::{ConditionStatus, FederatedServiceObject, FederatedServiceStatus};
use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::Instant;

use super::complaints::Complaints;
use super::events::{Events, news};
use super::judge::{judge, unmet};
use super::now;
use super::service::service_status;
use crate::leader::Leadership;
use crate::published::Wake;
use crate::sources::kubernetes::Stores;
use crate::view::{ObjectKey, Origin};
use crate::world::{Link, World};
use crate::xds_service::XdsService;

/// How long something may be on its way before its owner hears of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take while Connect answers, since the last one that has arrived: of a thousand services that come at once each
/// has its turn.
const PATIENCE_WITH_CONNECT: Duration = Duration::from_secs(20);
/// However many others arrive.
const LONGEST_PATIENCE: Duration = Duration::from_secs(120);
const AT_A_TIME: usize = 8;
const ATTEMPT: Duration = Duration::from_secs(5);

pub struct ClusterStatus {
    client: Client,
    leadership: Leadership,
    stores: Arc<Stores>,
    world: Arc<World>,
    xds: Arc<XdsService>,
    gateway_of_mesh: bool,
    events: Events,
    /// Wakes the reconciler that this is run by.
    wake: Wake,
    /// The definition lacks the fields of a newer one.
    is_older: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By uid: what was written, and the version of the object before.
    written: BTreeMap<String, Written>,
    /// By uid: since when something is on its way.
    underway: BTreeMap<String, Instant>,
    /// When the last of these has arrived.
    arrived_at: Option<Instant>,
    complaints: Complaints,
}

#[derive(Clone)]
struct Written {
    replaced: String,
    status: FederatedServiceStatus,
}

/// One object whose status is to be written.
struct Change {
    key: ObjectKey,
    uid: String,
    resource_version: String,
    before: FederatedServiceStatus,
    wanted: FederatedServiceStatus,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of {count} services, the first being {first}: {reason}")]
pub struct StatusError {
    count: usize,
    first: ObjectKey,
    reason: String,
}

fn is_underway(status: &FederatedServiceStatus) -> bool {
    let ready = status.conditions.iter().find(|condition| condition.kind == ConditionKind::Ready.as_str());
    ready.is_some_and(|ready| ready.status == ConditionStatus::Unknown)
}

/// Whether what is on its way, for so long and for so long after the last one that has arrived, is waited for without a word.
fn is_awaited(link: &Link, waited: Duration, idle: Duration) -> bool {
    match link {
        Link::Connected => idle < PATIENCE_WITH_CONNECT && waited < LONGEST_PATIENCE,
        Link::Joining | Link::Disconnected(_) => waited < PATIENCE,
    }
}

impl ClusterStatus {
    #[expect(clippy::too_many_arguments, reason = "each is another part of the agent, and all are there once")]
    pub fn new(
        client: Client,
        instance: String,
        leadership: Leadership,
        stores: Arc<Stores>,
        world: Arc<World>,
        xds: Arc<XdsService>,
        gateway_of_mesh: bool,
        wake: Wake,
    ) -> Self {
        let events = Events::new(client.clone(), instance);
        let (is_older, state) = (AtomicBool::default(), Mutex::default());
        Self { client, leadership, stores, world, xds, gateway_of_mesh, events, wake, is_older, state }
    }

    /// Writes each status that is not as it should be; nothing while another agent leads.
    ///
    /// # Errors
    ///
    /// When the API server does not take one of them. The others are written.
    pub async fn reconcile(&self) -> Result<(), StatusError> {
        self.leadership.fenced(self.write_changes()).await.unwrap_or(Ok(()))
    }

    async fn write_changes(&self) -> Result<(), StatusError> {
        let changes = self.changes();
        let mut failures: Vec<_> = futures::stream::iter(changes)
            .map(async |change| self.write(&change).await.map_err(|reason| (change.key, reason)))
            .buffer_unordered(AT_A_TIME)
            .filter_map(async |outcome| outcome.err())
            .collect()
            .await;
        let count = failures.len();
        failures.sort();
        failures.into_iter().next().map_or(Ok(()), |(first, reason)| Err(StatusError { count, first, reason }))
    }

    /// Everything that differs.
    fn changes(&self) -> Vec<Change> {
        let exports = self.world.exports.get();
        let Some(exports) = exports.as_ref() else { return Vec::new() };
        let judged = judge(exports, &self.world, &self.xds, self.gateway_of_mesh);
        self.world.unmet_conditions.set(unmet(&judged));
        let (now, instant) = (now(), Instant::now());
        let objects = self.stores.objects.read();
        let Some(objects) = objects.as_ref() else { return Vec::new() };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { written, underway, arrived_at, complaints } = &mut *state;
        complaints.update(&judged, &exports.problems);

        let link = self.world.link.get();
        let mut changes = Vec::new();
        let (mut still_written, mut still_underway, mut waits) = (BTreeMap::new(), BTreeMap::new(), false);
        for (export, conditions) in &judged {
            let Origin::Object { key, uid } = &export.origin else { continue };
            let Some(object) = objects.get(&(key.namespace.clone(), key.name.clone())).filter(|object| object.uid == *uid) else {
                continue;
            };
            // What the watch has is older than what was written, as long as it has the version that was replaced.
            let written = written.remove(uid).filter(|written| written.replaced == object.resource_version);
            let before = written.as_ref().map_or(&object.status, |written| &written.status).clone();
            let wanted = service_status(export, conditions, &before.conditions, &now);
            let is_same = if self.is_older.load(Ordering::Relaxed) {
                before.clone().for_older_definition() == wanted.clone().for_older_definition()
            } else {
                before == wanted
            };
            if let Some(written) = written {
                still_written.insert(uid.clone(), written);
            }
            if is_underway(&wanted) {
                if is_same {
                    continue;
                }
                let since = underway.remove(uid).unwrap_or(instant);
                still_underway.insert(uid.clone(), since);
                let idle = instant.duration_since(arrived_at.map_or(since, |arrived| arrived.max(since)));
                if is_awaited(&link, instant.duration_since(since), idle) {
                    waits = true;
                    continue;
                }
            } else if underway.remove(uid).is_some() {
                *arrived_at = Some(instant);
            }
            if is_same {
                continue;
            }
            let (key, uid, resource_version) = (key.clone(), uid.clone(), object.resource_version.clone());
            changes.push(Change { key, uid, resource_version, before, wanted });
        }
        (*written, *underway) = (still_written, still_underway);
        if waits {
            let wake = self.wake.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                wake.wake();
            });
        }
        changes
    }

    async fn write(&self, change: &Change) -> Result<(), String> {
        let services: Api<FederatedServiceObject> = Api::namespaced(self.client.clone(), &change.key.namespace);
        let params = PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(change.wanted.merge_patch());
        let answer = tokio::time::timeout(ATTEMPT, services.patch_status(&change.key.name, &params, &patch)).await;
        let object = match answer {
            Ok(Ok(object)) => object,
            // It went meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the API server does not answer".to_owned()),
        };
        let status = object.written_status();
        self.is_older.store(change.wanted.hostname.is_some() && status.hostname.is_none(), Ordering::Relaxed);
        let news = news(&change.before.conditions, &change.wanted.conditions);
        let written = Written { replaced: change.resource_version.clone(), status };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).written.insert(change.uid.clone(), written);
        if let Some(news) = news {
            self.events.tell(&change.key, &change.uid, news).await;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
