//! One object as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_core::{AttestationPolicyBindingId, TrustDomain};
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use serde::Serialize;
use serde_json::Value;

use crate::render::object::{MANAGED_BY, MANAGER, ObjectName, RenderedObject, SOURCE_LABEL, is_marked};

/// What is of one wave is written at a time: a trust domain before the entries that name it.
pub const WAVES: [&[&str]; 2] = [&["ClusterFederatedTrustDomain"], &["ClusterStaticEntry", "ClusterSPIFFEID"]];

/// [`SOURCE_LABEL`] of what a federation has brought.
pub const FEDERATION: &str = "federation";
/// [`SOURCE_LABEL`] of what an attestation policy binding has brought.
pub const BINDING: &str = "attestation-policy-binding";
/// The ids of the bindings, which a label cannot hold.
const BINDINGS_ANNOTATION: &str = "registry.cofide.io/attestation-policy-bindings";
const POLICY_ANNOTATION: &str = "registry.cofide.io/attestation-policy";

/// For whom an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Bindings(BTreeSet<AttestationPolicyBindingId>),
    TrustDomain(TrustDomain),
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpireObject {
    pub name: ObjectName,
    pub owner: Owner,
    text: Arc<str>,
}

impl SpireObject {
    /// `policy` is told to people.
    pub(super) fn new<K, S>(make: fn(ObjectMeta, S) -> K, name: String, spec: S, owner: Owner, policy: Option<&str>) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let source = match &owner {
            Owner::Bindings(_) => BINDING,
            Owner::TrustDomain(_) => FEDERATION,
        };
        let labels = [(MANAGED_BY, MANAGER), (SOURCE_LABEL, source)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut annotations = BTreeMap::new();
        if let Owner::Bindings(bindings) = &owner {
            let ids: Vec<_> = bindings.iter().map(ToString::to_string).collect();
            annotations.insert(BINDINGS_ANNOTATION.to_owned(), ids.join(","));
        }
        annotations.extend(policy.map(|policy| (POLICY_ANNOTATION.to_owned(), policy.to_owned())));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels.into()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        };
        let kind = ApiResource::erase::<K>(&()).kind;
        // The kinds are known at compile time; this gives the name that lives as long.
        let kind = WAVES
            .into_iter()
            .flatten()
            .copied()
            .find(|known| **known == *kind)
            .expect("only the kinds of spire-controller-manager are rendered");
        let name = ObjectName { kind, namespace: String::new(), name };
        let text = serde_json::to_string(&make(metadata, spec)).expect("these types have string keys and no fallible serialisers");
        Self { name, owner, text: text.into() }
    }
}

impl RenderedObject for SpireObject {
    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Each field of the specification is ours as a whole: one label more in a selector means other pods.
    fn is_in(&self, live: &Value) -> bool {
        let json = self.json();
        is_marked(&json["metadata"], live)
            && json["spec"].as_object().into_iter().flatten().all(|(field, wanted)| live["spec"].get(field) == Some(wanted))
    }
}
