//! Identities for Envoys, and applications that speak TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cofide_testkit::lab::{Cluster, IstioProxy};
use cofide_testkit::wait::attempts;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(30);

/// Tries until it works; a failure to the end shows what istiod and its proxy said.
pub(crate) async fn works_through<T>(what: &str, cluster: &Cluster, proxy: &IstioProxy, attempt: impl AsyncFnMut() -> Result<T>) -> T {
    match attempts(PATIENCE, attempt).await {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}\n{}\n{}", proxy.envoy.dump().await, cluster.log()),
    }
}

/// A SPIFFE server that gives every process of this user the identity of the service account demo/default, under the names that Istio's configuration asks for.
pub(crate) struct SpiffeServer {
    pub(crate) socket: PathBuf,
    _stop: DropGuard,
    _folder: TempDir,
}

impl SpiffeServer {
    pub(crate) async fn start(trust_domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "trust_domain": trust_domain,
            "data_dir": folder.path().join("data"),
            "sds": { "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" },
            "entries": [{ "spiffe_id_path": "/ns/demo/sa/default", "selectors": [format!("unix:uid:{}", nix::unistd::getuid())] }],
        });
        let shutdown = CancellationToken::new();
        let server = cofide_trust_zone_server::run::start(serde_json::from_value(config).unwrap(), shutdown.clone()).await.unwrap();
        let socket = server.bound().workload_api_socket.clone();
        tokio::spawn(server.wait());
        Self { socket, _stop: shutdown.drop_guard(), _folder: folder }
    }
}

/// The certificate of an application that speaks TLS itself, and whom its clients trust for it: this certificate alone.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    pub(crate) fn of(hostname: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([hostname.to_owned()]).unwrap();
        Self { der: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn server(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![self.der.clone()], key);
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    fn client(&self, alpn: &[&str]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Repeats what it hears, with or without TLS, until the test ends.
pub(crate) fn echo(listener: TcpListener, certificate: Option<&Certificate>) {
    let acceptor = certificate.map(Certificate::server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream: Box<dyn Stream> = match acceptor {
                    Some(acceptor) => Box::new(acceptor.accept(stream).await?),
                    None => Box::new(stream),
                };
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
}

/// Says something over TLS, with the hostname as SNI, and hears it again from who holds this certificate.
pub(crate) async fn call_tls(address: SocketAddr, hostname: &str, certificate: &Certificate) -> Result<()> {
    call_tls_with_alpn(address, hostname, &[], certificate).await
}

/// The same, with these application protocols on offer.
pub(crate) async fn call_tls_with_alpn(address: SocketAddr, hostname: &str, alpn: &[&str], certificate: &Certificate) -> Result<()> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    let name = ServerName::try_from(hostname.to_owned())?;
    call(certificate.client(alpn).connect(name, stream).await.context("no TLS")?).await
}

/// Says something and hears it again.
pub(crate) async fn call(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.context("no echo")?;
    anyhow::ensure!(&answer == b"hello", "heard {answer:?}");
    Ok(())
}
