//! The state of the world at one revision, with the indices that decisions need.

use std::sync::Arc;

use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, Cluster, ClusterId, ControlPlaneTrust,
    FederatedService, FederatedServiceId, Federation, FederationId, Hostname, Name, Noun, NounChange, NounId, Revision, TrustDomain,
    TrustZone, TrustZoneId,
};
use rpds::RedBlackTreeMapSync;

use crate::index::Index;

type Table<Id, T> = RedBlackTreeMapSync<Id, Arc<T>>;

/// All objects on which plans depend, as they were at one revision.
///
/// A clone costs a few reference counts. Contents are the same whatever the order in which they were put in, and nothing
/// is assumed about them: a service whose zone has not arrived yet is simply exported to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    revision: Revision,
    control_plane_trust: Option<Arc<ControlPlaneTrust>>,

    trust_zones: Table<TrustZoneId, TrustZone>,
    trust_zones_by_name: Index<Name, TrustZoneId>,
    trust_zones_by_domain: Index<TrustDomain, TrustZoneId>,

    clusters: Table<ClusterId, Cluster>,
    clusters_by_trust_zone: Index<TrustZoneId, ClusterId>,

    federations: Table<FederationId, Federation>,
    federations_by_pair: Index<(TrustZoneId, TrustZoneId), FederationId>,
    federations_from: Index<TrustZoneId, FederationId>,
    federations_to: Index<TrustZoneId, FederationId>,

    policies: Table<AttestationPolicyId, AttestationPolicy>,

    bindings: Table<AttestationPolicyBindingId, AttestationPolicyBinding>,
    bindings_by_trust_zone: Index<TrustZoneId, AttestationPolicyBindingId>,
    bindings_by_policy: Index<AttestationPolicyId, AttestationPolicyBindingId>,
    bindings_by_federated_zone: Index<TrustZoneId, AttestationPolicyBindingId>,
    bindings_by_pair: Index<(TrustZoneId, TrustZoneId), AttestationPolicyBindingId>,

    services: Table<FederatedServiceId, FederatedService>,
    services_by_hostname: Index<Hostname, FederatedServiceId>,
    services_by_cluster: Index<ClusterId, FederatedServiceId>,
    services_by_export: Index<TrustDomain, FederatedServiceId>,
    services_by_zone_and_export: Index<(TrustZoneId, TrustDomain), FederatedServiceId>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            revision: 0,
            control_plane_trust: None,
            trust_zones: Table::new_sync(),
            trust_zones_by_name: Index::default(),
            trust_zones_by_domain: Index::default(),
            clusters: Table::new_sync(),
            clusters_by_trust_zone: Index::default(),
            federations: Table::new_sync(),
            federations_by_pair: Index::default(),
            federations_from: Index::default(),
            federations_to: Index::default(),
            policies: Table::new_sync(),
            bindings: Table::new_sync(),
            bindings_by_trust_zone: Index::default(),
            bindings_by_policy: Index::default(),
            bindings_by_federated_zone: Index::default(),
            bindings_by_pair: Index::default(),
            services: Table::new_sync(),
            services_by_hostname: Index::default(),
            services_by_cluster: Index::default(),
            services_by_export: Index::default(),
            services_by_zone_and_export: Index::default(),
        }
    }
}

impl FromIterator<Noun> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Noun>>(nouns: I) -> Self {
        let mut snapshot = Self::default();
        for noun in nouns {
            snapshot.put(noun);
        }
        snapshot
    }
}

/// Changes.
impl Snapshot {
    pub fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    pub fn set_control_plane_trust(&mut self, trust: ControlPlaneTrust) {
        self.control_plane_trust = Some(Arc::new(trust));
    }

    /// Takes over one object as it is now, or forgets it.
    ///
    /// Forgetting a trust zone also forgets its bindings, its federations on either side, and its mention in the bindings
    /// of others; forgetting a cluster also forgets its services. That is what a deletion does where the objects are kept.
    pub fn apply(&mut self, change: NounChange) {
        match change {
            NounChange::Put(noun) => self.put(noun),
            NounChange::Remove(NounId::TrustZone(id)) => self.forget_trust_zone(&id),
            NounChange::Remove(NounId::Cluster(id)) => self.forget_cluster(&id),
            NounChange::Remove(NounId::Federation(id)) => self.remove_federation(&id),
            NounChange::Remove(NounId::AttestationPolicy(id)) => {
                self.policies.remove_mut(&id);
            }
            NounChange::Remove(NounId::AttestationPolicyBinding(id)) => self.remove_binding(&id),
            NounChange::Remove(NounId::FederatedService(id)) => self.remove_service(&id),
        }
    }

