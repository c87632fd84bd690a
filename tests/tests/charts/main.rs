//! The charts, rendered by the real Helm and shown to a real API server; and the pages that promise what tests prove.
//!
//! Those with an API server need root and Go, as the lab does; the others need Go alone, once, to build Helm.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod api_server;
mod conformance;
mod goldens;
mod least_privilege;
mod pages;
mod permissions;
mod programs;
mod support;
mod values;
