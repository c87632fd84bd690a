//! <https://github.com/spiffe/spire-controller-manager/blob/v0.6.3/docs/clusterfederatedtrustdomain-crd.md>

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterFederatedTrustDomainSpec {
    /// The class of controllers that act on it; empty for those that take objects without a class.
    pub class_name: String,
    pub trust_domain: String,
    #[serde(rename = "bundleEndpointURL")]
    pub bundle_endpoint_url: String,
    pub bundle_endpoint_profile: BundleEndpointProfile,
    /// A SPIFFE bundle document, or nothing. The controller passes it on when it creates the relationship, and when URL or
    /// profile change; that the bundle has changed is no reason to it.
    pub trust_domain_bundle: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BundleEndpointProfile {
    #[serde(rename = "type")]
    pub kind: BundleEndpointProfileType,
    /// Empty with `https_web`.
    #[serde(rename = "endpointSPIFFEID")]
    pub endpoint_spiffe_id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundleEndpointProfileType {
    #[default]
    HttpsWeb,
    HttpsSpiffe,
}

/// The controller says nothing about these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ClusterFederatedTrustDomainStatus {}
