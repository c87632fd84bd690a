//! Answers of the X.509-SVID profile.

use cofide_api::workload as api;
use cofide_core::Bundle;

use crate::workload::{Identity, WorkloadUpdate};

/// `None` for a workload without identities: such an answer does not exist.
pub(super) fn svids(update: &WorkloadUpdate) -> Option<api::X509svidResponse> {
    if update.identities.is_empty() {
        return None;
    }
    let bundle = authorities(&update.bundle);
    let svid = |identity: &Identity| api::X509svid {
        spiffe_id: identity.svid.spiffe_id.to_string(),
        x509_svid: identity.svid.chain_der(),
        x509_svid_key: identity.svid.private_key.secret_der().to_vec(),
        bundle: bundle.clone(),
        hint: identity.entry.hint.clone(),
    };
    let federated = update.federated_bundles.iter().map(|(domain, bundle)| (domain.id_string(), authorities(bundle)));
    Some(api::X509svidResponse {
        svids: update.identities.iter().map(svid).collect(),
        crl: Vec::new(),
        federated_bundles: federated.collect(),
    })
}

pub(super) fn bundles(update: &WorkloadUpdate) -> api::X509BundlesResponse {
    let own = (update.bundle.trust_domain.id_string(), authorities(&update.bundle));
    let federated = update.federated_bundles.iter().map(|(domain, bundle)| (domain.id_string(), authorities(bundle)));
    api::X509BundlesResponse { crl: Vec::new(), bundles: federated.chain([own]).collect() }
}

/// Concatenated DER.
fn authorities(bundle: &Bundle) -> Vec<u8> {
    bundle.x509_authorities.iter().flat_map(|authority| &authority.der).copied().collect()
}
