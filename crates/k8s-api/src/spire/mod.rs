//! The kinds of spire-controller-manager, with the fields that we need.
//!
//! ```text
//!  ClusterSPIFFEID               pods by label: an entry for each of them
//!  ClusterStaticEntry            one entry
//!  ClusterFederatedTrustDomain   a relationship, and the bundle to begin with
//! ```
//!
//! All of them are of the whole cluster. What we answer for is always written, also where it is empty or `false`: what is
//! left out belongs to whoever writes it, and a hand that adds `admin: true` would go unnoticed. Only lifetimes of SVIDs are
//! left to others.
//!
//! Field names, values and their meaning are those of spire-controller-manager 0.6.3 (`spire.spiffe.io/v1alpha1`).

mod cluster_federated_trust_domain;
mod cluster_spiffe_id;
mod cluster_static_entry;
#[cfg(test)]
mod tests;

use crate::kinds::kinds;

pub use cluster_federated_trust_domain::{
    BundleEndpointProfile, BundleEndpointProfileType, ClusterFederatedTrustDomainSpec, ClusterFederatedTrustDomainStatus,
};
pub use cluster_spiffe_id::{ClusterSPIFFEIDSpec, ClusterSPIFFEIDStats, ClusterSPIFFEIDStatus, LabelSelector, LabelSelectorRequirement};
pub use cluster_static_entry::{ClusterStaticEntrySpec, ClusterStaticEntryStatus};

kinds! {
    scope ::kube_core::ClusterResourceScope;

    /// A trust domain to federate with.
    ClusterFederatedTrustDomain: "spire.spiffe.io" "v1alpha1" "clusterfederatedtrustdomains"
        ClusterFederatedTrustDomainSpec, ClusterFederatedTrustDomainStatus;
    /// Identities for pods.
    ClusterSPIFFEID: "spire.spiffe.io" "v1alpha1" "clusterspiffeids" ClusterSPIFFEIDSpec, ClusterSPIFFEIDStatus;
    /// One registration entry.
    ClusterStaticEntry: "spire.spiffe.io" "v1alpha1" "clusterstaticentries" ClusterStaticEntrySpec, ClusterStaticEntryStatus;
}
