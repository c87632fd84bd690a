//! The control plane: what exists, who may change it, and what each cluster is told.
//!
//! ```text
//!            users (access token)          agents (X.509-SVID)          agents that join (join token)
//!                     └──────────────┬─────────────┴──────────────────────────┘
//!                                    v
//!  listener ── TLS, limits ──> gate ── who calls? may they? ──> grpc ── messages ──> app ── rules ──> store
//!     │                          │                               │                                     │
//!     │                          └── refusals ──> audit log      └── ADS ──> hub <── what changed ──────┘
//!     │                                                                       │
//!  management ── own authority and SVID                                       └── one cache per connected cluster
//! ```
//!
//! - [`listener`], [`connections`], [`peer`]: the sockets, who is at the other end, and how a connection is ended that has
//!   lost its right to exist
//! - [`gate`], with [`authentication`], [`authorization`] and [`rate`]: the one door that every request passes
//! - [`grpc`]: messages to nouns and back, one file per service; no rule lives there
//! - [`app`]: the rules, each once, with the audit event of every change
//! - [`hub`]: the state in memory, the plan of each connected cluster, receipts
//! - [`bundle_endpoint`]: every zone's bundle for partners, over HTTPS and in files
//! - [`partners`]: the bundles of trust zones that have no cluster here, fetched from where they are published
//! - [`presence`]: which agents are there, without which a receipt says nothing about the present
//! - [`management`]: the control plane's own trust domain; [`keeping`]: where its keys are
//! - [`housekeeping`]: what goes with time
//! - [`mod@run`]: puts it all together, in reading order

pub mod app;
pub mod authentication;
pub mod authorization;
pub mod bundle_endpoint;
pub mod caller;
pub mod cli;
pub mod config;
pub mod connections;
pub mod credential;
pub mod denials;
pub mod error;
pub mod gate;
pub mod grpc;
pub mod housekeeping;
pub mod hub;
mod id;
pub mod keeping;
pub mod listener;
pub mod management;
pub mod metrics;
pub mod partners;
pub mod peer;
pub mod presence;
pub mod rate;
pub mod run;

pub use config::Config;
pub use run::{Bound, run};
