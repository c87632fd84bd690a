//! What decisions ask of a snapshot.

use std::sync::Arc;

use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, Cluster, ClusterId, ControlPlaneTrust,
    FederatedService, FederatedServiceId, Federation, FederationId, Hostname, Revision, TrustDomain, TrustZone, TrustZoneId,
};

use super::Snapshot;

/// Whatever is listed comes in the order of ids.
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

    /// The bindings of `from` that name `to` itself among the zones they federate with, not by a pattern.
    pub fn bindings_between(&self, from: &TrustZoneId, to: &TrustZoneId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_by_pair.get(&(from.clone(), to.clone())).filter_map(|id| self.binding(id))
    }

    /// The bindings of a zone that name partners by a pattern.
    pub fn bindings_with_patterns(&self, trust_zone: &TrustZoneId) -> impl Iterator<Item = &AttestationPolicyBinding> {
        self.bindings_with_patterns.get(trust_zone).filter_map(|id| self.binding(id))
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
