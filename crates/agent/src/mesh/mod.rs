//! What Istio and the zone's SPIFFE agent have to be set to, so that the mesh can verify federated trust domains.
//!
//! ```text
//!  exports, plan ──> Needed ─┐
//!                            ├─ findings (pure) ──> log, Events, conditions of exports, receipts of imports
//!  ConfigMap of the mesh ─┐  │
//!  Deployment of istiod ──┼> Seen
//!  secrets over SDS ──────┘
//! ```
//!
//! - A finding names a key, what it has to be, and what it is. What cannot be looked at is told as unknown, and blamed for nothing.
//! - Trust-domain aliases are never written, and one that is somebody else's is a finding: Istio reads every rule about the mesh's
//!   own trust domain as one about its aliases too.
//! - Written is only [what is needed](mesh_config::Managed), and only where the operator said so.

pub mod decide;
pub mod finding;
pub mod istiod;
pub mod keeper;
pub mod mesh_config;
pub mod sds;
mod secrets;

pub use decide::{Needed, Places, Seen, findings};
pub use finding::{Concerns, Finding, Found, MeshFindings};
pub use keeper::{MeshKeeper, MeshKeeperSettings};
pub use secrets::SecretsClient;

/// What was looked at, or why it could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight<T> {
    Seen(T),
    Unknown(String),
}
