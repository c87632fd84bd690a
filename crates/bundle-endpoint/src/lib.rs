//! Bundles of other trust domains, fetched from where they are published (SPIFFE Federation, section 5).
//!
//! ```text
//!  BundleEndpoint { trust domain, URL, profile } ──> BundleClient ──> Bundle of exactly that trust domain
//!                                                      │  https_spiffe: the server is the SPIFFE ID that is expected
//!                                                      │  https_web: it has a certificate of the web for the URL's host
//!                                                      └─ one timeout, no redirects, a bound for what is read
//! ```
//!
//! What an endpoint says is one thing, whether it takes the place of what is held another: that is for the caller to decide
//! ([`Bundle::may_replace`](cofide_core::Bundle::may_replace)).

mod client;

use cofide_core::{SpiffeId, TrustDomain};
use url::Url;

pub use client::{BundleClient, FetchError, WebRoots};

/// Where the bundle of a trust domain is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEndpoint {
    pub trust_domain: TrustDomain,
    pub url: Url,
    pub profile: Profile,
}

/// How the endpoint's server is authenticated (SPIFFE Federation, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    HttpsWeb,
    /// The SPIFFE ID may be of another trust domain than the bundle.
    HttpsSpiffe {
        endpoint_spiffe_id: SpiffeId,
    },
}
