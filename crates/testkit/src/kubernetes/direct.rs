//! A client in this process that goes where it likes, as an attacker would: to any gateway, with any server name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cofide_core::TrustDomain;
use cofide_svid::{Authorizer, IdentitySource, tls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::plane::Zone;
use crate::workload::Workload;

const ANSWER: Duration = Duration::from_secs(5);

/// An identity in a trust zone.
pub struct Direct(Workload);

impl Direct {
    /// Its policy has to be bound; see `Plane::bind`.
    pub async fn start(zone: &Zone, path: &str) -> Result<Self> {
        Ok(Self(Workload::start(zone, path).await?))
    }

    /// A ping with this server name, and with the application protocol of meshes where the name is one of theirs.
    pub async fn ping(&self, gateway: SocketAddr, server_name: &str, expected: &str) -> Result<String> {
        tokio::time::timeout(ANSWER, self.try_ping(gateway, server_name, expected)).await.context("no answer")?
    }

    async fn try_ping(&self, gateway: SocketAddr, server_name: &str, expected: &str) -> Result<String> {
        self.ping_over(TcpStream::connect(gateway).await.context("cannot connect")?, server_name, expected).await
    }

    /// The same over a connection that is there already.
    pub async fn ping_over(&self, stream: TcpStream, server_name: &str, expected: &str) -> Result<String> {
        let identity: Arc<dyn IdentitySource> = self.0.identity.clone();
        let mut config = tls::client_config(Some(identity), self.0.bundles.clone(), Authorizer::AnyIn(TrustDomain::new(expected)?));
        if server_name.starts_with("outbound_") {
            config.alpn_protocols = vec![b"istio".to_vec()];
        }
        let name = ServerName::try_from(server_name.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("no TLS")?;
        let mut stream = BufStream::new(stream);
        stream.write_all(b"ping\n").await?;
        stream.flush().await?;
        let mut answer = String::new();
        let length = stream.read_line(&mut answer).await.context("no pong")?;
        ensure!(length > 0, "closed without an answer");
        Ok(answer.trim_end().to_owned())
    }
}
