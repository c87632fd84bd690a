//! What each of the programs needs and none of them owns.
//!
//! - [`program`]: from the command line to the exit code, the same for every server program
//! - [`config`]: a YAML file under environment variables under flags, checked as one value; [`duration`]: how it says how long
//! - [`environment`]: variables that look misspelt; [`conventions`]: what every key of a configuration has
//! - [`bind`]: listening, and what to say where that fails
//! - [`places`]: how many connections a listener has
//! - [`files`]: files that are whole or not there, secrets that only their owner reads, one process per data folder
//! - [`regular_file`]: files of a folder into which others put what they like
//! - [`logging`]: structured lines on stderr; stdout stays free for data
//! - [`admin`], [`Readiness`]: liveness, readiness and metrics over HTTP
//! - [`shutdown`]: one token that says "stop", from SIGINT and SIGTERM
//! - [`command_line`]: flags read, and mistakes told as every other error is
//! - [`Backoff`]: how long to wait before trying again
//! - [`Chain`]: an error and its causes in one line
//! - [`build_info`]: what `version` prints

pub mod admin;
mod backoff;
pub mod bind;
mod bounded;
pub mod build_info;
mod chain;
pub mod command_line;
pub mod config;
pub mod conventions;
pub mod duration;
pub mod environment;
pub mod files;
pub mod logging;
pub mod places;
pub mod program;
mod readiness;
pub mod regular_file;
pub mod shutdown;

pub use backoff::Backoff;
pub use chain::Chain;
pub use readiness::{Component, Readiness};
