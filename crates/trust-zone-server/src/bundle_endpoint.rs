//! The `https_spiffe` bundle endpoint: this trust domain's bundle, for whoever knows the way (SPIFFE Federation, section 5).

use std::net::SocketAddr;
use std::sync::Arc;

use cofide_bundle_endpoint::{BundleServer, Bundles};
use cofide_core::Bundle;
use cofide_svid::tls::{ClientAuth, server_config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::issuer::ServerIdentity;

/// A partner needs one connection a minute.
const MAX_CONNECTIONS: usize = 64;

/// Serves the bundle on `listener` until `shutdown`; returns the address at once.
pub fn serve(
    listener: TcpListener,
    authority: Authority,
    identity: Arc<ServerIdentity>,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    // Nobody is asked for a certificate, so no bundles are looked up.
    let tls = server_config(identity, Arc::new(authority.clone()), ClientAuth::None);
    BundleServer { tls, max_connections: MAX_CONNECTIONS, bundles: OwnBundle(authority) }.serve(listener, shutdown)
}

struct OwnBundle(Authority);

impl Bundles for OwnBundle {
    fn at(&self, path: &str) -> Result<Bundle, &'static str> {
        if path == "/" { Ok((*self.0.read().bundle).clone()) } else { Err("the bundle is at /") }
    }
}