    fn put(&mut self, noun: Noun) {
        match noun {
            Noun::TrustZone(zone) => self.put_trust_zone(zone),
            Noun::Cluster(cluster) => self.put_cluster(cluster),
            Noun::Federation(federation) => self.put_federation(federation),
            Noun::AttestationPolicy(policy) => self.policies.insert_mut(policy.id.clone(), policy),
            Noun::AttestationPolicyBinding(binding) => self.put_binding(binding),
            Noun::FederatedService(service) => self.put_service(service),
        }
    }

    fn put_trust_zone(&mut self, zone: Arc<TrustZone>) {
        self.remove_trust_zone(&zone.id);
        self.trust_zones_by_name.insert(zone.name.clone(), zone.id.clone());
        self.trust_zones_by_domain.insert(zone.trust_domain.clone(), zone.id.clone());
        self.trust_zones.insert_mut(zone.id.clone(), zone);
    }

    fn remove_trust_zone(&mut self, id: &TrustZoneId) {
        let Some(zone) = self.trust_zones.get(id).cloned() else { return };
        self.trust_zones_by_name.remove(&zone.name, id);
        self.trust_zones_by_domain.remove(&zone.trust_domain, id);
        self.trust_zones.remove_mut(id);
    }

    fn forget_trust_zone(&mut self, id: &TrustZoneId) {
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

    fn put_cluster(&mut self, cluster: Arc<Cluster>) {
        self.remove_cluster(&cluster.id);
        self.clusters_by_trust_zone.insert(cluster.trust_zone_id.clone(), cluster.id.clone());
        self.clusters.insert_mut(cluster.id.clone(), cluster);
    }

    fn remove_cluster(&mut self, id: &ClusterId) {
        let Some(cluster) = self.clusters.get(id).cloned() else { return };
        self.clusters_by_trust_zone.remove(&cluster.trust_zone_id, id);
        self.clusters.remove_mut(id);
    }

    fn forget_cluster(&mut self, id: &ClusterId) {
        let services: Vec<_> = self.services_by_cluster.get(id).cloned().collect();
        for service in services {
            self.remove_service(&service);
        }
        self.remove_cluster(id);
    }

    fn put_federation(&mut self, federation: Arc<Federation>) {
        self.remove_federation(&federation.id);
        let (id, from, to) = (&federation.id, &federation.trust_zone_id, &federation.remote_trust_zone_id);
        self.federations_by_pair.insert((from.clone(), to.clone()), id.clone());
        self.federations_from.insert(from.clone(), id.clone());
        self.federations_to.insert(to.clone(), id.clone());
        self.federations.insert_mut(id.clone(), federation);
    }

    fn remove_federation(&mut self, id: &FederationId) {
        let Some(federation) = self.federations.get(id).cloned() else { return };
        let (from, to) = (&federation.trust_zone_id, &federation.remote_trust_zone_id);
        self.federations_by_pair.remove(&(from.clone(), to.clone()), id);
        self.federations_from.remove(from, id);
        self.federations_to.remove(to, id);
        self.federations.remove_mut(id);
    }

    fn put_binding(&mut self, binding: Arc<AttestationPolicyBinding>) {
        self.remove_binding(&binding.id);
        self.bindings_by_trust_zone.insert(binding.trust_zone_id.clone(), binding.id.clone());
        self.bindings_by_policy.insert(binding.policy_id.clone(), binding.id.clone());
        for zone in &binding.federates_with {
            self.bindings_by_federated_zone.insert(zone.clone(), binding.id.clone());
            self.bindings_by_pair.insert((binding.trust_zone_id.clone(), zone.clone()), binding.id.clone());
        }
        self.bindings.insert_mut(binding.id.clone(), binding);
    }

    fn remove_binding(&mut self, id: &AttestationPolicyBindingId) {
        let Some(binding) = self.bindings.get(id).cloned() else { return };
        self.bindings_by_trust_zone.remove(&binding.trust_zone_id, id);
        self.bindings_by_policy.remove(&binding.policy_id, id);
        for zone in &binding.federates_with {
            self.bindings_by_federated_zone.remove(zone, id);
            self.bindings_by_pair.remove(&(binding.trust_zone_id.clone(), zone.clone()), id);
        }
        self.bindings.remove_mut(id);
    }

    fn put_service(&mut self, service: Arc<FederatedService>) {
        self.remove_service(&service.id);
        self.services_by_hostname.insert(service.hostname.clone(), service.id.clone());
        self.services_by_cluster.insert(service.cluster_id.clone(), service.id.clone());
        for domain in &service.exported_trust_domains {
            self.services_by_export.insert(domain.clone(), service.id.clone());
            self.services_by_zone_and_export.insert((service.trust_zone_id.clone(), domain.clone()), service.id.clone());
        }
        self.services.insert_mut(service.id.clone(), service);
    }

    fn remove_service(&mut self, id: &FederatedServiceId) {
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

/// Questions. Whatever is listed comes in the order of ids.
impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn control_plane_trust(&self) -> Option<&ControlPlaneTrust> {
        self.control_plane_trust.as_deref()
    }

    pub fn trust_zone(&self, id: &TrustZoneId) -> Option<&TrustZone> {
        self.trust_zones.get(id).map(Arc::as_ref)
    }

    pub fn trust_zones(&self) -> impl Iterator<Item = &TrustZone> {
        self.trust_zones.values().map(Arc::as_ref)
    }

    pub fn trust_zone_by_name(&self, name: &Name) -> Option<&TrustZone> {
        self.trust_zones_by_name.get(name).find_map(|id| self.trust_zone(id))
    }

    pub fn trust_zone_by_domain(&self, trust_domain: &TrustDomain) -> Option<&TrustZone> {
        self.trust_zones_with_domain(trust_domain).next()
    }

    /// One at most, where uniqueness has been enforced.
    pub(crate) fn trust_zones_with_domain(&self, trust_domain: &TrustDomain) -> impl Iterator<Item = &TrustZone> {
        self.trust_zones_by_domain.get(trust_domain).filter_map(|id| self.trust_zone(id))
    }

    pub fn cluster(&self, id: &ClusterId) -> Option<&Cluster> {
        self.clusters.get(id).map(Arc::as_ref)
    }

    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values().map(Arc::as_ref)
    }

    pub fn clusters_of(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &Cluster> {
        self.clusters_by_trust_zone.get(trust_zone).filter_map(|id| self.cluster(id))
    }

    pub fn federation(&self, id: &FederationId) -> Option<&Federation> {
        self.federations.get(id).map(Arc::as_ref)
    }

    /// Whether `from` trusts `to`.
    pub fn federates(&self, from: &TrustZoneId, to: &TrustZoneId) -> bool {
        self.federations_by_pair.contains(&(from.clone(), to.clone()))
    }

    /// Whether each of the two zones trusts the other.
    pub fn federates_both_ways(&self, one: &TrustZoneId, other: &TrustZoneId) -> bool {
        self.federates(one, other) && self.federates(other, one)
    }

    pub fn federations_from(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &Federation> {
        self.federations_from.get(trust_zone).filter_map(|id| self.federation(id))
    }

    pub fn federations_to(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &Federation> {
        self.federations_to.get(trust_zone).filter_map(|id| self.federation(id))
    }

    pub fn attestation_policy(&self, id: &AttestationPolicyId) -> Option<&AttestationPolicy> {
        self.policies.get(id).map(Arc::as_ref)
    }

    pub fn binding(&self, id: &AttestationPolicyBindingId) -> Option<&AttestationPolicyBinding> {
        self.bindings.get(id).map(Arc::as_ref)
    }

    pub fn bindings_of(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_by_trust_zone.get(trust_zone).filter_map(|id| self.binding(id))
    }

    pub(crate) fn bindings_with_policy(&self, policy: &AttestationPolicyId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_by_policy.get(policy).filter_map(|id| self.binding(id))
    }

    /// The bindings of `from` that name `to` among the zones they federate with.
    pub fn bindings_between(&self, from: &TrustZoneId, to: &TrustZoneId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_by_pair.get(&(from.clone(), to.clone())).filter_map(|id| self.binding(id))
    }

    /// The bindings, in any zone, that name this zone among those they federate with.
    pub(crate) fn bindings_naming(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_by_federated_zone.get(trust_zone).filter_map(|id| self.binding(id))
    }

    pub fn federated_service(&self, id: &FederatedServiceId) -> Option<&FederatedService> {
        self.services.get(id).map(Arc::as_ref)
    }

    pub fn federated_services_named(&self, hostname: &Hostname) -> impl Iterator<Item = &FederatedService> {
        self.services_by_hostname.get(hostname).filter_map(|id| self.federated_service(id))
    }

    pub fn federated_services_of(&self, cluster: &ClusterId) -> impl Iterator<Item = &FederatedService> {
        self.services_by_cluster.get(cluster).filter_map(|id| self.federated_service(id))
    }

    /// The services, of any zone, whose export list holds the trust domain.
    pub fn federated_services_exported_to(&self, trust_domain: &TrustDomain) -> impl Iterator<Item = &FederatedService> {
        self.services_by_export.get(trust_domain).filter_map(|id| self.federated_service(id))
    }

    /// The services of one zone whose export list holds the trust domain.
    pub(crate) fn federated_services_between(&self, from: &TrustZoneId, to: &TrustDomain) -> impl Iterator<Item = &FederatedService> {
        self.services_by_zone_and_export.get(&(from.clone(), to.clone())).filter_map(|id| self.federated_service(id))
    }
}
