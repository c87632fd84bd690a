//! What to list. Unset fields are ignored, set fields must all match; the default lists everything.

use cofide_core::{AttestationPolicyId, ClusterId, Hostname, Name, OrganizationId, TrustDomain, TrustZoneId};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrganizationFilter {
    pub name: Option<Name>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustZoneFilter {
    pub organization_id: Option<OrganizationId>,
    pub name: Option<Name>,
    pub trust_domain: Option<TrustDomain>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFilter {
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: Option<TrustZoneId>,
    pub name: Option<Name>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFilter {
    pub trust_zone_id: Option<TrustZoneId>,
    pub cluster_id: Option<ClusterId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FederationFilter {
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: Option<TrustZoneId>,
    pub remote_trust_zone_id: Option<TrustZoneId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttestationPolicyFilter {
    pub organization_id: Option<OrganizationId>,
    pub name: Option<Name>,
    pub trust_zone_id: Option<TrustZoneId>,
    /// As [`PolicyKind::as_str`](cofide_core::PolicyKind::as_str) gives it.
    pub kind: Option<&'static str>,
    /// Of a TPM node policy.
    pub ek_hash: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttestationPolicyBindingFilter {
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: Option<TrustZoneId>,
    pub policy_id: Option<AttestationPolicyId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FederatedServiceFilter {
    /// The organization of the service's trust zone.
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: Option<TrustZoneId>,
    pub cluster_id: Option<ClusterId>,
    pub hostname: Option<Hostname>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptFilter {
    pub trust_zone_id: Option<TrustZoneId>,
    pub cluster_id: Option<ClusterId>,
    pub type_url: Option<String>,
    pub resource_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleReadingFilter {
    pub trust_zone_id: Option<TrustZoneId>,
    pub cluster_id: Option<ClusterId>,
}
