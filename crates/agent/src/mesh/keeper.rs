//! Looks at the mesh's settings, says what is wrong with them, and mends what it may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use super::decide::{Needed, Places, Seen, findings};
use super::finding::{Finding, MeshFindings};
use super::istiod::{Istiod, is_true};
use super::mesh_config::{Edited, Managed, MeshConfig, edit};
use super::{SecretsClient, Sight};
use crate::kubernetes::KubernetesCluster;
use crate::own_cluster::OwnCluster;
use crate::status::events;
use crate::world::World;

/// Where the text of a MeshConfig is in its ConfigMap.
const KEY: &str = "mesh";
/// The trust domains that the agent has added to it.
const ADDED: &str = "registry.cofide.io/mesh-trust-domains";
const ATTEMPT: Duration = Duration::from_secs(5);

/// What the operator says of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshKeeperSettings {
    /// Where istiod is, and Istio's root namespace.
    pub namespace: String,
    pub config_map: String,
    /// The name of istiod's Deployment.
    pub istiod: String,
    /// Whether the agent may write the ConfigMap.
    pub manages: bool,
}

pub struct MeshKeeper {
    config_maps: Api<ConfigMap>,
    deployments: Api<Deployment>,
    recorder: Recorder,
    secrets: SecretsClient,
    settings: MeshKeeperSettings,
    places: Places,
    cluster: OwnCluster,
    world: Arc<World>,
    /// After which to look although nothing else is needed than before.
    interval: Duration,
    looked: Mutex<Option<Looked>>,
}

/// That everything was seen, and written.
struct Looked {
    needed: Needed,
    at: Instant,
}

impl std::fmt::Debug for MeshKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MeshKeeper({:?})", self.settings)
    }
}

/// What could not be done, and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("cannot read {what}: {reason}")]
    Read { what: String, reason: String },
    #[error("cannot write ConfigMap {what}: {reason}")]
    Write { what: String, reason: String },
}

impl MeshKeeper {
    pub fn new(
        at: &KubernetesCluster,
        settings: MeshKeeperSettings,
        secrets: SecretsClient,
        cluster: OwnCluster,
        world: Arc<World>,
        interval: Duration,
    ) -> Self {
        let client: Client = at.client.clone();
        let reporter = Reporter { controller: crate::FIELD_MANAGER.to_owned(), instance: Some(at.instance.clone()) };
        let places = Places {
            config_map: format!("{}/{}", settings.namespace, settings.config_map),
            istiod: format!("{}/{}", settings.namespace, settings.istiod),
        };
        Self {
            config_maps: Api::namespaced(client.clone(), &settings.namespace),
            deployments: Api::namespaced(client.clone(), &settings.namespace),
            recorder: Recorder::new(client, reporter),
            secrets,
            settings,
            places,
            cluster,
            world,
            interval,
            looked: Mutex::default(),
        }
    }

    /// Looks once, writes what is to be written, and publishes what was found. Where nothing else is needed than a moment ago,
    /// nothing is done: services come and go, and most of them ask nothing more of the mesh.
    ///
    /// # Errors
    ///
    /// When the API server does not answer, or does not take what is written. What was found before stays published where nothing
    /// else is known.
    pub async fn reconcile(&self) -> Result<(), MeshError> {
        let needed = Needed::of(&self.cluster.trust_domain, self.world.exports.get().as_ref().as_ref(), &self.world.plan.get());
        let now = Instant::now();
        if self.has_looked(&needed, now) {
            return Ok(());
        }
        let (istiod, held, secrets) = tokio::join!(self.istiod(), self.config_map(), self.secrets.look());
        let (istiod, held) = (istiod?, held?);
        let (held, written) = match held {
            Sight::Seen(held) if self.settings.manages => {
                let (held, written) = self.manage(held, &needed, &istiod).await;
                (Sight::Seen(held), written)
            }
            held => (held, Ok(())),
        };
        let mesh_config = match &held {
            Sight::Seen(held) => match MeshConfig::read(mesh(held)) {
                Ok(config) => Sight::Seen(config),
                Err(error) => Sight::Unknown(format!("ConfigMap {} cannot be read: {error}", self.places.config_map)),
            },
            Sight::Unknown(reason) => Sight::Unknown(reason.clone()),
        };
        let has_seen_secrets = matches!(secrets, Sight::Seen(_));
        let found = findings(&self.places, &needed, &Seen { mesh_config, istiod, secrets });
        self.tell(&found, &held).await;
        self.world.mesh_findings.set(Some(found));
        let looked = (written.is_ok() && has_seen_secrets).then_some(Looked { needed, at: now });
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = looked;
        written
    }

    fn has_looked(&self, needed: &Needed, now: Instant) -> bool {
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.as_ref().is_some_and(|looked| looked.needed == *needed && now.duration_since(looked.at) < self.interval)
    }

    async fn istiod(&self) -> Result<Istiod, MeshError> {
        Ok(match self.look(&self.deployments, &self.settings.istiod).await? {
            Sight::Seen(deployment) => Istiod::of(&deployment),
            Sight::Unknown(reason) => Istiod::unknown(&reason),
        })
    }

    async fn config_map(&self) -> Result<Sight<ConfigMap>, MeshError> {
        self.look(&self.config_maps, &self.settings.config_map).await
    }

