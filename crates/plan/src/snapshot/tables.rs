//! Putting objects in and taking them out, so that each index says what its table says.
//!
//! `remove` takes the object alone; `forget` takes with it what cannot be without it, as the database does.

use std::sync::Arc;

use cofide_core::{
    AttestationPolicyBinding, AttestationPolicyBindingId, Cluster, ClusterId, FederatedService, FederatedServiceId, Federation,
    FederationId, TrustZone, TrustZoneId,
};

use super::Snapshot;

impl Snapshot {
    pub(super) fn put_trust_zone(&mut self, zone: Arc<TrustZone>) {
        self.remove_trust_zone(&zone.id);
        self.trust_zones_by_domain.insert(zone.trust_domain.clone(), zone.id.clone());
        self.trust_zones.insert_mut(zone.id.clone(), zone);
    }

    fn remove_trust_zone(&mut self, id: &TrustZoneId) {
        let Some(zone) = self.trust_zones.get(id).cloned() else { return };
        self.trust_zones_by_domain.remove(&zone.trust_domain, id);
        self.trust_zones.remove_mut(id);
    }

    pub(super) fn forget_trust_zone(&mut self, id: &TrustZoneId) {
        let federations: Vec<_> = self.federations_from.get(id).chain(self.federations_to.get(id)).cloned().collect();
        for federation in federations {
            self.remove_federation(&federation);
        }
        let bindings: Vec<_> = self.bindings_by_trust_zone.get(id).cloned().collect();
        for binding in bindings {
            self.remove_binding(&binding);
        }
        let mentions: Vec<_> = self.bindings_by_federated_zone.get(id).filter_map(|binding| self.bindings.get(binding)).cloned().collect();
        for mut binding in mentions {
            Arc::make_mut(&mut binding).federates_with.retain(|zone| zone != id);
            self.put_binding(binding);
        }
        self.remove_trust_zone(id);
    }

    pub(super) fn put_cluster(&mut self, cluster: Arc<Cluster>) {
        self.remove_cluster(&cluster.id);
        self.clusters_by_trust_zone.insert(cluster.trust_zone_id.clone(), cluster.id.clone());
        self.clusters.insert_mut(cluster.id.clone(), cluster);
    }

    fn remove_cluster(&mut self, id: &ClusterId) {
        let Some(cluster) = self.clusters.get(id).cloned() else { return };
        self.clusters_by_trust_zone.remove(&cluster.trust_zone_id, id);
        self.clusters.remove_mut(id);
    }

    pub(super) fn forget_cluster(&mut self, id: &ClusterId) {
        let services: Vec<_> = self.services_by_cluster.get(id).cloned().collect();
        for service in services {
            self.remove_service(&service);
        }
        self.remove_cluster(id);
    }

    pub(super) fn put_federation(&mut self, federation: Arc<Federation>) {
        self.remove_federation(&federation.id);
        let (id, from, to) = (&federation.id, &federation.trust_zone_id, &federation.remote_trust_zone_id);
        self.federations_by_pair.insert((from.clone(), to.clone()), id.clone());
        self.federations_from.insert(from.clone(), id.clone());
        self.federations_to.insert(to.clone(), id.clone());
        self.federations.insert_mut(id.clone(), federation);
    }

    pub(super) fn remove_federation(&mut self, id: &FederationId) {
        let Some(federation) = self.federations.get(id).cloned() else { return };
        let (from, to) = (&federation.trust_zone_id, &federation.remote_trust_zone_id);
        self.federations_by_pair.remove(&(from.clone(), to.clone()), id);
        self.federations_from.remove(from, id);
        self.federations_to.remove(to, id);
        self.federations.remove_mut(id);
    }

    pub(super) fn put_binding(&mut self, binding: Arc<AttestationPolicyBinding>) {
        self.remove_binding(&binding.id);
        self.bindings_by_trust_zone.insert(binding.trust_zone_id.clone(), binding.id.clone());
        self.bindings_by_policy.insert(binding.policy_id.clone(), binding.id.clone());
        for zone in &binding.federates_with {
            self.bindings_by_federated_zone.insert(zone.clone(), binding.id.clone());
            self.bindings_by_pair.insert((binding.trust_zone_id.clone(), zone.clone()), binding.id.clone());
        }
        if !binding.federates_with_patterns.is_empty() {
            self.bindings_with_patterns.insert(binding.trust_zone_id.clone(), binding.id.clone());
        }
        self.bindings.insert_mut(binding.id.clone(), binding);
    }

    pub(super) fn remove_binding(&mut self, id: &AttestationPolicyBindingId) {
        let Some(binding) = self.bindings.get(id).cloned() else { return };
        self.bindings_by_trust_zone.remove(&binding.trust_zone_id, id);
        self.bindings_by_policy.remove(&binding.policy_id, id);
        self.bindings_with_patterns.remove(&binding.trust_zone_id, id);
        for zone in &binding.federates_with {
            self.bindings_by_federated_zone.remove(zone, id);
            self.bindings_by_pair.remove(&(binding.trust_zone_id.clone(), zone.clone()), id);
        }
        self.bindings.remove_mut(id);
    }

    pub(super) fn put_service(&mut self, service: Arc<FederatedService>) {
        self.remove_service(&service.id);
        self.services_by_hostname.insert(service.hostname.clone(), service.id.clone());
        self.services_by_cluster.insert(service.cluster_id.clone(), service.id.clone());
        for domain in &service.exported_trust_domains {
            self.services_by_export.insert(domain.clone(), service.id.clone());
            self.services_by_zone_and_export.insert((service.trust_zone_id.clone(), domain.clone()), service.id.clone());
        }
        self.services.insert_mut(service.id.clone(), service);
    }

    pub(super) fn remove_service(&mut self, id: &FederatedServiceId) {
        let Some(service) = self.services.get(id).cloned() else { return };
        self.services_by_hostname.remove(&service.hostname, id);
        self.services_by_cluster.remove(&service.cluster_id, id);
        for domain in &service.exported_trust_domains {
            self.services_by_export.remove(domain, id);
            self.services_by_zone_and_export.remove(&(service.trust_zone_id.clone(), domain.clone()), id);
        }
        self.services.remove_mut(id);
    }
}
