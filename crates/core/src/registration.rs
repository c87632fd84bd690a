//! What Connect tells an agent about the identities and the trust of its zone.

use crate::{AttestationPolicyBindingId, Bundle, BundleEndpoint, Name, PolicyKind, SpiffeId, TrustDomain};

/// One attestation policy binding, resolved: what it is about and which foreign bundles come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRegistration {
    pub binding_id: AttestationPolicyBindingId,
    pub policy_name: Name,
    pub kind: PolicyKind,
    /// Sorted, without duplicates. Only domains for which a federation exists at this revision.
    pub federates_with: Vec<TrustDomain>,
}

/// A trust domain that the agent's zone federates with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedTrust {
    pub trust_domain: TrustDomain,
    pub trust_zone_name: Name,
    /// Absent while the remote zone has not delivered it.
    pub bundle: Option<Bundle>,
    pub bundle_endpoint: Option<BundleEndpoint>,
}

/// How an agent recognises the control plane, kept fresh over the connection itself so that the control plane's own
/// rotation needs no new bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneTrust {
    /// The exact SPIFFE ID that the control plane presents.
    pub spiffe_id: SpiffeId,
    /// The authorities of its trust domain.
    pub bundle: Bundle,
}
