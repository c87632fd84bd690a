//! The resolver through which workloads find imported services by name.
//!
//! ```text
//!                         query                      imported, or below an imported name
//!   workload ── UDP, TCP ──────> handler ── zone ──────────────────────────────> answered from the zone
//!                                   │        ^
//!                                   │        └── ZoneHandle::set: hostname -> loopback address, replaced as a whole
//!                                   │  any other name
//!                                   └──> Resolver (resolv.conf, or servers that were configured)
//! ```
//!
//! What is imported is answered from memory, whatever becomes of the upstream: forwarding has a limit on how much waits
//! at once and for how long, and shares nothing else with the zone.
//!
//! A name can be imported at any moment, so no answer says "no such name" for long: negative answers carry a TTL of
//! zero to the client, while the forwarder keeps them for as long as their zone wished, so the upstream is not asked more.

mod handler;
mod resolver;
mod server;
mod upstream;
mod zone;

pub use resolver::{Answer, ResolveError, Resolver};
pub use server::{Bound, ServeError, serve};
pub use upstream::{SYSTEM_RESOLV_CONF, Upstream};
pub use zone::{ADDRESS_TTL, Zone, ZoneHandle};
