//! Where the program that embeds the server decides who sees what, and learns what clients said to it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use crate::{Cache, Node, Rejection};

/// Routes streams to caches, and takes receipts.
///
/// The calls of one stream come one after the other, and the stream waits for each of them.
#[async_trait::async_trait]
pub trait Router: Send + Sync + 'static {
    /// The world that this client may see; called once per stream, with its first request. An error ends the stream.
    ///
    /// `node` is what the client says about itself: it can choose between views, but only what `peer` proves can choose
    /// between secrets.
    async fn cache_for(&self, peer: &Peer, node: &Node, type_url: &str) -> Result<Arc<Cache>, Status>;

    /// A client has acknowledged or rejected a response.
    async fn on_receipt(&self, _receipt: Receipt) {}

    /// A client has said, with its first request for a type, what it holds from an earlier stream: version by name. It
    /// applied those versions, whether or not its acknowledgement ever arrived. Not called where it holds nothing.
    async fn on_resume(&self, _client: &Arc<Client>, _type_url: &str, _held: HashMap<String, String>) {}

    /// A client has asked for a type for the first time on its stream.
    async fn on_subscribe(&self, _client: &Arc<Client>, _type_url: &str) {}

    /// A stream that was given a cache has ended, whatever the reason.
    async fn on_closed(&self, _client: &Arc<Client>) {}
}

/// The other end of the connection, as far as the transport knows it.
#[derive(Clone)]
pub struct Peer {
    /// What interceptors and the listener attached to the request, such as the peer's certificates.
    pub extensions: Extensions,
    pub metadata: MetadataMap,
    pub remote_addr: Option<SocketAddr>,
}

// Metadata can hold a bearer token.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("remote_addr", &self.remote_addr).finish_non_exhaustive()
    }
}

/// One stream.
#[derive(Debug)]
pub struct Client {
    /// Unique within the server's life.
    pub stream: u64,
    pub peer: Peer,
    /// As the first request gave it, without its list of extensions, which is long and routes nothing.
    pub node: Node,
}

/// What a client did with one response.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub client: Arc<Client>,
    pub type_url: String,
    /// Name and version of the resources that the response brought; those that the client held already are not
    /// mentioned, though a state-of-the-world response repeats them.
    pub resources: Vec<(String, String)>,
    /// Names that the response took away, or said do not exist.
    pub removed: Vec<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    Rejected(Rejection),
}

impl Receipt {
    /// The outcome for one resource of the response.
    pub fn outcome_of(&self, name: &str) -> Result<(), &str> {
        match &self.outcome {
            Outcome::Applied => Ok(()),
            Outcome::Rejected(rejection) if rejection.resources.is_empty() => Err(&rejection.message),
            Outcome::Rejected(rejection) => rejection.resources.get(name).map_or(Ok(()), |reason| Err(reason)),
        }
    }
}
