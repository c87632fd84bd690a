//! The clients: many aggregated streams, each on a connection of its own, each as an Envoy would talk.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use anyhow::Context as _;
use cofide_xds::envoy::envoy::config::core::v3::Node;
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use cofide_xds::type_url::{CLUSTER, ENDPOINT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::world;

/// Far above the largest state-of-the-world response here.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// What a dialect calls the same things.
pub(crate) trait Envoy: Sized + Send + 'static {
    type Request: Send + Sync + 'static;

    fn open(
        client: AggregatedDiscoveryServiceClient<Channel>,
        requests: mpsc::Receiver<Self::Request>,
    ) -> impl Future<Output = Result<Streaming<Self>, Status>> + Send;
    /// The first request of a type; an empty list asks for everything.
    fn subscribe(type_url: &str, names: &[String]) -> Self::Request;
    /// Answers with the acknowledgement.
    fn acknowledge(&self, names: &[String]) -> Self::Request;
    fn type_url(&self) -> &str;
    fn resources(&self) -> usize;
    /// The port in the last endpoint of this response.
    fn port(&self) -> Option<u16>;
}

fn node() -> Option<Node> {
    Some(Node { id: "node".to_owned(), ..Node::default() })
}

impl Envoy for DeltaDiscoveryResponse {
    type Request = DeltaDiscoveryRequest;

    async fn open(
        mut client: AggregatedDiscoveryServiceClient<Channel>,
        requests: mpsc::Receiver<Self::Request>,
    ) -> Result<Streaming<Self>, Status> {
        Ok(client.delta_aggregated_resources(ReceiverStream::new(requests)).await?.into_inner())
    }

    fn subscribe(type_url: &str, names: &[String]) -> Self::Request {
        DeltaDiscoveryRequest {
            node: node(),
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.to_vec(),
            ..Self::Request::default()
        }
    }

    fn acknowledge(&self, _names: &[String]) -> Self::Request {
        DeltaDiscoveryRequest { type_url: self.type_url.clone(), response_nonce: self.nonce.clone(), ..Self::Request::default() }
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn resources(&self) -> usize {
        self.resources.len()
    }

    fn port(&self) -> Option<u16> {
        world::port_of(self.resources.last()?.resource.as_ref()?)
    }
}

impl Envoy for DiscoveryResponse {
    type Request = DiscoveryRequest;

    async fn open(
        mut client: AggregatedDiscoveryServiceClient<Channel>,
        requests: mpsc::Receiver<Self::Request>,
    ) -> Result<Streaming<Self>, Status> {
        Ok(client.stream_aggregated_resources(ReceiverStream::new(requests)).await?.into_inner())
    }

    fn subscribe(type_url: &str, names: &[String]) -> Self::Request {
        DiscoveryRequest { node: node(), type_url: type_url.to_owned(), resource_names: names.to_vec(), ..Self::Request::default() }
    }

    fn acknowledge(&self, names: &[String]) -> Self::Request {
        DiscoveryRequest {
            type_url: self.type_url.clone(),
            version_info: self.version_info.clone(),
            response_nonce: self.nonce.clone(),
            resource_names: names.to_vec(),
            ..Self::Request::default()
        }
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn resources(&self) -> usize {
        self.resources.len()
    }

    fn port(&self) -> Option<u16> {
        world::port_of(self.resources.last()?)
    }
}

/// All clients of one run.
pub(crate) struct Streams {
    count: usize,
    /// A port each time that a stream has acknowledged an endpoint, zero when it has everything.
    heard: mpsc::Receiver<u16>,
    bytes: Arc<AtomicU64>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Streams {
    pub(crate) async fn open<E: Envoy>(server: SocketAddr, count: usize, clusters: usize) -> anyhow::Result<Self> {
        let (hear, heard) = mpsc::channel(count);
        let (bytes, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let names: Arc<[String]> = (0..clusters).map(world::name).collect();
        for _ in 0..count {
            let channel = connect(server, bytes.clone()).await?;
            tasks.spawn(follow::<E>(channel, names.clone(), hear.clone()));
        }
        Ok(Self { count, heard, bytes, tasks })
    }

    pub(crate) async fn all_have_everything(&mut self) -> anyhow::Result<()> {
        self.all_have_port(0).await
    }

    pub(crate) async fn all_have_port(&mut self, port: u16) -> anyhow::Result<()> {
        let mut missing = self.count;
        while missing > 0 {
            tokio::select! {
                heard = self.heard.recv() => missing -= usize::from(heard.context("the streams have ended")? == port),
                Some(ended) = self.tasks.join_next() => {
                    ended??;
                    anyhow::bail!("a server ended a stream");
                }
            }
        }
        Ok(())
    }

    /// Received on all connections so far, framing included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn follow<E: Envoy>(channel: Channel, names: Arc<[String]>, hear: mpsc::Sender<u16>) -> anyhow::Result<()> {
    let client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
    let (requests, receiver) = mpsc::channel(4);
    requests.send(E::subscribe(CLUSTER, &[])).await?;
    let mut responses = E::open(client, receiver).await?;
    let (mut clusters, mut endpoints) = (0, 0);
    while let Some(response) = responses.message().await? {
        if response.type_url() == CLUSTER {
            clusters += response.resources();
            requests.send(response.acknowledge(&[])).await?;
            if clusters == names.len() {
                requests.send(E::subscribe(ENDPOINT, &names)).await?;
            }
        } else {
            let had_everything = endpoints >= names.len();
            endpoints += response.resources();
            requests.send(response.acknowledge(&names)).await?;
            if had_everything {
                hear.send(response.port().context("an endpoint without a port")?).await?;
            } else if endpoints >= names.len() {
                hear.send(0).await?;
            }
        }
    }
    anyhow::bail!("the server ended the stream")
}

async fn connect(server: SocketAddr, bytes: Arc<AtomicU64>) -> anyhow::Result<Channel> {
    let connector = tower::service_fn(move |_| {
        let bytes = bytes.clone();
        async move {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(Counted { stream, bytes }))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{server}"))?.connect_with_connector(connector).await?)
}

/// Counts what is read.
struct Counted {
    stream: TcpStream,
    bytes: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bytes.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
