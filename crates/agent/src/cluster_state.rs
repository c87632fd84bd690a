//! The agent's memory in its cluster: the ConfigMap `cofide-agent-state` in the agent's namespace.
//!
//! A pod's disk goes with the pod. What must not be forgotten is kept here as well, in the words of the data folder
//! ([`crate::state`]): who the agent is and how it recognises Connect, which trust in the SPIRE server is the agent's, and what is
//! in force although its object is not valid any more. No secret is among it. What was registered is not: the ids in Connect's list
//! say it ([`Memory::Ids`](crate::uplink::registrar::Memory)). The
//! leader writes; whoever becomes leader reads first, because the leader before knew more than its own disk says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofide_runtime::files::FileError;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Mutex;

use crate::leader::Leadership;
use crate::permissions::STATE_CONFIG_MAP as NAME;
use crate::state::{DataFolder, IDENTITY, LAST_VALID, TRUST};

/// In the order of who gets the room: first what is the agent's own and protects from orphans and from joining again, then what
/// users wrote, which may be long.
const KEPT: [&str; 3] = [IDENTITY, TRUST, LAST_VALID];
/// What only a leader writes, and the next one needs.
const INHERITED: [&str; 1] = [TRUST];
/// Bytes of all that is kept, together. The API server takes 1 MiB for all the values of a ConfigMap; a little is left to others.
const ROOM: usize = 1_000_000;
const ATTEMPT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ClusterStateError {
    #[error("cannot {action} the ConfigMap {NAME}: {reason}")]
    Api { action: &'static str, reason: String },
    #[error("{name} has {length} bytes, and the ConfigMap {NAME} has room for {room}; as it is now it is kept on disk alone")]
    TooLong { name: &'static str, length: usize, room: usize },
    #[error(transparent)]
    Memory(#[from] FileError),
}

pub struct ClusterState {
    maps: Api<ConfigMap>,
    data: Arc<DataFolder>,
    held: Mutex<Held>,
}

/// What the ConfigMap is known to hold, and since which term of this agent.
#[derive(Default)]
struct Held {
    term: u64,
    texts: BTreeMap<&'static str, String>,
}

impl ClusterState {
    pub fn new(client: Client, namespace: &str, data: Arc<DataFolder>) -> Self {
        Self { maps: Api::namespaced(client, namespace), data, held: Mutex::default() }
    }

    /// For an agent that starts on an empty disk: who it is, and what was in force. An API server that does not answer keeps
    /// nobody from starting.
    pub async fn restore(&self) -> Result<(), FileError> {
        if self.data.has_held(IDENTITY) {
            return Ok(());
        }
        match self.read().await {
            Ok(held) => {
                for name in [LAST_VALID, TRUST, IDENTITY] {
                    self.adopt(&held, name)?;
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "if this agent has joined before, it does not know");
                Ok(())
            }
        }
    }

    /// For an agent that becomes leader: takes what the leader before it kept in the place of its own, once in each term.
    async fn inherit(&self, held: &mut Held, term: u64) -> Result<(), ClusterStateError> {
        if held.term == term {
            return Ok(());
        }
        let found = self.read().await?;
        for name in INHERITED {
            self.adopt(&found, name)?;
        }
        let known = KEPT.into_iter().filter_map(|name| Some((name, found.get(name)?.clone())));
        *held = Held { term, texts: known.collect() };
        Ok(())
    }

    fn adopt(&self, held: &BTreeMap<String, String>, name: &str) -> Result<bool, FileError> {
        let Some(text) = held.get(name) else { return Ok(false) };
        let is_whole = self.data.adopt(name, text)?;
        if !is_whole {
            tracing::error!(name, "what the ConfigMap {NAME} keeps is damaged and is ignored");
        }
        Ok(is_whole)
    }

    /// For the leader in this term: keeps what differs from what is kept.
    pub async fn keep(&self, term: u64) -> Result<(), ClusterStateError> {
        let mut held = self.held.lock().await;
        self.inherit(&mut held, term).await?;
        let (mut texts, mut problem) = (BTreeMap::new(), None);
        for name in KEPT {
            match self.data.text(name) {
                Ok(Some(text)) => _ = texts.insert(name, text),
                Ok(None) => {}
                Err(error) => _ = problem.get_or_insert(error.into()),
            }
        }
        let Step { write, too_long } = step(texts, &held.texts);
        if !write.is_empty() {
            // In one call, for what one takes may be what another gives.
            let patch = json!({ "data": write });
            let params = PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            call("write", self.maps.patch(NAME, &params, &Patch::Merge(&patch))).await?;
            for (name, text) in write {
                match text {
                    Some(text) => held.texts.insert(name, text),
                    None => held.texts.remove(name),
                };
            }
        }
        problem.or(too_long).map_or(Ok(()), Err)
    }

    async fn read(&self) -> Result<BTreeMap<String, String>, ClusterStateError> {
        Ok(call("read", self.maps.get_opt(NAME)).await?.and_then(|map| map.data).unwrap_or_default())
    }
}

/// What is to be written, and the first text for which there is no room.
#[derive(Debug, Default)]
struct Step {
    /// `None` takes it away.
    write: BTreeMap<&'static str, Option<String>>,
    too_long: Option<ClusterStateError>,
}

/// From what the ConfigMap holds to these texts. One that does not fit leaves what is held of it in place as long as the ones before
/// it do not need the room; one that there is not stays as it is held.
fn step(mut texts: BTreeMap<&'static str, String>, held: &BTreeMap<&'static str, String>) -> Step {
    let (mut step, mut room) = (Step::default(), ROOM);
    for name in KEPT {
        let held = held.get(name);
        if let Some(text) = texts.remove(name) {
            if text.len() <= room {
                room -= text.len();
                if held != Some(&text) {
                    step.write.insert(name, Some(text));
                }
                continue;
            }
            step.too_long.get_or_insert(ClusterStateError::TooLong { name, length: text.len(), room });
        }
        match held {
            Some(held) if held.len() <= room => room -= held.len(),
            Some(_) => _ = step.write.insert(name, None),
            None => {}
        }
    }
    step
}

/// What one part of the agent knows of the terms in which it wrote.
#[derive(Clone)]
pub struct Succession {
    /// Absent on a host, where nobody else writes.
    state: Option<Arc<ClusterState>>,
    leadership: Leadership,
    term: Arc<AtomicU64>,
}

impl Succession {
    pub fn new(state: Option<Arc<ClusterState>>, leadership: Leadership) -> Self {
        Self { state, leadership, term: Arc::default() }
    }

    /// Before the part does anything in a new term: takes over what another leader has kept since, and lets the part read it
    /// from the data folder by `recall`.
    pub async fn enter<R>(&self, recall: impl FnOnce() -> R) -> Result<(), ClusterStateError>
    where
        R: Future<Output = Result<(), FileError>>,
    {
        let present = self.leadership.term();
        if let Some(state) = self.state.as_ref().filter(|_| self.term.load(Ordering::Relaxed) != present) {
            state.inherit(&mut *state.held.lock().await, present).await?;
            recall().await?;
            self.term.store(present, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn call<T>(action: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterStateError> {
    let failed = |reason: String| ClusterStateError::Api { action, reason };
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(outcome) => outcome.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed("the API server does not answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(lengths: [(&'static str, usize); N]) -> BTreeMap<&'static str, String> {
        lengths.map(|(name, length)| (name, "x".repeat(length))).into()
    }

    fn lengths(step: &Step) -> Vec<(&'static str, Option<usize>)> {
        step.write.iter().map(|(name, text)| (*name, text.as_ref().map(String::len))).collect()
    }

    fn too_long(step: &Step) -> Option<&'static str> {
        match &step.too_long {
            Some(ClusterStateError::TooLong { name, .. }) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn what_users_wrote_never_crowds_out_what_is_the_agents_own() {
        let kept = step(texts([(IDENTITY, 1000), (LAST_VALID, ROOM), (TRUST, 1000)]), &BTreeMap::new());
        assert_eq!(lengths(&kept), [(IDENTITY, Some(1000)), (TRUST, Some(1000))]);
        assert_eq!(too_long(&kept), Some(LAST_VALID));
        // Not even where it came first.
        let kept = step(texts([(LAST_VALID, 700_000), (TRUST, 400_000)]), &texts([(LAST_VALID, 700_000), (TRUST, 10)]));
        assert_eq!(lengths(&kept), [(LAST_VALID, None), (TRUST, Some(400_000))]);
        assert_eq!(too_long(&kept), Some(LAST_VALID));
    }

    #[test]
    fn the_bound_is_for_all_texts_together() {
        let kept = step(texts([(IDENTITY, 1000), (LAST_VALID, ROOM - 3000), (TRUST, 2000)]), &BTreeMap::new());
        assert_eq!((kept.write.len(), too_long(&kept)), (3, None));
        let kept = step(texts([(IDENTITY, 1000), (LAST_VALID, ROOM - 2999), (TRUST, 2000)]), &BTreeMap::new());
        assert_eq!((kept.write.len(), too_long(&kept)), (2, Some(LAST_VALID)));
    }

    #[test]
    fn what_is_held_stays_where_nothing_or_too_much_takes_its_place() {
        let held = texts([(IDENTITY, 10), (LAST_VALID, 30), (TRUST, 20)]);
        assert!(step(BTreeMap::new(), &held).write.is_empty());
        let kept = step(texts([(IDENTITY, 10), (LAST_VALID, ROOM), (TRUST, ROOM + 1)]), &held);
        assert!(kept.write.is_empty());
        assert_eq!(too_long(&kept), Some(TRUST), "the first one is told");
    }
}
