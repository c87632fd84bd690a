//! Keeps the trust zone's SPIRE server in step with the plan.
//!
//! ```text
//!  WorkloadRegistration ──┐                      ┌── bundles, relationships ──┐
//!  FederatedTrust ────────┴─> desired ─> diff ──>┤   entries                  ├──> SPIRE server API
//!                               │         ^      └── removals ────────────────┘        │
//!                               │         └──────────────── state <───────────────────┘
//!                               │                                                     ^
//!                               └─> render::spire ─> objects ─> spire-controller-manager
//! ```
//!
//! What is desired is decided once; two executors apply it: [`executor`] over the server's socket, and
//! [`crate::executors::kubernetes::spire`] by objects for spire-controller-manager. [`access`] says which one works, and
//! [`keeper`] lets it.
//!
//! [`desired`] and [`diff`] are pure. [`executor`] reads, applies and reports. Between runs it keeps the entries that it has
//! read ([`view`]), and relies on them for as long as nothing speaks against it; a restart, a manual change in the server or a
//! kill half way through is mended by the next reading. Bundles and relationships are few, and read each time.
//!
//! Ownership: entries of the agent carry a hint ([`model::HINT_PREFIX`]). Bundles and relationships cannot, so they are listed
//! in its data folder ([`model::OwnedTrust`]): what it set up, and what it found there of a domain that the plan asks for,
//! for where Connect federates with a domain, its bundle and relationship follow Connect to the end. Nothing else in the
//! server is changed or deleted; federated trust that the agent knows nothing of is named in the log ([`diff::strangers`]).

pub mod access;
pub mod client;
pub mod desired;
pub mod diff;
pub mod executor;
pub mod keeper;
pub mod model;
mod pods;
pub mod template;
pub mod told;
pub mod view;

pub use access::SpireAccess;
pub use client::{SpireClient, SpireError};
pub use executor::{Outcome, Report};
pub use keeper::{SpireKeeper, leave_alone};
