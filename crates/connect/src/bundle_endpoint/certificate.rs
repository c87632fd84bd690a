//! The certificate of the web PKI by which the bundle endpoint proves itself.
//!
//! Somebody else renews it, and puts the new one in the place of the old: the files are looked at again and again, and one
//! that cannot be used leaves the last good one in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cofide_runtime::files::{self, FileError};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// A certificate is renewed weeks before it ends; a minute is soon enough, and long after both files are written.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} holds no certificate chain in PEM: {reason}", path.display())]
    Chain { path: PathBuf, reason: String },
    #[error("{} holds no private key in PEM: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("the key of {} does not belong to the certificate of {}: {reason}", key.display(), certificate.display())]
    Pair { certificate: PathBuf, key: PathBuf, reason: String },
}

/// The certificate as it is now. Clones of the `Arc` share it.
#[derive(Debug)]
pub struct WebCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl WebCertificate {
    /// The chain is in one file, the leaf first, and the key in another that nobody else may read.
    ///
    /// # Errors
    ///
    /// A file cannot be read, holds something else, or the two do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let current = RwLock::new(Arc::new(load(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads the files again. Answers whether they hold another certificate than before.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let found = load(&self.certificate, &self.key)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.cert == found.cert {
            return Ok(false);
        }
        *current = Arc::new(found);
        Ok(true)
    }

    /// Keeps looking at the files until `stop`.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.reload() {
                Ok(true) => tracing::info!(file = %self.certificate.display(), "the bundle endpoint has a new certificate"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the bundle endpoint keeps the certificate that it has"),
            }
        }
    }

    pub(super) fn server_config(self: &Arc<Self>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider supports the default versions");
        builder.with_no_client_auth().with_cert_resolver(self.clone())
    }
}

impl ResolvesServerCert for WebCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let chain_error = |reason: String| CertificateError::Chain { path: certificate.to_owned(), reason };
    let text = std::fs::read(certificate).map_err(|error| FileError::io("read", certificate, error))?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| chain_error(error.to_string()))?;
    if chain.is_empty() {
        return Err(chain_error("there is no CERTIFICATE block".into()));
    }
    let secret = files::read_secret(key)?;
    let key_error = |reason: String| CertificateError::Key { path: key.to_owned(), reason };
    let private = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| key_error(error.to_string()))?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).map_err(|error| key_error(error.to_string()))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|error| CertificateError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(certified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn write(folder: &Path, key: &KeyPair) {
        let certificate = CertificateParams::new(vec!["bundles.test".into()]).unwrap().self_signed(key).unwrap();
        std::fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    }

    fn write_key(folder: &Path, key: &KeyPair) {
        files::write_atomic(&folder.join("tls.key"), key.serialize_pem().as_bytes(), files::Mode::Secret).unwrap();
    }

    #[test]
    fn a_renewed_certificate_is_taken_when_both_files_fit_and_the_last_good_one_stays_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let [first, second] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let open = || WebCertificate::open(&folder.join("tls.crt"), &folder.join("tls.key"));
        assert!(open().unwrap_err().to_string().contains("tls.crt"));
        write(folder, &first);
        assert!(open().unwrap_err().to_string().contains("tls.key"));
        write_key(folder, &first);
        let certificate = open().unwrap();
        let leaf = || certificate.current.read().unwrap().cert[0].clone();
        let before = leaf();
        assert!(!certificate.reload().unwrap());

        // The certificate is there before its key is.
        write(folder, &second);
        let error = certificate.reload().unwrap_err();
        assert!(matches!(error, CertificateError::Pair { .. }), "{error}");
        assert_eq!(leaf(), before);
        write_key(folder, &second);
        assert!(certificate.reload().unwrap());
        assert_ne!(leaf(), before);
        std::fs::write(folder.join("tls.crt"), "no PEM").unwrap();
        assert!(certificate.reload().unwrap_err().to_string().contains("no CERTIFICATE block"));
    }
}
