//! A stand-in for Connect: the real xDS server behind the real TLS, over one cache.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use cofide_connect_client::{AccessToken, Bootstrap, ConnectUrl, Credential};
use cofide_core::{Bundle, ControlPlaneTrust, JoinTokenSecret, SpiffeId, TrustDomain};
use cofide_svid::authority::{X509CertificateAuthority, X509Settings};
use cofide_svid::tls::{self, peer_spiffe_id};
use cofide_svid::{BundleSet, ClientAuth, IdentitySlot, X509Svid};
use cofide_xds::{Cache, Limits, Node, Peer, Receipt, Router, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::server::Connected;

pub(crate) const CONNECT: &str = "spiffe://management.local/ns/connect/sa/cofide-connect-api";
pub(crate) const AGENT: &str = "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent";

/// Far longer than anything takes; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing happened for a long time")
}

pub(crate) fn id(id: &str) -> SpiffeId {
    id.parse().unwrap()
}

pub(crate) fn authority(trust_domain: &str) -> X509CertificateAuthority {
    X509CertificateAuthority::create(TrustDomain::new(trust_domain).unwrap(), X509Settings::default(), SystemTime::now()).unwrap()
}

pub(crate) fn svid(authority: &X509CertificateAuthority, spiffe_id: &str) -> X509Svid {
    short_lived(authority, spiffe_id, Duration::from_secs(3600))
}

pub(crate) fn short_lived(authority: &X509CertificateAuthority, spiffe_id: &str, lifetime: Duration) -> X509Svid {
    authority.issue(&id(spiffe_id), &[], &[], lifetime, SystemTime::now()).unwrap()
}

pub(crate) fn bundle(authority: &X509CertificateAuthority) -> Bundle {
    cofide_svid::authority::bundle(authority, None, 60)
}

/// The zone of an agent about which a test says nothing else.
static ZONE: LazyLock<X509CertificateAuthority> = LazyLock::new(|| authority("a.test"));

/// The identity of an agent that each [`TestConnect`] knows.
pub(crate) fn agent() -> Arc<IdentitySlot> {
    Arc::new(IdentitySlot::new(svid(&ZONE, AGENT)))
}

/// A client that expects the real Connect with an authority at an address.
pub(crate) fn credential(authority: &X509CertificateAuthority, address: SocketAddr) -> Credential {
    Credential {
        access_token: AccessToken::new("hunter2"),
        connect_url: Some(url(address)),
        connect: Some(ControlPlaneTrust { spiffe_id: id(CONNECT), bundle: bundle(authority) }),
    }
}

pub(crate) fn bootstrap(authority: &X509CertificateAuthority, address: SocketAddr) -> Bootstrap {
    Bootstrap {
        connect_url: url(address),
        connect: ControlPlaneTrust { spiffe_id: id(CONNECT), bundle: bundle(authority) },
        trust_zone_id: "zone-1".parse().unwrap(),
        trust_domain: TrustDomain::new("a.test").unwrap(),
        cluster_id: "cluster-1".parse().unwrap(),
        cluster_name: "one".parse().unwrap(),
        agent_token: JoinTokenSecret::new("secret".to_owned()),
    }
}

pub(crate) fn url(address: SocketAddr) -> ConnectUrl {
    address.to_string().parse().unwrap()
}

/// What the server has heard of a client.
#[derive(Debug)]
pub(crate) enum Heard {
    Stream { authorization: Option<String>, spiffe_id: Option<String> },
    Receipt(Receipt),
}

struct OneCache {
    cache: Arc<Cache>,
    heard: mpsc::UnboundedSender<Heard>,
}

#[async_trait::async_trait]
impl Router for OneCache {
    async fn cache_for(&self, peer: &Peer, _node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        let authorization = peer.metadata.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let ConnectInfo(spiffe_id) = peer.extensions.get().cloned().unwrap();
        let _ = self.heard.send(Heard::Stream { authorization, spiffe_id });
        Ok(self.cache.clone())
    }

    async fn on_receipt(&self, receipt: Receipt) {
        let _ = self.heard.send(Heard::Receipt(receipt));
    }
}

pub(crate) struct TestConnect {
    pub(crate) address: SocketAddr,
    pub(crate) cache: Arc<Cache>,
    /// Whose clients are known; the server's own authority is not among them.
    pub(crate) client_bundles: Arc<BundleSet>,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl TestConnect {
    /// Serves with an identity, on a free port.
    pub(crate) async fn start(identity: X509Svid) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), identity, Cache::new()).await
    }

    pub(crate) async fn start_at(address: SocketAddr, identity: X509Svid, cache: Cache) -> Self {
        cache.mark_ready();
        let cache = Arc::new(cache);
        let client_bundles = Arc::new(BundleSet::from_iter([bundle(&ZONE)]));
        let (sender, heard) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let router = OneCache { cache: cache.clone(), heard: sender };
        let server = Server::with(router, shutdown.clone(), Limits::default(), DEADLINE * 2);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = tls::server_config(Arc::new(IdentitySlot::new(identity)), client_bundles.clone(), ClientAuth::Optional);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let incoming = accept(listener, TlsAcceptor::from(Arc::new(config)), shutdown.clone());
        let stop = shutdown.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            let routes = tonic::transport::Server::builder().add_service(server.aggregated());
            routes.serve_with_incoming_shutdown(incoming, stop).await.unwrap();
        });
        Self { address, cache, client_bundles, heard, shutdown, serving }
    }

    /// Until nothing of it is left, so that its port can be taken again.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        within(self.serving).await.unwrap();
    }

    pub(crate) async fn heard(&mut self) -> Heard {
        within(self.heard.recv()).await.unwrap()
    }

    pub(crate) async fn receipt(&mut self) -> Receipt {
        loop {
            if let Heard::Receipt(receipt) = self.heard().await {
                return receipt;
            }
        }
    }
}

fn accept(listener: TcpListener, acceptor: TlsAcceptor, shutdown: CancellationToken) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = shutdown.cancelled() => return,
            };
            // A client that refuses the server is not the server's problem.
            if let Ok(stream) = acceptor.accept(accepted).await {
                let _ = sender.send(Ok(Connection(stream))).await;
            }
        }
    });
    ReceiverStream::new(receiver)
}

struct Connection(TlsStream<TcpStream>);

/// Who the client has proved to be.
#[derive(Clone)]
struct ConnectInfo(Option<String>);

impl Connected for Connection {
    type ConnectInfo = ConnectInfo;
    fn connect_info(&self) -> ConnectInfo {
        let certificates = self.0.get_ref().1.peer_certificates();
        ConnectInfo(certificates.map(|certificates| peer_spiffe_id(certificates).unwrap().to_string()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
