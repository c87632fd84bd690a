//! What each of the programs needs and none of them owns.
//!
//! - [`config`]: a YAML file under environment variables under flags, checked as one value
//! - [`files`]: files that are whole or not there, secrets that only their owner reads, one process per data folder
//! - [`logging`]: structured lines on stderr; stdout stays free for data
//! - [`admin`], [`Readiness`]: liveness, readiness and metrics over HTTP
//! - [`shutdown`]: one token that says "stop", from SIGINT and SIGTERM
//! - [`Chain`]: an error and its causes in one line
//! - [`build_info`]: what `version` prints

pub mod admin;
pub mod build_info;
mod chain;
pub mod config;
pub mod files;
pub mod logging;
mod readiness;
pub mod shutdown;

pub use chain::Chain;
pub use readiness::{Component, Readiness};
