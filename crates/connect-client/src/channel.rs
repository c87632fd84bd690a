//! gRPC channels to Connect, over TLS between SPIFFE identities.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cofide_core::SpiffeId;
use cofide_runtime::Chain;
use cofide_svid::tls::{self, ServerRefused};
use cofide_svid::{Authorizer, BundleSet, BundleSource, IdentitySource};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::while_valid::WhileValid;
use crate::{BearerToken, Bootstrap, ConnectUrl, Credential};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pings find out that a connection is dead although nobody closed it, and keep proxies from closing one that is idle.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connect's first word comes as soon as it has looked at the certificate. Who says nothing for this long waits for ours.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(5);

const ALPN_HTTP2: &[u8] = b"h2";

/// A channel that presents a person's token with each call.
pub type UserChannel = InterceptedService<Channel, BearerToken>;

/// Why Connect could not be reached, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach Connect at {url}: {reason}; check the address, and that cofide-connect runs there")]
    Unreachable { url: String, reason: String },
    #[error("what answers at {url} does not speak TLS; check the address and the port")]
    NotTls { url: String },
    #[error("what answers at {url} does not speak HTTP/2, so it is not Connect; check the address and the port")]
    NotHttp2 { url: String },
    #[error("refusing to talk to {url}: {reason}")]
    Refused { url: String, reason: ServerRefused },
    #[error("the TLS handshake with {url} failed: {reason}")]
    Handshake { url: String, reason: String },
    #[error("this agent has no identity at the moment; its SPIFFE Workload API has to give it one before it can speak to Connect")]
    NoIdentity,
    #[error(
        "the credential does not say how to recognise Connect (connect_trust_domain, connect_spiffe_id, connect_bundle); use the \
         credential file that cofide-connect wrote"
    )]
    NoTrust,
    #[error("the credential does not say where Connect is; give --connect-url or use the credential file that cofide-connect wrote")]
    NoUrl,
    #[error("the access token holds characters that no access token has; use the credential file that cofide-connect wrote")]
    Token,
}

impl ConnectError {
    /// Finds the reason in what a call on a channel of this crate failed with, a [`tonic::Status`] above all; `None`
    /// where the connection was not the problem.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        Chain(error).iter().find_map(|error| error.downcast_ref())
    }
}

/// Connects as the person whose credential it is.
pub async fn connect_as_user(credential: &Credential) -> Result<UserChannel, ConnectError> {
    let trust = credential.connect.as_ref().ok_or(ConnectError::NoTrust)?;
    let url = credential.connect_url.as_ref().ok_or(ConnectError::NoUrl)?;
    let token = BearerToken::new(&credential.access_token).ok_or(ConnectError::Token)?;
    let bundles = BundleSet::from_iter([trust.bundle.clone()]);
    let target = Target::new(url, trust.spiffe_id.clone(), Arc::new(bundles), None);
    Ok(InterceptedService::new(target.connect().await?, token))
}

/// Connects without an identity, for an agent that has none yet: what it may do follows from its join token.
pub async fn connect_to_join(bootstrap: &Bootstrap) -> Result<Channel, ConnectError> {
    let bundles = BundleSet::from_iter([bootstrap.connect.bundle.clone()]);
    Target::new(&bootstrap.connect_url, bootstrap.connect.spiffe_id.clone(), Arc::new(bundles), None).connect().await
}

/// A channel for a joined agent. It connects when it is first used, and again when a connection ends: each time with
/// the identity and the bundles of that moment, so that neither side's rotation needs a new channel. A connection ends
/// before the certificate shown on it expires. While there is no identity it does not connect: Connect would know nobody on that connection for as long as it lasts.
pub fn connect_as_agent(url: &ConnectUrl, connect: SpiffeId, bundles: Arc<dyn BundleSource>, identity: Arc<dyn IdentitySource>) -> Channel {
    Target::new(url, connect, bundles, Some(identity)).channel()
}

