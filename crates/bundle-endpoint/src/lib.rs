//! Bundles between trust domains over HTTPS (SPIFFE Federation, section 5): fetched from where others publish theirs, and
//! published for others.
//!
//! ```text
//!  BundleEndpoint { trust domain, URL, profile } ──> BundleClient ──> Bundle of exactly that trust domain
//!                                                      │  https_spiffe: the server is the SPIFFE ID that is expected
//!                                                      │  https_web: it has a certificate of the web for the URL's host
//!                                                      └─ one timeout, no redirects, a bound for what is read
//!
//!  partners ──> Poller ──> a task for each: BundleClient ──> BundleTaker::take, and again, four times within the refresh hint
//!
//!  GET /path ──> BundleServer ── Bundles::at ──> document (pure) ──> 200 with ETag, 304, 404
//!                  └─ the certificate, and so the profile, is the user's; so is what there is at a path
//! ```
//!
//! What an endpoint says is one thing, whether it takes the place of what is held another: that is for the caller to decide
//! ([`Bundle::may_replace`](cofide_core::Bundle::may_replace)).

mod client;
mod document;
mod poller;
mod server;
#[cfg(test)]
mod testing;

use cofide_core::{SpiffeId, TrustDomain};
use url::Url;

pub use client::{BundleClient, FetchError, WebRoots};
pub use document::document;
pub use poller::{BundleTaker, Pace, Poller, RefreshError, refresh};
pub use server::{BundleServer, Bundles};

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
