//! Keeps the trust zone's SPIRE server in step with the plan.
//!
//! ```text
//!  WorkloadRegistration ──┐                      ┌── bundles, relationships ──┐
//!  FederatedTrust ────────┴─> desired ─> diff ──>┤   entries                  ├──> SPIRE server API
//!                                         ^      └── removals ────────────────┘        │
//!                                         └──────────────── state <───────────────────┘
//! ```
//!
//! [`desired`] and [`diff`] are pure. [`executor`] reads, applies and reports; it keeps nothing in memory between runs,
//! so a restart, a manual change in the server or a kill half way through is mended by the next run.
//!
//! Ownership: entries of the agent carry a hint ([`model::HINT_PREFIX`]); bundles and relationships that it set up are
//! listed in its data folder ([`model::OwnedTrust`]). Nothing else in the server is changed or deleted, with one
//! exception that the plan asks for: where Connect federates with a domain, its bundle and relationship follow Connect.

pub mod client;
pub mod desired;
pub mod diff;
pub mod executor;
pub mod keeper;
pub mod model;

pub use client::{SpireClient, SpireError};
pub use executor::{Outcome, Report};
pub use keeper::SpireKeeper;
