//! The embedded SPIFFE server: what a trust zone runs on a laptop, in a demonstration, in tests and on a small static
//! host. Production is SPIRE, and whoever drives this server through its admin socket cannot tell the two apart.
//!
//! ```text
//!   config file          admin socket (owner only)                  workload socket (everybody)
//!       │ static entries      │ spire_api: entry, bundle,                 │ workload_api, sds
//!       ▼                     ▼ trustdomain, localauthority               ▼
//!   [ datastore ] <───────────┴──> [ authority ]              attestation: peer ──> selectors
//!    entries, foreign bundles,       X.509 CA, JWT keys                   │
//!    relationships                    │        │                          ▼
//!       │   ▲                         │        └──> issuer ──> workload: WorkloadUpdate = SVIDs + bundles
//!       │   └── federation <── HTTPS ─┼── partners' bundle endpoints
//!       │                             └──> bundle_endpoint ── HTTPS ──> partners
//!       └── every change is on disk before anybody sees it
//! ```
//!
//! - [`datastore`]: what is known, as one immutable value at a time
//! - [`authority`], [`issuer`]: who signs, and what was signed
//! - [`attestation`]: which selectors the process at the other end of a socket carries
//! - [`workload`]: what a set of selectors is entitled to, and when that changes; [`unmatched`]: who is entitled to nothing
//! - [`workload_api`], [`sds`]: the same entitlement in the words of SPIFFE and of Envoy
//! - [`spire_api`]: the server APIs of SPIRE
//! - [`federation`], [`bundle_endpoint`]: the two ends of bundle exchange
//! - [`run`]: everything put together; [`commands`]: the other end of the admin socket

pub mod args;
pub mod attestation;
pub mod authority;
pub mod bundle_endpoint;
pub mod commands;
pub mod config;
pub mod datastore;
pub mod federation;
pub mod issuer;
pub mod metrics;
pub mod run;
pub mod sds;
pub mod spire_api;
pub mod unix_socket;
pub mod unmatched;
pub mod workload;
pub mod workload_api;
