//! A federation relationship: where a foreign trust domain publishes its bundle.

use cofide_bundle_endpoint::{BundleEndpoint, Profile};
use cofide_core::TrustDomain;
use url::Url;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationRelationship {
    pub trust_domain: TrustDomain,
    pub bundle_endpoint_url: Url,
    pub profile: Profile,
}

impl FederationRelationship {
    pub fn endpoint(&self) -> BundleEndpoint {
        BundleEndpoint { trust_domain: self.trust_domain.clone(), url: self.bundle_endpoint_url.clone(), profile: self.profile.clone() }
    }
}

/// A URL at which a bundle endpoint can be: `https`, a host, no credentials.
pub fn parse_bundle_endpoint_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("failed to parse bundle endpoint URL {text:?}: {error}"))?;
    if url.scheme() != "https" {
        return Err("bundle endpoint URL must use the https scheme".into());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("bundle endpoint URL must specify the host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("bundle endpoint URL must not contain user info".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_endpoint_is_https_without_credentials() {
        for good in ["https://a.test", "https://a.test:8443/bundle", "https://[::1]:8443", "https://10.0.0.1/"] {
            assert!(parse_bundle_endpoint_url(good).is_ok(), "{good}");
        }
        for bad in ["", "a.test", "http://a.test", "https://", "https://user@a.test", "https://:x@a.test", "ftp://a.test", "https://a b"] {
            assert!(parse_bundle_endpoint_url(bad).is_err(), "{bad}");
        }
    }
}
