//! The client side of delta discovery: one stream, wildcard subscriptions, and the versions to resume with.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::{Any, Node, Rejection};

/// The largest response that is taken. A server of this crate splits its responses far below that, but a single resource
/// cannot be split.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Requests between the caller and the socket; the caller waits beyond that.
const REQUEST_CAPACITY: usize = 64;

/// Version by resource name, by type URL: what a client holds.
pub type Versions = BTreeMap<String, BTreeMap<String, String>>;

/// A stream of changes of some types, each with a wildcard subscription.
///
/// It does not connect again by itself: take the [`versions`](Self::versions), open another one with them, and only what
/// changed meanwhile is sent.
#[derive(Debug)]
pub struct DeltaSubscription {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    versions: Versions,
    /// Types whose first answer is not complete yet.
    initial: Vec<String>,
    /// What becomes of `versions` when a response is acknowledged, by nonce.
    unacknowledged: BTreeMap<String, Unacknowledged>,
}

#[derive(Debug)]
struct Unacknowledged {
    type_url: String,
    set: Vec<(String, String)>,
    removed: Vec<String>,
}

/// What one response says. It asks for one [`ack`](DeltaSubscription::ack) or [`nack`](DeltaSubscription::nack).
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    pub type_url: String,
    pub set: Vec<ReceivedResource>,
    pub removed: Vec<String>,
    pub nonce: String,
    /// Whether with this response the caller has been told everything of this type that the server had when the
    /// subscription began. Before that, what is missing is not known to be absent.
    pub completes_initial: bool,
}

/// A resource as it arrived. The body's type is that of the subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedResource {
    pub name: String,
    pub version: String,
    pub body: Any,
}

impl DeltaSubscription {
    /// Opens a stream on a channel and subscribes to everything of each type in `types`. `held` is what is there
    /// already from an earlier stream; versions of other types than `types` are ignored.
    pub async fn open(channel: Channel, node: Node, types: &[&str], held: Versions) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(REQUEST_CAPACITY.max(types.len()));
        let mut node = Some(node);
        let mut versions = held;
        versions.retain(|type_url, _| types.contains(&type_url.as_str()));
        for type_url in types {
            let request = DeltaDiscoveryRequest {
                node: node.take(),
                type_url: (*type_url).to_owned(),
                resource_names_subscribe: vec!["*".to_owned()],
                initial_resource_versions: versions
                    .get(*type_url)
                    .into_iter()
                    .flatten()
                    .map(|(name, version)| (name.clone(), version.clone()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            };
            // The channel has room for all of them and its receiver is below.
            let _ = requests.send(request).await;
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?.into_inner();
        let initial = types.iter().map(|type_url| (*type_url).to_owned()).collect();
        Ok(Self { requests, responses, versions, initial, unacknowledged: BTreeMap::new() })
    }

    /// The next response; `None` when the server has ended the stream without an error. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Changes>, Status> {
        let Some(response) = self.responses.message().await? else { return Ok(None) };
        let DeltaDiscoveryResponse { type_url, nonce, resources, removed_resources: removed, system_version_info, .. } = response;
        let set: Vec<ReceivedResource> = resources
            .into_iter()
            .map(|resource| ReceivedResource {
                name: resource.name,
                version: resource.version,
                body: resource.resource.unwrap_or_default(),
            })
            .collect();
        let is_complete = !system_version_info.is_empty();
        let completes_initial = is_complete && self.initial.contains(&type_url);
        if completes_initial {
            self.initial.retain(|initial| *initial != type_url);
        }
        let unacknowledged = Unacknowledged {
            type_url: type_url.clone(),
            set: set.iter().map(|resource| (resource.name.clone(), resource.version.clone())).collect(),
            removed: removed.clone(),
        };
        self.unacknowledged.insert(nonce.clone(), unacknowledged);
        Ok(Some(Changes { type_url, set, removed, nonce, completes_initial }))
    }

    /// Says that a response was applied.
    pub async fn ack(&mut self, nonce: &str) -> Result<(), Status> {
        self.answer(nonce, None).await
    }

    /// Says that a response, or the named part of it, was not applied.
    pub async fn nack(&mut self, nonce: &str, rejection: Rejection) -> Result<(), Status> {
        self.answer(nonce, Some(rejection)).await
    }

    /// What has been acknowledged so far, together with what was held at the beginning.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    async fn answer(&mut self, nonce: &str, rejection: Option<Rejection>) -> Result<(), Status> {
        let Some(Unacknowledged { type_url, set, removed }) = self.unacknowledged.remove(nonce) else { return Ok(()) };
        // A rejection that names nothing is of everything.
        let is_rejected = |name: &str| {
            rejection.as_ref().is_some_and(|rejection| rejection.resources.is_empty() || rejection.resources.contains_key(name))
        };
        let held = self.versions.entry(type_url.clone()).or_default();
        held.extend(set.into_iter().filter(|(name, _)| !is_rejected(name)));
        held.retain(|name, _| !removed.contains(name) || is_rejected(name));
        let error_detail = rejection.map(Rejection::into_status);
        let request =
            DeltaDiscoveryRequest { type_url, response_nonce: nonce.to_owned(), error_detail, ..DeltaDiscoveryRequest::default() };
        self.requests.send(request).await.map_err(|_| Status::unavailable("the stream to the server has ended"))
    }
}
