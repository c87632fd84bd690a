//! One fetch from a bundle endpoint (SPIFFE Federation, section 5).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_svid::BundleSource;
use cofide_svid::bundle::{JwksError, MAX_JWKS_SIZE, from_jwks};
use cofide_svid::tls::{Authorizer, client_config};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::{BundleEndpoint, Profile};

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(
        "no bundle of {trust_domain} is held, so its endpoint {endpoint_spiffe_id} cannot be verified; set the bundle of {trust_domain} first"
    )]
    NoBundle { trust_domain: TrustDomain, endpoint_spiffe_id: SpiffeId },
    #[error("cannot use the authorities for https_web: {0}")]
    WebRoots(String),
    #[error("{url} cannot be reached: {reason}")]
    Connect { url: String, reason: String },
    #[error("{url} is not who it should be: {reason}")]
    Handshake { url: String, reason: String },
    #[error("{url} does not speak HTTP: {reason}")]
    Http { url: String, reason: String },
    #[error("{url} redirects to {location:?}; redirects are not followed, since the endpoint's identity was checked for this address")]
    Redirect { url: String, location: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} sent more than {MAX_JWKS_SIZE} bytes")]
    TooLarge { url: String },
    #[error("{url}: {source}")]
    Bundle { url: String, source: JwksError },
    #[error("{url} sent a bundle without authorities")]
    Empty { url: String },
    #[error("{url} did not answer within {timeout:?}")]
    Timeout { url: String, timeout: Duration },
}

/// Fetches, one bundle at a time; holds no connection in between.
#[derive(Debug)]
pub struct BundleClient {
    /// With which `https_spiffe` endpoints are verified.
    pub bundles: Arc<dyn BundleSource>,
    /// For one whole fetch.
    pub timeout: Duration,
    pub web_roots: WebRoots,
}

impl BundleClient {
    /// The bundle that the endpoint publishes now; never one without authorities.
    ///
    /// # Errors
    ///
    /// The endpoint cannot be reached or verified, or what it sends is not the bundle.
    pub async fn fetch(&self, endpoint: &BundleEndpoint) -> Result<Bundle, FetchError> {
        let url = &endpoint.url;
        let config = self.tls(&endpoint.profile).await?;
        let fetch = fetch(url, config);
        let Ok(document) = tokio::time::timeout(self.timeout, fetch).await else {
            return Err(FetchError::Timeout { url: url.to_string(), timeout: self.timeout });
        };
        let bundle = from_jwks(&endpoint.trust_domain, &document?).map_err(|source| FetchError::Bundle { url: url.to_string(), source })?;
        if bundle.x509_authorities.is_empty() && bundle.jwt_authorities.is_empty() {
            return Err(FetchError::Empty { url: url.to_string() });
        }
        Ok(bundle)
    }

    /// Whether what is needed to verify such an endpoint is held now.
    pub(crate) fn can_verify(&self, profile: &Profile) -> bool {
        match profile {
            Profile::HttpsWeb => true,
            Profile::HttpsSpiffe { endpoint_spiffe_id } => self.bundles.bundle(endpoint_spiffe_id.trust_domain()).is_some(),
        }
    }

    async fn tls(&self, profile: &Profile) -> Result<Arc<ClientConfig>, FetchError> {
        match profile {
            Profile::HttpsSpiffe { endpoint_spiffe_id } => {
                if !self.can_verify(profile) {
                    let trust_domain = endpoint_spiffe_id.trust_domain().clone();
                    return Err(FetchError::NoBundle { trust_domain, endpoint_spiffe_id: endpoint_spiffe_id.clone() });
                }
                let authorizer = Authorizer::Exactly(endpoint_spiffe_id.clone());
                Ok(Arc::new(client_config(None, self.bundles.clone(), authorizer)))
            }
            Profile::HttpsWeb => self.web_roots.config().await.map_err(FetchError::WebRoots),
        }
    }
}

async fn fetch(url: &Url, config: Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    let connect = |reason: String| FetchError::Connect { url: url.to_string(), reason };
    let http = |reason: String| FetchError::Http { url: url.to_string(), reason };
    let port = url.port_or_known_default().unwrap_or(443);
    let (name, stream) = match url.host() {
        Some(Host::Domain(name)) => {
            let server_name = ServerName::try_from(name.to_owned()).map_err(|error| connect(error.to_string()))?;
            (server_name, TcpStream::connect((name, port)).await)
        }
        Some(Host::Ipv4(ip)) => (ServerName::IpAddress(ip.into()), TcpStream::connect((ip, port)).await),
        Some(Host::Ipv6(ip)) => (ServerName::IpAddress(ip.into()), TcpStream::connect((ip, port)).await),
        None => return Err(connect("the URL has no host".into())),
    };
    let stream = stream.map_err(|error| connect(error.to_string()))?;
    let handshake = |error: std::io::Error| FetchError::Handshake { url: url.to_string(), reason: error.to_string() };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(handshake)?;

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| http(error.to_string()))?;
    // Driven beside the request and dropped with it, so that nothing outlives the timeout.
    let mut connection = std::pin::pin!(connection);
    let request = request(url).map_err(http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| http(error.to_string()))?;
        read(url, response).await
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        document = &mut exchange => document,
        ended = &mut connection => match ended {
            // The answer may be complete although the connection is over.
            Ok(()) => exchange.await,
            Err(error) => Err(http(error.to_string())),
        },
    }
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, String> {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let request = Request::get(path).header(header::HOST, host).header(header::ACCEPT, "application/json");
    request.body(Empty::new()).map_err(|error| error.to_string())
}

async fn read(url: &Url, response: http::Response<hyper::body::Incoming>) -> Result<Bytes, FetchError> {
    let url = || url.to_string();
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(header::LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        return Err(FetchError::Redirect { url: url(), location: location.unwrap_or_default() });
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status { url: url(), status });
    }
    match Limited::new(response.into_body(), MAX_JWKS_SIZE).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(FetchError::TooLarge { url: url() }),
        Err(error) => Err(FetchError::Http { url: url(), reason: error.to_string() }),
    }
}

/// The authorities of the public web, read when first needed.
#[derive(Debug)]
pub struct WebRoots {
    file: Option<PathBuf>,
    /// The configuration key that names the file.
    key: &'static str,
    config: Arc<Mutex<Option<Arc<ClientConfig>>>>,
}

impl WebRoots {
    /// `file` instead of the machine's own; `key` is where people configure it.
    pub fn new(file: Option<PathBuf>, key: &'static str) -> Self {
        Self { file, key, config: Arc::default() }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let (file, key, kept) = (self.file.clone(), self.key, self.config.clone());
        let load = tokio::task::spawn_blocking(move || {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(config) = kept.as_ref() {
                return Ok(config.clone());
            }
            let config = Arc::new(web_config(load_roots(file, key)?)?);
            *kept = Some(config.clone());
            Ok(config)
        });
        load.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

fn load_roots(file: Option<PathBuf>, key: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match &file {
        Some(path) => {
            let problem = |error: rustls_pki_types::pem::Error| format!("{}: {error}", path.display());
            CertificateDer::pem_file_iter(path).map_err(problem)?.collect::<Result<Vec<_>, _>>().map_err(problem)?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    // The machine's list may hold certificates in forms that nobody needs.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let origin = file.map_or_else(|| "this machine".to_owned(), |path| path.display().to_string());
        return Err(format!("{origin} has none; name a PEM file with {key}"));
    }
    Ok(roots)
}

fn web_config(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
