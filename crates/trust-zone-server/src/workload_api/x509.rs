//! Answers of the X.509-SVID profile.

use cofide_api::workload as api;
use cofide_core::Bundle;

use crate::workload::{Identity, WorkloadUpdate, readable_authorities};

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
    readable_authorities(bundle).into_iter().flat_map(|authority| &authority.der).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::workload::testing::{bundle, odd};

    #[test]
    fn an_authority_that_no_client_could_read_is_left_out_of_its_bundle_alone() {
        let (own, partner) = (bundle("a.test"), bundle("b.test"));
        let federated = BTreeMap::from([(partner.trust_domain.clone(), Arc::new(odd(&partner)))]);
        let update = WorkloadUpdate { identities: Vec::new(), bundle: Arc::new(own.clone()), federated_bundles: federated };
        let bundles = bundles(&update).bundles;
        assert_eq!(bundles["spiffe://a.test"], own.x509_authorities[0].der);
        assert_eq!(bundles["spiffe://b.test"], partner.x509_authorities[0].der);
    }
}
