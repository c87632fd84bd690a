//! What is particular to PostgreSQL: where it is, how it is opened, and what happens while it is away.
//!
//! ```text
//!  ConnectionString ── open ──> inspected, migrated ──> Server: one connection writes, several read
//!                                                          ^            │
//!                       follow: LISTEN, and a look now ────┘            └── commit: NOTIFY
//!                       and then ── newest revision, health
//! ```

mod connection_string;
mod follow;
mod open;
mod server;

pub use connection_string::{ConnectionString, ConnectionStringError};
pub(crate) use server::Server;

/// Wakes whoever follows this database in another process. The text says nothing, for a channel belongs to the whole
/// database and not to a schema of it: whoever is woken looks.
pub(crate) const ANNOUNCE: &str = "SELECT pg_notify('cofide_connect_revision', '')";

const CHANNEL: &str = "cofide_connect_revision";
