//! A trust domain that publishes its bundle, for the tests of both sides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
use cofide_svid::tls::{ClientAuth, server_config};
use cofide_svid::{BundleSet, IdentitySlot};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{BundleClient, BundleEndpoint, BundleServer, Bundles, Profile, WebRoots};

pub(crate) struct Publisher {
    pub(crate) address: SocketAddr,
    pub(crate) bundle: Bundle,
    /// `https_spiffe`, at `/`.
    pub(crate) endpoint: BundleEndpoint,
}

struct Root(Bundle);

impl Bundles for Root {
    fn at(&self, path: &str) -> Result<Bundle, &'static str> {
        if path == "/" { Ok(self.0.clone()) } else { Err("the bundle is at /") }
    }
}

/// As [`publish_to`] one connection at a time.
pub(crate) async fn publish(name: &str, shutdown: &CancellationToken) -> Publisher {
    publish_to(name, 1, shutdown).await
}

/// Serves so many connections at a time until `shutdown`. The bundle has a refresh hint of a second.
pub(crate) async fn publish_to(name: &str, max_connections: usize, shutdown: &CancellationToken) -> Publisher {
    cofide_svid::install_crypto_provider();
    let trust_domain = TrustDomain::new(name).unwrap();
    let authority = X509CertificateAuthority::create(trust_domain.clone(), X509Settings::default(), SystemTime::now()).unwrap();
    let id = SpiffeId::new(format!("spiffe://{name}/server")).unwrap();
    let identity = IdentitySlot::default();
    identity.set(authority.issue(&id, &[], &[], Duration::from_secs(600), SystemTime::now()).unwrap());
    let bundle = authority::bundle(&authority, None, 1);
    let tls = server_config(Arc::new(identity), Arc::new(BundleSet::new()), ClientAuth::None);
    let server = BundleServer { tls, max_connections, bundles: Root(bundle.clone()) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.serve(listener, shutdown.clone()).unwrap();
    let url = format!("https://{address}/").parse().unwrap();
    Publisher { address, bundle, endpoint: BundleEndpoint { trust_domain, url, profile: Profile::HttpsSpiffe { endpoint_spiffe_id: id } } }
}

pub(crate) fn client(bundles: &Arc<BundleSet>) -> BundleClient {
    BundleClient { bundles: bundles.clone(), timeout: Duration::from_secs(10), web_roots: WebRoots::new(None, "web_roots") }
}
