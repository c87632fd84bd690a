//! An xDS server, and the client side of its delta protocol. It knows resources by type URL, name and version, and
//! nothing of what they mean.
//!
//! ```text
//!  whoever decides                                               whoever obeys (Envoy, an xDS SDK, an agent)
//!       │ set, remove, apply                                            ▲          │
//!       ▼                       changes since                           │ response │ request: subscribe, ACK, NACK
//!   [ Cache ] ── sequence, ──────────────────────▶ [ Session ] ─────────┘          │
//!       ▲        change log                          one per stream ◀──────────────┘
//!       │ cache_for(peer, node)                        │
//!   [ Router ] ◀───────────────────────────────────────┘ on_receipt
//! ```
//!
//! - A [`Resource`] carries its content's hash as its version, so equal content is never sent twice.
//! - A [`Cache`] holds the world of one group of equal clients. It is not served before [`Cache::mark_ready`]: a world
//!   that is not known yet must not be mistaken for an empty one.
//! - A session is the state of one stream: what its client asked for, what it holds, what it has not yet acknowledged.
//!   It is a pure state machine (requests and cache in, responses out) that delta and state of the world share; a
//!   loop around it does the waiting. What it does when the cache changes costs as much as the change, not as the world.
//! - [`Server`] puts sessions behind the gRPC services, and [`Router`] is where the program decides which cache a client
//!   sees and learns what the client said to it.
//! - [`client`] is the other end: a delta subscription that keeps versions and resumes with them.
//!
//! The protocol is Envoy's "xDS REST and gRPC protocol" (<https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>);
//! comments that say "the protocol" mean that page.

mod cache;
pub mod client;
mod order;
mod rejection;
mod resource;
mod router;
mod server;
mod stream;
pub mod type_url;

/// The generated Envoy API, so that no other crate needs to know where it comes from.
pub use envoy_types::pb as envoy;

pub use cache::{Cache, Update};
pub use envoy::envoy::config::core::v3::Node;
pub use envoy::google::protobuf::Any;
pub use rejection::Rejection;
pub use resource::Resource;
pub use router::{Client, Outcome, Peer, Receipt, Router};
pub use server::Server;
pub use stream::Limits;
