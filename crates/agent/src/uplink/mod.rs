//! What the agent tells Connect: who it is, its zone's bundle, the services of its cluster, how it is doing.
//!
//! ```text
//!  join ───────────────> identity kept in the data folder, once
//!  bundle ─────────────> UpdateTrustZoneBundle, when the zone's authorities change
//!  registrations ──────> Register, Update, DeregisterFederatedService: the difference to what Connect lists
//!  held_bundles ───────> ReportHeldBundles: what the SPIRE server holds of other trust domains
//!  agent_status ───────> UpdateAgentStatus
//! ```
//!
//! Each is a reconciler of its own: what one of them waits for holds up none of the others, and none of them holds up
//! what local clients are served.

pub mod agent_status;
pub mod bundle;
pub mod connect;
pub mod follow;
pub mod held_bundles;
pub mod join;
pub mod membership;
pub mod own_bundle;
pub mod registrar;
pub mod registrations;
pub(crate) mod run;
