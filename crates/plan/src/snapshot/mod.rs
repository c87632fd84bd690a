//! The state of the world at one revision, with the indices that decisions need.

use std::sync::Arc;

use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, Cluster, ClusterId, ControlPlaneTrust,
    FederatedService, FederatedServiceId, Federation, FederationId, Hostname, Noun, NounChange, NounId, Revision, TrustDomain, TrustZone,
    TrustZoneId,
};
use rpds::RedBlackTreeMapSync;

use crate::index::Index;

mod questions;
mod tables;

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
    bindings_with_patterns: Index<TrustZoneId, AttestationPolicyBindingId>,

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
            bindings_with_patterns: Index::default(),
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
}
