//! One object as it should be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cofide_core::Hostname;
use cofide_k8s_api::istio::is_applied;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use serde::Serialize;
use serde_json::Value;

/// As whom the agent writes.
pub const MANAGER: &str = "cofide-agent";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The id of the exported service, or the name of the imported one.
pub const SERVICE_LABEL: &str = "registry.cofide.io/service";
pub const SOURCE_LABEL: &str = "registry.cofide.io/source";
const HOSTNAME_ANNOTATION: &str = "registry.cofide.io/hostname";
/// Namespace and name of the FederatedService that an export is of.
pub const OWNER_ANNOTATION: &str = "registry.cofide.io/federated-service";

/// Why an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// A FederatedService of this cluster.
    Export,
    /// A service of another trust zone.
    Import,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
        }
    }
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of Istio with every field that the agent answers for.
#[derive(Clone, Debug, PartialEq)]
pub struct IstioObject {
    pub name: ObjectName,
    pub side: Side,
    /// For whom it is.
    pub hostname: Hostname,
    /// In JSON, as it is applied. A tree of values would be many times as large, and thousands of objects are held.
    text: Arc<str>,
}

impl IstioObject {
    /// `metadata` has namespace and name at least.
    pub(super) fn new<K, S>(make: fn(ObjectMeta, S) -> K, metadata: ObjectMeta, spec: S, marks: &Marks) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut object = make(marks.on(metadata), spec);
        let kind = ApiResource::erase::<K>(&()).kind;
        // The kinds are known at compile time; this gives the name that lives as long.
        let kind = KINDS.into_iter().find(|known| **known == *kind).expect("only Istio's kinds are rendered");
        let metadata = object.meta_mut();
        let name =
            ObjectName { kind, namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() };
        let text = serde_json::to_string(&object).expect("Istio's types have string keys and no fallible serialisers");
        Self { name, side: marks.side, hostname: marks.hostname.clone(), text: text.into() }
    }

    #[cfg(test)]
    pub(crate) fn of_json(name: ObjectName, side: Side, hostname: Hostname, json: &Value) -> Self {
        Self { name, side, hostname, text: json.to_string().into() }
    }

    /// The object as it is applied.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("it was made from JSON")
    }

    /// Equal objects have equal texts.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether an object of the cluster says all that this one does.
    pub fn is_in(&self, live: &Value) -> bool {
        let json = self.json();
        let metadata = ["labels", "annotations", "ownerReferences"].into_iter().all(|field| match json["metadata"].get(field) {
            Some(wanted) => live["metadata"].get(field).is_some_and(|live| is_applied(live, wanted)),
            None => true,
        });
        metadata && live.get("spec").is_some_and(|live| is_applied(live, &json["spec"]))
    }
}

/// All of them, those that decide about trust first.
pub const KINDS: [&str; 8] = [
    "PeerAuthentication",
    "AuthorizationPolicy",
    "EnvoyFilter",
    "DestinationRule",
    "WorkloadEntry",
    "VirtualService",
    "ServiceEntry",
    "Gateway",
];

/// Whether objects of a kind decide about trust. They are written before those that let traffic in, and deleted after them.
pub fn decides_about_trust(kind: &str) -> bool {
    matches!(kind, "PeerAuthentication" | "AuthorizationPolicy" | "EnvoyFilter" | "DestinationRule")
}

/// What all objects of one service carry.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) side: Side,
    pub(super) hostname: Hostname,
    /// The value of [`SERVICE_LABEL`].
    pub(super) service: String,
    /// The value of [`OWNER_ANNOTATION`], where there is a FederatedService.
    pub(super) owner: Option<String>,
}

impl Marks {
    fn on(&self, metadata: ObjectMeta) -> ObjectMeta {
        let labels = [(MANAGED_BY, MANAGER), (SERVICE_LABEL, &self.service), (SOURCE_LABEL, self.side.as_str())];
        let labels: BTreeMap<_, _> = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        // A label cannot hold every hostname.
        let mut annotations = BTreeMap::from([(HOSTNAME_ANNOTATION.to_owned(), self.hostname.to_string())]);
        annotations.extend(self.owner.iter().map(|owner| (OWNER_ANNOTATION.to_owned(), owner.clone())));
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..metadata }
    }
}
