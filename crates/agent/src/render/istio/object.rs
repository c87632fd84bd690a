//! One object as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofide_core::Hostname;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use serde::Serialize;

use crate::render::object::{MANAGED_BY, MANAGER, ObjectName, RenderedObject, SOURCE_LABEL};

/// The id of the exported service, or the name of the imported one.
pub const SERVICE_LABEL: &str = "registry.cofide.io/service";
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

/// An object of Istio with every field that the agent answers for.
#[derive(Clone, Debug, PartialEq)]
pub struct IstioObject {
    pub name: ObjectName,
    pub side: Side,
    /// For whom it is.
    pub hostname: Hostname,
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
        let kind = WAVES.into_iter().flatten().copied().find(|known| **known == *kind).expect("only Istio's kinds are rendered");
        let metadata = object.meta_mut();
        let name =
            ObjectName { kind, namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() };
        let text = serde_json::to_string(&object).expect("Istio's types have string keys and no fallible serialisers");
        Self { name, side: marks.side, hostname: marks.hostname.clone(), text: text.into() }
    }
}

impl RenderedObject for IstioObject {
    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// All of them: those that decide about trust, and then those that let traffic in. What is of one wave is written at a time; when
/// they go, it is the other way round.
pub const WAVES: [&[&str]; 2] = [
    &["PeerAuthentication", "AuthorizationPolicy", "EnvoyFilter", "DestinationRule"],
    &["WorkloadEntry", "VirtualService", "ServiceEntry", "Gateway"],
];

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
