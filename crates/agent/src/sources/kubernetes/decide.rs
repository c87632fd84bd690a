//! From what is watched to what the rest of the agent reads. Pure: the same objects give the same view, in whatever order they
//! came.

use cofide_core::DnsLabel;
use cofide_k8s_api::ServiceSpec;

use super::backing::{Services, backing};
use super::gateways::{GatewaySettings, discover};
use super::records::{ServiceObjectRecord, ServiceRecord, SliceRecord};
use crate::view::{ClusterView, Origin, ServiceObject};

/// What the operator decided about the objects of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    pub gateways: GatewaySettings,
    /// Whose FederatedServices may export workloads of other namespaces.
    pub cross_namespace: CrossNamespace,
}

/// The owner of a namespace must not export a neighbour's pods, unless the operator trusts that owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CrossNamespace {
    #[default]
    Nobody,
    From(Vec<DnsLabel>),
    Everybody,
}

impl CrossNamespace {
    fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::From(trusted) => trusted.iter().any(|trusted| trusted.as_str() == namespace),
            Self::Everybody => true,
        }
    }

    fn refusal(&self, object: &ServiceObjectRecord, spec: &ServiceSpec) -> Option<String> {
        let (own, meant) = (object.key.namespace.as_str(), spec.name.namespace.as_str());
        (own != meant && !self.allows(own)).then(|| {
            format!(
                "spec.namespace: {meant:?} is not the object's own namespace, {own:?}; create the object in {meant}, or let the operator add \
                 {own} to the agent's cross_namespace_from"
            )
        })
    }
}

/// The view of the cluster.
pub fn decide<'a>(
    settings: &SourceSettings,
    objects: impl IntoIterator<Item = &'a ServiceObjectRecord>,
    services: impl IntoIterator<Item = &'a ServiceRecord> + Clone,
    slices: impl IntoIterator<Item = &'a SliceRecord>,
) -> ClusterView {
    let discovery = discover(&settings.gateways, services.clone());
    let index = Services::new(services, slices);
    // One that waits for its finalizers is withdrawn already.
    let mut objects: Vec<_> = objects.into_iter().filter(|object| !object.is_going).collect();
    objects.sort_by_key(|object| (object.created, &object.uid));
    let services = objects.into_iter().map(|object| {
        let mut problems = object.problems.clone();
        let spec = object.valid.as_ref().filter(|spec| match settings.cross_namespace.refusal(object, spec) {
            // What may not be is not kept in force either, so a version that was valid before does not count.
            Some(refusal) => {
                problems.push(refusal);
                false
            }
            None => true,
        });
        ServiceObject {
            key: object.key.clone(),
            origin: Origin::Object { key: object.key.clone(), uid: object.uid.clone() },
            age: object.created,
            generation: object.generation,
            backing: spec.map(|spec| backing(spec, &index)),
            spec: spec.cloned(),
            problems,
        }
    });
    ClusterView {
        services: services.collect(),
        gateways: discovery.gateways,
        gateway_findings: discovery.findings,
        ..ClusterView::default()
    }
}
