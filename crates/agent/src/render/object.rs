//! What objects of a cluster have in common, whoever acts on them.

use std::fmt;
use std::sync::Arc;

use cofide_k8s_api::is_applied;
use serde_json::Value;

/// As whom the agent writes.
pub const MANAGER: &str = "cofide-agent";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Why an object is there, in a word of its renderer. What carries it beside [`MANAGED_BY`] is the agent's.
pub const SOURCE_LABEL: &str = "registry.cofide.io/source";

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub kind: &'static str,
    /// Empty where the kind is of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// An object as it should be, with every field that the agent answers for.
pub trait RenderedObject: Send + Sync {
    fn name(&self) -> &ObjectName;

    /// In JSON, as it is applied; equal objects have equal texts. A tree of values would be many times as large, and thousands of
    /// objects are held.
    fn text(&self) -> &Arc<str>;

    /// The object as it is applied.
    fn json(&self) -> Value {
        serde_json::from_str(self.text()).expect("it was made from JSON")
    }

    /// Whether an object of the cluster says all that this one does.
    fn is_in(&self, live: &Value) -> bool {
        let json = self.json();
        is_marked(&json["metadata"], live) && live.get("spec").is_some_and(|live| is_applied(live, &json["spec"]))
    }
}

/// Whether what marks an object is there.
pub(super) fn is_marked(metadata: &Value, live: &Value) -> bool {
    ["labels", "annotations", "ownerReferences"].into_iter().all(|field| match metadata.get(field) {
        Some(wanted) => live["metadata"].get(field).is_some_and(|live| is_applied(live, wanted)),
        None => true,
    })
}
