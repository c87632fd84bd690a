//! The bundle of every trust zone, published for whoever trusts it: `https_web` (SPIFFE Federation, section 5.2.1).
//!
//! ```text
//!  hub ── trust changes ──> folder: <zone>/bundle in files, for a web server or a bucket to serve
//!   └──── snapshot ───────> GET /<zone>/bundle, over TLS by a certificate of the web PKI (certificate), read again when it is renewed
//! ```

pub mod certificate;
pub mod folder;

use std::net::SocketAddr;
use std::sync::Arc;

use cofide_bundle_endpoint::{BundleServer, Bundles};
use cofide_core::Bundle;
use cofide_plan::Snapshot;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::certificate::WebCertificate;
use crate::hub::Hub;

/// Partners look every few minutes.
const MAX_CONNECTIONS: usize = 512;

/// Serves on `listener` until `shutdown`; returns the address at once.
pub fn serve(
    listener: TcpListener,
    certificate: &Arc<WebCertificate>,
    hub: Hub,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    BundleServer { tls: certificate.server_config(), max_connections: MAX_CONNECTIONS, bundles: ZoneBundles(hub) }.serve(listener, shutdown)
}

/// Those of all trust zones.
struct ZoneBundles(Hub);

impl Bundles for ZoneBundles {
    fn at(&self, path: &str) -> Result<Bundle, &'static str> {
        bundle(&self.0.snapshot(), path)
    }
}

/// `/<zone>/bundle`
fn bundle(snapshot: &Snapshot, path: &str) -> Result<Bundle, &'static str> {
    let name = path.strip_prefix('/').and_then(|rest| rest.strip_suffix("/bundle"));
    let zone = snapshot.trust_zones().find(|zone| Some(zone.name.as_str()) == name);
    let zone = zone.ok_or("the bundle of a trust zone is at /<trust zone>/bundle")?;
    zone.bundle.clone().ok_or("the trust zone has not delivered its bundle yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{Noun, TrustZone};
    use cofide_test_objects::zone;

    #[test]
    fn a_path_is_that_of_one_zones_bundle_or_of_nothing() {
        let zones = [zone("a"), TrustZone { bundle: None, ..zone("b") }];
        let snapshot: Snapshot = zones.map(Noun::from).into_iter().collect();
        assert_eq!(bundle(&snapshot, "/a/bundle").ok(), zone("a").bundle);
        assert!(bundle(&snapshot, "/b/bundle").unwrap_err().contains("not delivered"));
        for path in ["/", "/bundle", "/a", "/a/", "/a/bundle/", "//bundle", "/c/bundle", "/a/../b/bundle", "/A/bundle", "a/bundle"] {
            assert!(bundle(&snapshot, path).unwrap_err().contains("/<trust zone>/bundle"), "{path}");
        }
    }
}
