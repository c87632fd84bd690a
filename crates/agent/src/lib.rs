//! The agent of one cluster: it exports local services, imports remote ones, and keeps the trust zone's SPIRE server in
//! step.
//!
//! ```text
//!  manifests, or objects of a cluster ─> sources ─> ClusterView
//!                                       │
//!   Connect ═════ follow ═════> Plan    v
//!      ▲ receipts                │    export ─┬─> registrar ─────────────> Connect
//!      └───────────────┐         │            └─> conditions ─> status ──> files, or the objects themselves
//!                      │         v            v
//!                      │   addresses ──> desired ─> render ─> xds_service <── Envoys, SDKs
//!                      │         │            └───────────────> DNS zone  <── clients
//!                      ├─────── local (the executor of the two lines above)
//!                      ├─────── render::istio ─> executors::kubernetes ──> API server (profile istio)
//!                      ├─────── mesh: findings <───────────────────────── settings of Istio and SDS (profile istio)
//!                      └─────── spire: desired ─> diff ─> executor ─────────> SPIRE server
//! ```
//!
//! - Decisions are pure: [`sources::host::index`], [`export`], [`desired`], [`render`], [`mesh::decide`],
//!   [`spire::desired`], [`spire::diff`], [`uplink::registrations`]. They know no clock, no file and no socket.
//! - Executors are dull: each is a [`reconciler`] that looks at values which others have published ([`world`]), makes the
//!   outside what it should be, and publishes what came of it. None of them waits for another.
//! - What is kept over a restart is listed in [`state`]. The agent starts from it, without Connect and without the
//!   zone's server.
//! - Everything between `sources` and `render` is the same for every profile. `host` is the source [`sources::host`] with the
//!   renderer [`render::envoy`]; `kubernetes` is [`sources::kubernetes`] with the same renderer; `istio` is that with
//!   [`render::istio`] for mesh and gateways beside it.
//! - Of several agents of a cluster one writes, and all serve ([`leader`]).
//!
//! [`run`] puts it all together, in reading order; what only some profiles have is in `profile`, the way to Connect in `uplink::run`.

/// Whom the API server takes for the author of what the agent writes.
pub const FIELD_MANAGER: &str = "cofide-agent";

pub mod addresses;
pub mod bootstrap;
pub mod cli;
pub mod cluster_state;
pub mod config;
pub mod desired;
pub mod executors;
pub mod export;
pub mod identity;
pub mod kubernetes;
pub mod leader;
pub mod local;
pub mod mesh;
pub mod observe;
pub mod own_cluster;
pub mod permissions;
pub mod plan;
mod profile;
pub mod published;
pub mod reconciler;
pub mod render;
pub mod role;
pub mod run;
pub mod sources;
mod spawner;
pub mod spire;
pub mod state;
pub mod status;
pub mod uplink;
pub mod view;
pub mod world;
pub mod xds_service;
