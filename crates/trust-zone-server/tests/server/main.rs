//! The whole server over its real sockets. The workload is this process.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod attestation;
mod cli;
mod endpoint;
mod federation;
mod jwt;
mod lifecycle;
mod rotation;
mod sds;
mod spire_api;
mod support;
mod workload_api;
