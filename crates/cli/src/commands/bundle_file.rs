//! Bundles in files: the SPIFFE format (JWKS), as a bundle endpoint serves it.

use std::io::Read;
use std::path::Path;

use cofide_core::{Bundle, TrustDomain};
use cofide_svid::bundle::{MAX_JWKS_SIZE, from_jwks};

use crate::error::{Error, Result};

/// The bundle of a trust domain, with at least one X.509 authority; `-` is stdin.
pub(super) fn read(file: &Path, trust_domain: &TrustDomain) -> Result<Bundle> {
    let unusable = |reason: &dyn std::fmt::Display| {
        Error::failed(format!("{} holds no bundle of {trust_domain}: {reason}", file.display()))
            .hint("a bundle is a JWKS as a SPIFFE bundle endpoint serves it, or spire-server bundle show -format spiffe prints it")
    };
    let bundle = from_jwks(trust_domain, &read_bytes(file)?).map_err(|error| unusable(&error))?;
    if bundle.x509_authorities.is_empty() {
        // Connect would keep the authorities that it has, and a file is there to bring some.
        return Err(unusable(&"it has no key with \"use\": \"x509-svid\""));
    }
    Ok(bundle)
}

/// Twice what a bundle may have, as one in base64 has less than, is enough to see that it is too long.
pub(super) fn read_bytes(file: &Path) -> Result<Vec<u8>> {
    let mut document = Vec::new();
    let at_most = 2 * MAX_JWKS_SIZE as u64 + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(at_most).read_to_end(&mut document)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(at_most).read_to_end(&mut document))
    };
    read.map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    Ok(document)
}
