//! A bundle endpoint that answers as it is told: well, badly, or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use cofide_core::{Bundle, SpiffeId};
use cofide_svid::authority::{X509CertificateAuthority, X509Settings, bundle};
use cofide_svid::bundle::to_jwks;
use cofide_svid::tls::server_config;
use cofide_svid::{BundleSet, ClientAuth, IdentitySlot};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::domain;

#[derive(Clone)]
pub(crate) enum Reply {
    /// Written as they are; then the connection ends.
    Bytes(Vec<u8>),
    /// The connection stays open and silent.
    Silence,
}

impl Reply {
    pub(crate) fn http(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub(crate) fn document(document: &str) -> Self {
        Self::http("200 OK", "", document.as_bytes())
    }
}

/// A trust domain that exists only to publish its bundle.
pub(crate) struct Partner {
    pub(crate) authority: X509CertificateAuthority,
}

impl Partner {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let authority = X509CertificateAuthority::create(domain(trust_domain), X509Settings::default(), SystemTime::now()).unwrap();
        Self { authority }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        bundle(&self.authority, None, 1)
    }

    pub(crate) fn document(&self) -> String {
        to_jwks(&self.bundle())
    }

    /// Serves `reply` as `/spire/server`, or as another of its workloads.
    pub(crate) async fn serve(&self, path: &str, reply: Reply) -> SocketAddr {
        let id = SpiffeId::new(format!("spiffe://{}{path}", self.authority.trust_domain())).unwrap();
        let svid = self.authority.issue(&id, &[], &[], std::time::Duration::from_secs(600), SystemTime::now()).unwrap();
        let config = server_config(Arc::new(IdentitySlot::new(svid)), Arc::new(BundleSet::new()), ClientAuth::None);
        serve(Arc::new(config), reply).await
    }
}

pub(crate) async fn serve(config: Arc<ServerConfig>, reply: Reply) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, reply) = (TlsAcceptor::from(config.clone()), reply.clone());
            tokio::spawn(async move {
                // A client that does not like the certificate goes.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                match reply {
                    Reply::Bytes(bytes) => {
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Reply::Silence => std::future::pending().await,
                }
            });
        }
    });
    address
}
