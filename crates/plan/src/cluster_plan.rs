//! What one cluster receives: resources by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cofide_core::{
    AttestationPolicyBindingId, ClusterId, ControlPlaneTrust, ExportedService, FederatedServiceId, FederatedTrust, Hostname,
    ImportedService, TrustDomain, WorkloadRegistration,
};

use crate::{Snapshot, exports, imports, registrations, trust};

/// Names one resource within a cluster's plan. The resource of a key can be computed without computing any other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Import(Hostname),
    Trust(TrustDomain),
    Registration(AttestationPolicyBindingId),
    Export(FederatedServiceId),
    ControlPlaneTrust,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import(hostname) => write!(f, "import {hostname}"),
            Self::Trust(trust_domain) => write!(f, "trust {trust_domain}"),
            Self::Registration(binding) => write!(f, "registration {binding}"),
            Self::Export(service) => write!(f, "export {service}"),
            Self::ControlPlaneTrust => f.write_str("control plane trust"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanResource {
    Import(ImportedService),
    Trust(FederatedTrust),
    Registration(WorkloadRegistration),
    Export(ExportedService),
    ControlPlaneTrust(ControlPlaneTrust),
}

impl PlanResource {
    pub fn key(&self) -> Key {
        match self {
            Self::Import(import) => Key::Import(import.hostname.clone()),
            Self::Trust(trust) => Key::Trust(trust.trust_domain.clone()),
            Self::Registration(registration) => Key::Registration(registration.binding_id.clone()),
            Self::Export(export) => Key::Export(export.service_id.clone()),
            Self::ControlPlaneTrust(_) => Key::ControlPlaneTrust,
        }
    }
}

/// Everything that a cluster receives. Two plans are equal exactly if their resources are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterPlan {
    resources: BTreeMap<Key, PlanResource>,
}

impl ClusterPlan {
    pub fn get(&self, key: &Key) -> Option<&PlanResource> {
        self.resources.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &PlanResource)> {
        self.resources.iter()
    }

    pub fn len(&self) -> usize {
        self.resources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Puts a resource in the place of its key, or clears the place. Answers whether that changed anything.
    pub fn set(&mut self, key: Key, resource: Option<PlanResource>) -> bool {
        match resource {
            Some(resource) if self.resources.get(&key) == Some(&resource) => false,
            Some(resource) => {
                self.resources.insert(key, resource);
                true
            }
            None => self.resources.remove(&key).is_some(),
        }
    }

    pub fn imports(&self) -> impl Iterator<Item = &ImportedService> {
        self.resources.values().filter_map(|resource| if let PlanResource::Import(import) = resource { Some(import) } else { None })
    }
}

/// The whole plan of a cluster; empty where the cluster is not known.
pub fn plan(snapshot: &Snapshot, cluster: &ClusterId) -> ClusterPlan {
    let resources = keys(snapshot, cluster).into_iter().filter_map(|key| Some((key.clone(), resource(snapshot, cluster, &key)?)));
    ClusterPlan { resources: resources.collect() }
}

/// One resource of a cluster's plan; `None` where the plan has no such resource.
pub fn resource(snapshot: &Snapshot, cluster: &ClusterId, key: &Key) -> Option<PlanResource> {
    let cluster = snapshot.cluster(cluster)?;
    if *key == Key::ControlPlaneTrust {
        return snapshot.control_plane_trust().cloned().map(PlanResource::ControlPlaneTrust);
    }
    let zone = snapshot.trust_zone(&cluster.trust_zone_id)?;
    match key {
        Key::Import(hostname) => imports::import(snapshot, zone, hostname).map(PlanResource::Import),
        Key::Trust(trust_domain) => trust::federated_trust(snapshot, zone, trust_domain).map(PlanResource::Trust),
        Key::Registration(binding) => registrations::registration(snapshot, zone, binding).map(PlanResource::Registration),
        Key::Export(service) => exports::export(snapshot, cluster, zone, service).map(PlanResource::Export),
        Key::ControlPlaneTrust => None,
    }
}

/// The keys that a cluster's plan may hold: all that it does hold, and those for which something is still missing.
pub fn keys(snapshot: &Snapshot, cluster: &ClusterId) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let Some(cluster) = snapshot.cluster(cluster) else { return keys };
    keys.insert(Key::ControlPlaneTrust);
    keys.extend(snapshot.federated_services_of(&cluster.id).map(|service| Key::Export(service.id.clone())));
    keys.extend(snapshot.bindings_of(&cluster.trust_zone_id).map(|binding| Key::Registration(binding.id.clone())));
    for federation in snapshot.federations_from(&cluster.trust_zone_id) {
        keys.extend(snapshot.trust_zone(&federation.remote_trust_zone_id).map(|remote| Key::Trust(remote.trust_domain.clone())));
    }
    if let Some(zone) = snapshot.trust_zone(&cluster.trust_zone_id) {
        let exported = snapshot.federated_services_exported_to(&zone.trust_domain);
        keys.extend(exported.map(|service| Key::Import(service.hostname.clone())));
    }
    keys
}
