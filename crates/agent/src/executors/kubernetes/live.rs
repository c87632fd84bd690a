//! What the mirrors keep of each object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofide_core::Hostname;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::mirror::{Mirror, Presence};
use crate::render::istio::OWNER_ANNOTATION;
use crate::render::object::{MANAGED_BY, MANAGER, RenderedObject, SOURCE_LABEL};

/// Namespace and name.
pub(super) type Name = (String, String);

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub(super) uid: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) whose: Whose,
    /// What it is about where two cannot be: the hosts of a ServiceEntry, the domain of a ClusterFederatedTrustDomain.
    pub(super) claims: Vec<String>,
    /// Of a kind of spire-controller-manager; Istio's change often, and nobody asks for them.
    pub(super) status: Value,
    /// When the status was last changed, as the API server has it: RFC 3339.
    pub(super) status_time: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Whose {
    Ours(Ours),
    Others,
}

/// What we would compare of an object of ours, and delete it by; the rest is not kept.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// In JSON: metadata and spec. A tree of values would be many times as large.
    text: Box<str>,
    /// Somebody has deleted it. A finalizer may keep it nevertheless.
    pub(super) is_going: bool,
    /// The label that tells why it is there; of what has lost its labels nothing is known.
    pub(super) source: Option<String>,
    /// The FederatedService that it is for.
    pub(super) owner: Option<Name>,
    /// What was wanted when it was last found to say all of that.
    says: Arc<Mutex<Option<Arc<str>>>>,
}

impl PartialEq for Ours {
    /// What was found out about it is not a part of it.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Ours {
    /// From metadata and spec.
    pub(super) fn new(json: &Value) -> Self {
        let metadata = &json["metadata"];
        let owner = metadata["annotations"][OWNER_ANNOTATION].as_str().and_then(|owner| owner.split_once('/'));
        Self {
            text: json.to_string().into(),
            is_going: !metadata["deletionTimestamp"].is_null(),
            source: metadata["labels"][SOURCE_LABEL].as_str().map(str::to_owned),
            owner: owner.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())),
            says: Arc::default(),
        }
    }

    /// Whether it says all that is wanted. That is read once for each version of either, for most objects stay as they are.
    pub(super) fn says(&self, wanted: &impl RenderedObject) -> bool {
        let mut says = self.says.lock().unwrap_or_else(PoisonError::into_inner);
        if says.as_ref() == Some(wanted.text()) {
            return true;
        }
        let is_said = serde_json::from_str(&self.text).is_ok_and(|live| wanted.is_in(&live));
        if is_said {
            *says = Some(wanted.text().clone());
        }
        is_said
    }

    /// Metadata and spec.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Live {
    /// `keeps_status` where somebody asks for it.
    pub(super) fn new(object: &DynamicObject, keeps_status: bool) -> Self {
        let whose = if is_ours(object) {
            let metadata = json!({
                "labels": object.metadata.labels,
                "annotations": object.metadata.annotations,
                "ownerReferences": object.metadata.owner_references,
                // A finalizer of somebody may keep what we have deleted already.
                "deletionTimestamp": object.metadata.deletion_timestamp,
            });
            Whose::Ours(Ours::new(&json!({ "metadata": metadata, "spec": object.data["spec"] })))
        } else {
            Whose::Others
        };
        let claims = match object.types.as_ref().map(|types| types.kind.as_str()) {
            Some("ServiceEntry") | None => strings(&object.data["spec"]["hosts"]),
            Some("ClusterFederatedTrustDomain") => object.data["spec"]["trustDomain"].as_str().map(str::to_owned).into_iter().collect(),
            Some(_) => Vec::new(),
        };
        Self {
            uid: object.uid().unwrap_or_default(),
            created: object.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second()),
            whose,
            claims,
            status: if keeps_status { object.data["status"].clone() } else { Value::Null },
            status_time: keeps_status.then(|| status_time(object)).flatten(),
        }
    }

    pub(super) fn ours(&self) -> Option<&Ours> {
        match &self.whose {
            Whose::Ours(ours) => Some(ours),
            Whose::Others => None,
        }
    }
}

fn status_time(object: &DynamicObject) -> Option<String> {
    let of_status = object.managed_fields().iter().filter(|fields| fields.subresource.as_deref() == Some("status"));
    of_status.filter_map(|fields| fields.time.as_ref()).max().map(|time| time.0.to_string())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// By the labels; where somebody took those away, by who has written the object.
fn is_ours(object: &DynamicObject) -> bool {
    let labels = object.labels();
    if labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER) && labels.contains_key(SOURCE_LABEL) {
        return true;
    }
    let is_us = |manager: Option<&str>, operation: Option<&str>| manager == Some(MANAGER) && operation == Some("Apply");
    object.managed_fields().iter().any(|fields| is_us(fields.manager.as_deref(), fields.operation.as_deref()))
}

/// The hosts that ServiceEntries of others have, with these. Where two have claimed one host, the older has it, as in Istio; so
/// nobody can take an import from the mesh by writing an object in a corner of it.
pub(super) fn taken(mirrors: &[Mirror]) -> BTreeMap<Hostname, String> {
    let Some(mirror) = mirrors.iter().find(|mirror| mirror.kind().kind == "ServiceEntry") else { return BTreeMap::new() };
    let Presence::Listed(live) = mirror.presence() else { return BTreeMap::new() };
    let mut claims: BTreeMap<&str, (bool, i64, String)> = BTreeMap::new();
    for ((namespace, name), object) in live.iter() {
        let theirs = object.ours().is_none();
        for host in &object.claims {
            // Of two of the same second, ours has it: false is less than true.
            let claim = (theirs, object.created, format!("ServiceEntry {namespace}/{name}"));
            let older = |held: &(bool, i64, String)| (claim.1, claim.0) < (held.1, held.0);
            if claims.get(host.as_str()).is_none_or(older) {
                claims.insert(host, claim);
            }
        }
    }
    let theirs = claims.into_iter().filter(|(_, (theirs, ..))| *theirs);
    theirs.filter_map(|(host, (.., claimant))| Some((host.parse().ok()?, claimant))).collect()
}
