//! Which workloads a zone's SPIRE server gives identities to.

use std::collections::BTreeSet;

use cofide_core::{AttestationPolicyBindingId, TrustZone, WorkloadRegistration};

use crate::Snapshot;
use crate::partners::partners;

/// A binding, resolved.
///
/// SPIRE refuses an entry that federates with a domain which it does not know. So a zone that a binding names is passed on
/// only while the federation is there: when the federation goes first, the workload keeps its identity and loses the
/// foreign bundle, and nothing else.
///
/// Each agent receives each kind of policy, and decides itself whether it can serve it.
pub(crate) fn registration(snapshot: &Snapshot, zone: &TrustZone, binding: &AttestationPolicyBindingId) -> Option<WorkloadRegistration> {
    let binding = snapshot.binding(binding).filter(|binding| binding.trust_zone_id == zone.id)?;
    let policy = snapshot.attestation_policy(&binding.policy_id)?;
    let partners = partners(snapshot, binding);
    let federated = partners.all().filter(|remote| snapshot.federates(&zone.id, &remote.id));
    let domains: BTreeSet<_> = federated.map(|remote| remote.trust_domain.clone()).collect();
    Some(WorkloadRegistration {
        binding_id: binding.id.clone(),
        policy_name: policy.name.clone(),
        kind: policy.kind.clone(),
        federates_with: domains.into_iter().collect(),
    })
}
