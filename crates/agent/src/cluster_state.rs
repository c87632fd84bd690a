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

const KEPT: [&str; 3] = [IDENTITY, LAST_VALID, TRUST];
/// What only a leader writes, and the next one needs.
const INHERITED: [&str; 1] = [TRUST];
/// The API server takes a megabyte for all of it.
const LONGEST: usize = 900_000;
const ATTEMPT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ClusterStateError {
    #[error("cannot {action} the ConfigMap {NAME}: {reason}")]
    Api { action: &'static str, reason: String },
    #[error("{name} has {length} bytes, which is more than the ConfigMap {NAME} can hold; it is kept on disk alone")]
    TooLong { name: &'static str, length: usize },
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
        for name in KEPT {
            let Some(text) = self.data.text(name)? else { continue };
            if held.texts.get(name) == Some(&text) {
                continue;
            }
            if text.len() > LONGEST {
                return Err(ClusterStateError::TooLong { name, length: text.len() });
            }
            let patch = json!({ "data": { name: text } });
            let params = PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            call("write", self.maps.patch(NAME, &params, &Patch::Merge(&patch))).await?;
            held.texts.insert(name, text);
        }
        Ok(())
    }

    async fn read(&self) -> Result<BTreeMap<String, String>, ClusterStateError> {
        Ok(call("read", self.maps.get_opt(NAME)).await?.and_then(|map| map.data).unwrap_or_default())
    }
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
