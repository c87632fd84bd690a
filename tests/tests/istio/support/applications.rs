//! A server that says who called, and clients: over TLS or not, with HTTP or without.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofide_svid::{Authorizer, ClientAuth, IdentitySource, tls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Identity;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Answers a line with `<name> to <peer>`, and an HTTP request with the same as its body. The peer is its SPIFFE ID where there is one.
pub(crate) struct Application {
    _stop: DropGuard,
}

impl Application {
    /// Does mTLS with `identity`, or speaks plain text.
    pub(crate) fn start(name: &str, listener: TcpListener, identity: Option<Identity>) -> Self {
        let stop = CancellationToken::new();
        let acceptor = identity
            .map(|Identity { identity, bundles }| TlsAcceptor::from(Arc::new(tls::server_config(identity, bundles, ClientAuth::Required))));
        let (name, stopped) = (name.to_owned(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is the client's to notice.
                tokio::spawn(serve(stream, name.clone(), acceptor.clone()));
            }
        }));
        Self { _stop: stop.drop_guard() }
    }
}

async fn serve(stream: TcpStream, name: String, acceptor: Option<TlsAcceptor>) -> Result<()> {
    let (stream, peer): (Box<dyn Stream>, String) = match acceptor {
        None => (Box::new(stream), "somebody".into()),
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            let certificates = stream.get_ref().1.peer_certificates().context("the client has a certificate")?;
            let peer = tls::peer_spiffe_id(certificates)?.to_string();
            (Box::new(stream), peer)
        }
    };
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = format!("{name} to {peer}");
        if line.starts_with("GET ") {
            while !line.trim_end().is_empty() {
                line.clear();
                stream.read_line(&mut line).await?;
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).await?;
        } else {
            stream.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        stream.flush().await?;
        line.clear();
    }
    Ok(())
}

/// What a client heard.
pub(crate) type Heard = Result<String>;

/// How a client speaks.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) identity: Identity,
    /// Whom it takes for the server.
    pub(crate) server: cofide_core::TrustDomain,
}

impl Client {
    /// mTLS of its own, with this SNI and these application protocols on offer.
    pub(crate) async fn over_tls(&self, stream: TcpStream, sni: &str, alpn: &[&str]) -> Heard {
        let Identity { identity, bundles } = self.identity.clone();
        let authorizer = Authorizer::AnyIn(self.server.clone());
        let mut config = tls::client_config(Some(identity as Arc<dyn IdentitySource>), bundles, authorizer);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(sni.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("no TLS")?;
        line(stream).await
    }
}

/// Says a line and hears one.
pub(crate) async fn line(stream: impl AsyncRead + AsyncWrite + Unpin) -> Heard {
    let mut stream = BufStream::new(stream);
    stream.write_all(b"hello\n").await?;
    stream.flush().await?;
    let mut answer = String::new();
    anyhow::ensure!(stream.read_line(&mut answer).await? > 0, "the connection was closed");
    Ok(answer.trim_end().to_owned())
}

/// Asks by HTTP; the answer is the body of a response that is fine.
pub(crate) async fn http(stream: TcpStream, host: &str) -> Heard {
    let mut stream = BufStream::new(stream);
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    stream.flush().await?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        anyhow::ensure!(stream.read_line(&mut head).await? > 0, "no HTTP: {head:?}");
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.with_context(|| format!("no length: {head}"))?];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body)?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
    Ok(body)
}
