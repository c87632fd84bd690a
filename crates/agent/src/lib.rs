//! The agent: exports local services, imports remote ones, keeps the trust zone in step
//!
//! ```text
//!                       sources ──> index ──> ClusterView
//!                                                 │
//!    Connect ═══ plan stream ══> Plan             v
//!       ^                         │            export ──────────────> registrations ══> Connect
//!       │                         │               │ └───────────────> conditions ─────> status files
//!       │                         v               v
//!       │                   addresses ──> desired ──> render ──> xDS caches <── Envoys, SDKs
//!       │                         │               └────────────> DNS zone   <── clients
//!       └── receipts              └─────> spire ──────────────────────────────> SPIRE server
//! ```
pub mod addresses;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod desired;
pub mod export;
pub mod identity;
pub mod index;
pub mod local;
pub mod observe;
pub mod plan;
pub mod published;
pub mod reconciler;
pub mod render;
pub mod run;
pub mod sources;
pub mod spire;
pub mod state;
pub mod status;
pub mod uplink;
pub mod view;
pub mod world;
pub mod xds_service;