/// Where to connect, and what to expect there.
#[derive(Clone)]
struct Target {
    url: ConnectUrl,
    /// Absent for who has none and needs none.
    identity: Option<Arc<dyn IdentitySource>>,
    tls: TlsConnector,
}

impl Target {
    fn new(url: &ConnectUrl, connect: SpiffeId, bundles: Arc<dyn BundleSource>, identity: Option<Arc<dyn IdentitySource>>) -> Self {
        let mut config = tls::client_config(identity.clone(), bundles, Authorizer::Exactly(connect));
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Self { url: url.clone(), identity, tls: TlsConnector::from(Arc::new(config)) }
    }

    async fn connect(self) -> Result<Channel, ConnectError> {
        let url = self.url.to_string();
        let connected = self.endpoint().connect_with_connector(self.connector()).await;
        connected.map_err(|error| match ConnectError::within(&error) {
            Some(reason) => reason.clone(),
            None => ConnectError::Unreachable { url, reason: Chain(&error).root_cause().to_string() },
        })
    }

    fn channel(self) -> Channel {
        self.endpoint().connect_with_connector_lazy(self.connector())
    }

    fn endpoint(&self) -> Endpoint {
        let uri = |scheme: &str| format!("{scheme}://{}", self.url).parse::<Uri>().expect("a host and a port make an URI");
        // Told of https, tonic would look for a TLS of its own; TLS is the connector's matter here.
        Endpoint::from(uri("http"))
            .origin(uri("https"))
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
    }

    fn connector(
        self,
    ) -> impl tower::Service<Uri, Response = TokioIo<WhileValid<TlsStream<TcpStream>>>, Error = ConnectError, Future: Send> + Send + 'static
    {
        tower::service_fn(move |_: Uri| {
            let target = self.clone();
            async move { target.handshake().await.map(TokioIo::new) }
        })
    }

    async fn handshake(&self) -> Result<WhileValid<TlsStream<TcpStream>>, ConnectError> {
        // Where the identity changes meanwhile, the later one is shown, and the connection ends a little early.
        let shown = match &self.identity {
            Some(source) => Some((source.identity().ok_or(ConnectError::NoIdentity)?, source.clone())),
            None => None,
        };
        let url = self.url.to_string();
        let unreachable = |error: io::Error| ConnectError::Unreachable { url: url.clone(), reason: error.to_string() };
        let tcp = TcpStream::connect((self.url.host(), self.url.port())).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|error| unreachable(io::Error::other(error)))?;
        let mut stream = self.tls.connect(name, tcp).await.map_err(|error| self.explain(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectError::NotHttp2 { url });
        }
        if self.identity.is_some() {
            self.admission(&mut stream).await?;
        }
        Ok(WhileValid::new(stream, shown))
    }

    /// Waits for Connect's first word. In TLS 1.3 the client's side of the handshake ends before the server has looked at
    /// the client's certificate (RFC 8446, section 2), so a refusal is an alert on what looks like a good connection. An
    /// HTTP/2 server speaks without being asked (RFC 9113, section 3.4), and until then nothing is sent: what Connect has
    /// not read when it closes would make it a reset, on which the alert is lost, and with it the reason.
    async fn admission(&self, stream: &mut TlsStream<TcpStream>) -> Result<(), ConnectError> {
        match tokio::time::timeout(FIRST_WORD_TIMEOUT, stream.fill_buf()).await {
            Ok(Ok([])) => Err(ConnectError::Handshake { url: self.url.to_string(), reason: "the connection was closed".to_owned() }),
            Ok(Err(error)) => Err(self.explain(&error)),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    fn explain(&self, error: &io::Error) -> ConnectError {
        let url = self.url.to_string();
        if let Some(refused) = ServerRefused::within(error) {
            return ConnectError::Refused { url, reason: refused.clone() };
        }
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::InvalidMessage(_)) => ConnectError::NotTls { url },
            Some(rustls::Error::NoApplicationProtocol) => ConnectError::NotHttp2 { url },
            Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => ConnectError::NotHttp2 { url },
            _ => ConnectError::Handshake { url, reason: error.to_string() },
        }
    }
}
