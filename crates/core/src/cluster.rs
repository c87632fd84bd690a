//! A cluster belongs to a trust zone; its agent acts for it.

use std::fmt;
use std::str::FromStr;

use crate::{ClusterId, Name, OrganizationId, Timestamp, TrustZoneId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: ClusterId,
    pub organization_id: OrganizationId,
    pub trust_zone_id: TrustZoneId,
    /// Unique within the trust zone.
    pub name: Name,
    pub profile: Profile,
    pub kubernetes_context: Option<String>,
    /// Whether the trust zone's SPIRE server runs outside this cluster.
    pub external_server: bool,
    pub oidc_issuer_url: Option<String>,
    /// PEM or DER of the certificate authority of `oidc_issuer_url`.
    pub oidc_issuer_ca_cert: Option<Vec<u8>>,
    /// What clients store with the cluster and Connect only keeps: the wire form of `trust_provider` and
    /// `extra_helm_values`, as opaque protobuf bytes.
    pub trust_provider: Option<Vec<u8>>,
    pub extra_helm_values: Option<Vec<u8>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What surrounds the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A Kubernetes cluster with Istio.
    Istio,
    /// A Kubernetes cluster without a mesh.
    Kubernetes,
    /// A machine: manifests come from a folder.
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {0:?}; use istio, kubernetes or host")]
pub struct UnknownProfile(pub String);

impl Profile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Kubernetes => "kubernetes",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        [Self::Istio, Self::Kubernetes, Self::Host]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}
