//! The cryptography that certificates and TLS both stand on: AWS-LC.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    &PROVIDER
}

/// Makes AWS-LC the provider of the process, for the libraries that ask rustls for its default. Once per program; a
/// second call changes nothing.
pub fn install_crypto_provider() {
    // An error says that one is installed already.
    let _ = CryptoProvider::install_default(provider().as_ref().clone());
}
