//! A trust zone: a trust domain with a name, an owner and, once its servers have spoken, a bundle.

use std::fmt;
use std::str::FromStr;

use crate::{Bundle, Name, OrganizationId, SpiffeId, Timestamp, TrustDomain, TrustZoneId};

/// The id, the name and the trust domain of a zone are three things: the id is Connect's, the name is what people type,
/// the trust domain is what certificates carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustZone {
    pub id: TrustZoneId,
    pub organization_id: OrganizationId,
    pub name: Name,
    pub trust_domain: TrustDomain,
    /// Absent until the zone's agent or server has delivered it.
    pub bundle: Option<Bundle>,
    pub bundle_endpoint: Option<BundleEndpoint>,
    pub jwt_issuer: Option<String>,
    /// Whether this is the control plane's own zone; fixed at creation.
    pub is_management_zone: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Where a trust domain publishes its bundle (SPIFFE Federation, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEndpoint {
    pub url: String,
    pub profile: BundleEndpointProfile,
    /// With `https_spiffe`: who the endpoint's server is, where it is not `/spire/server` of the trust domain.
    pub spiffe_id: Option<SpiffeId>,
}

impl BundleEndpoint {
    /// With `https_spiffe`: who the server of the endpoint of this trust domain has to be.
    pub fn server(&self, trust_domain: &TrustDomain) -> SpiffeId {
        let of_spire = || SpiffeId::new(format!("spiffe://{trust_domain}/spire/server")).expect("a trust domain and a valid path are one");
        self.spiffe_id.clone().unwrap_or_else(of_spire)
    }
}

/// How the bundle endpoint's server is authenticated (SPIFFE Federation, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BundleEndpointProfile {
    /// With a certificate of the public web PKI.
    HttpsWeb,
    /// With an X.509-SVID of the trust domain, by default that of `/spire/server`.
    HttpsSpiffe,
}

impl BundleEndpointProfile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpsWeb => "https_web",
            Self::HttpsSpiffe => "https_spiffe",
        }
    }
}

impl fmt::Display for BundleEndpointProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BundleEndpointProfile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::HttpsWeb, Self::HttpsSpiffe]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| format!("unknown bundle endpoint profile {text:?}; use https_web or https_spiffe"))
    }
}
