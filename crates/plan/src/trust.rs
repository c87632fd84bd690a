//! Which foreign trust domains a zone's SPIRE server knows.

use cofide_core::{FederatedTrust, TrustDomain, TrustZone};

use crate::Snapshot;

/// A federation is trust in one direction: the zone that federates receives the other's bundle, whatever the other does.
/// While the bundle has not been delivered the relationship is announced without it.
pub(crate) fn federated_trust(snapshot: &Snapshot, zone: &TrustZone, trust_domain: &TrustDomain) -> Option<FederatedTrust> {
    let mut candidates = snapshot.trust_zones_with_domain(trust_domain);
    let remote = candidates.find(|remote| snapshot.federates(&zone.id, &remote.id))?;
    Some(FederatedTrust {
        trust_domain: remote.trust_domain.clone(),
        trust_zone_name: remote.name.clone(),
        bundle: remote.bundle.clone(),
        bundle_endpoint: remote.bundle_endpoint.clone(),
    })
}
