//! The zones whose bundles the workloads of a binding are given.

use std::collections::BTreeSet;

use cofide_core::{AttestationPolicyBinding, MAX_MATCHED_TRUST_ZONES, TrustZone, TrustZoneId};

use crate::Snapshot;

/// What the list and the patterns of a binding come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partners<'s> {
    /// Named by the binding, in its order, whether there is a federation or not.
    pub named: Vec<&'s TrustZone>,
    /// Found by a pattern, the oldest federation first. There is a federation with each.
    pub matched: Vec<&'s TrustZone>,
    /// How many a pattern matches beyond [`MAX_MATCHED_TRUST_ZONES`].
    pub left_out: usize,
}

impl<'s> Partners<'s> {
    /// All of them, the named ones first.
    pub fn all(&self) -> impl Iterator<Item = &'s TrustZone> {
        self.named.iter().chain(&self.matched).copied()
    }
}

/// Names are as the binding gives them. A pattern stands for the zones with which the binding's zone federates at this
/// moment: it never makes a federation, and needs none to be there yet.
///
/// Which zones are left out beyond the bound does not change while others come: the oldest federations stay.
pub fn partners<'s>(snapshot: &'s Snapshot, binding: &AttestationPolicyBinding) -> Partners<'s> {
    let named: Vec<_> = binding.federates_with.iter().filter_map(|id| snapshot.trust_zone(id)).collect();
    if binding.federates_with_patterns.is_empty() {
        return Partners { named, matched: Vec::new(), left_out: 0 };
    }
    let by_name: BTreeSet<&TrustZoneId> = binding.federates_with.iter().collect();
    let mut found: Vec<_> = snapshot
        .federations_from(&binding.trust_zone_id)
        .filter(|federation| !by_name.contains(&federation.remote_trust_zone_id))
        .filter_map(|federation| Some((federation, snapshot.trust_zone(&federation.remote_trust_zone_id)?)))
        .filter(|(_, zone)| binding.matches(&zone.name))
        .collect();
    found.sort_by_key(|(federation, _)| (federation.created_at, &federation.id));
    let left_out = found.len().saturating_sub(MAX_MATCHED_TRUST_ZONES);
    found.truncate(MAX_MATCHED_TRUST_ZONES);
    Partners { named, matched: found.into_iter().map(|(_, zone)| zone).collect(), left_out }
}