    async fn look<K>(&self, api: &Api<K>, name: &str) -> Result<Sight<K>, MeshError>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let what = format!("{} {}/{name}", K::kind(&()), self.settings.namespace);
        match tokio::time::timeout(ATTEMPT, api.get_opt(name)).await {
            Ok(Ok(Some(object))) => Ok(Sight::Seen(object)),
            Ok(Ok(None)) => Ok(Sight::Unknown(format!("there is no {what}"))),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                Ok(Sight::Unknown(format!("the agent may not get {what}; the chart's Role in the mesh's namespace allows it")))
            }
            Ok(Err(error)) => Err(MeshError::Read { what, reason: error.to_string() }),
            Err(_) => Err(MeshError::Read { what, reason: "the API server does not answer".to_owned() }),
        }
    }

    /// The ConfigMap as it is afterwards, and what kept it from being written.
    async fn manage(&self, held: ConfigMap, needed: &Needed, istiod: &Istiod) -> (ConfigMap, Result<(), MeshError>) {
        let error = |reason: String| Err(MeshError::Write { what: self.places.config_map.clone(), reason });
        let edited = match edit(mesh(&held), &managed(&held, needed, istiod)) {
            Ok(Some(edited)) => edited,
            Ok(None) => return (held, Ok(())),
            Err(reason) => return (held, error(reason.to_string())),
        };
        let params = PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch(&held, &edited));
        let written = match tokio::time::timeout(ATTEMPT, self.config_maps.patch(&self.settings.config_map, &params, &patch)).await {
            Ok(Ok(written)) => written,
            // Somebody else was faster, for example: what they wrote is looked at next.
            Ok(Err(reason)) => return (held, error(reason.to_string())),
            Err(_) => return (held, error("the API server does not answer".to_owned())),
        };
        if !edited.changes.is_empty() {
            let changes = edited.changes.join("; ");
            tracing::info!(config_map = self.places.config_map, changes, "wrote the mesh configuration");
            self.record(&written, EventType::Normal, "MeshConfigWritten", KEY, changes).await;
        }
        (written, Ok(()))
    }

    /// Only what is new.
    async fn tell(&self, found: &MeshFindings, held: &Sight<ConfigMap>) {
        let before = self.world.mesh_findings.get();
        let nothing = BTreeSet::new();
        let before: &BTreeSet<Finding> = before.as_ref().as_ref().map_or(&nothing, |before| &before.0);
        for finding in found.0.difference(before) {
            if !finding.is_wrong() {
                tracing::info!(%finding, "a setting of the mesh cannot be checked");
                continue;
            }
            tracing::warn!(%finding, "a setting of the mesh is not as it has to be");
            if let Sight::Seen(held) = held {
                self.record(held, EventType::Warning, "MeshMisconfigured", finding.setting(), finding.to_string()).await;
            }
        }
        let keys: BTreeSet<_> = found.0.iter().map(|finding| &finding.key).collect();
        for finding in before.iter().filter(|finding| !keys.contains(&finding.key)) {
            tracing::info!(key = finding.key, "a setting of the mesh is as it has to be");
        }
    }

    /// An Event that cannot be written is no reason to hold anything up: the log says the same. Those of one reason and one action
    /// are one Event that is counted.
    async fn record(&self, about: &ConfigMap, kind: EventType, reason: &str, action: &str, note: String) {
        let event =
            Event { type_: kind, reason: reason.to_owned(), note: Some(events::note(note)), action: action.to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(config_map = self.places.config_map, %error, "cannot write an Event");
        }
    }
}

fn mesh(held: &ConfigMap) -> &str {
    held.data.as_ref().and_then(|data| data.get(KEY)).map_or("", String::as_str)
}

fn added(held: &ConfigMap) -> BTreeSet<String> {
    let listed = held.annotations().get(ADDED).map_or("", String::as_str);
    listed.split(',').filter(|domain| !domain.is_empty()).map(str::to_owned).collect()
}

/// What is to be in the ConfigMap. Pure.
fn managed(held: &ConfigMap, needed: &Needed, istiod: &Istiod) -> Managed {
    let added_before = added(held);
    let skips = match &istiod.skip_validation {
        Sight::Seen(value) => value.as_deref().is_some_and(is_true),
        Sight::Unknown(_) => false,
    };
    // A list here would hide one in the other ConfigMap.
    let is_alone = istiod.shared_mesh_config == Sight::Seen(None);
    let accepted = (is_alone && needed.is_whole).then(|| {
        let is_there = |domain: &&cofide_core::TrustDomain| added_before.contains(domain.as_str());
        // With an istiod that does not ask, nothing has to be added.
        needed.admitted.iter().filter(|domain| !skips || is_there(domain)).cloned().collect()
    });
    Managed { trust_domain: needed.own.clone(), accepted, added_before }
}

/// Taken only where nobody has written the ConfigMap since it was read.
fn patch(held: &ConfigMap, edited: &Edited) -> serde_json::Value {
    let listed: Vec<_> = edited.added.iter().map(String::as_str).collect();
    let annotation = if listed.is_empty() { json!(null) } else { json!(listed.join(",")) };
    let annotations = BTreeMap::from([(ADDED, annotation)]);
    json!({
        "metadata": { "resourceVersion": held.resource_version(), "annotations": annotations },
        "data": { KEY: edited.text },
    })
}
