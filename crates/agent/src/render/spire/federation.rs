//! A trust domain to federate with.

use cofide_core::TrustDomain;
use cofide_k8s_api::spire::{
    BundleEndpointProfile, BundleEndpointProfileType, ClusterFederatedTrustDomain, ClusterFederatedTrustDomainSpec,
};
use cofide_svid::bundle::to_jwks;

use super::SpireSettings;
use super::object::{Owner, SpireObject};
use crate::render::names;
use crate::spire::model::{DesiredTrust, RelationshipProfile};

/// Nothing where the trust domain has no bundle endpoint, without which the object cannot be; and nothing yet where the
/// endpoint proves itself by a bundle (`https_spiffe`) that has not been delivered: the controller passes a bundle on when it
/// makes the relationship, and not when the bundle comes later.
pub fn federation(own: &TrustDomain, domain: &TrustDomain, trust: &DesiredTrust, settings: &SpireSettings) -> Option<SpireObject> {
    let relationship = trust.relationship.as_ref()?;
    let profile = match &relationship.profile {
        RelationshipProfile::HttpsWeb => BundleEndpointProfile::default(),
        RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id } if trust.bundle.is_some() => {
            BundleEndpointProfile { kind: BundleEndpointProfileType::HttpsSpiffe, endpoint_spiffe_id: endpoint_spiffe_id.clone() }
        }
        RelationshipProfile::HttpsSpiffe { .. } => return None,
    };
    let spec = ClusterFederatedTrustDomainSpec {
        class_name: settings.class_name.clone(),
        trust_domain: domain.to_string(),
        bundle_endpoint_url: relationship.endpoint_url.clone(),
        bundle_endpoint_profile: profile,
        trust_domain_bundle: trust.bundle.as_ref().map(to_jwks).unwrap_or_default(),
    };
    let name = names::object(domain.as_str(), &[own.as_str(), domain.as_str()]);
    Some(SpireObject::new(ClusterFederatedTrustDomain::new, name, spec, Owner::TrustDomain(domain.clone()), None))
}
