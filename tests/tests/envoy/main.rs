//! What the agent renders, carried out by real Envoys: two SPIFFE servers, xDS over sockets, applications of this process.
//!
//! ```text
//!   zone b.test                                       zone a.test
//!   application ──> Envoy (client) ═══ mTLS ═══> Envoy (gateway) ──> application
//!                     ▲        ▲                     ▲       ▲
//!            xDS: imports    SDS: b's identity    xDS: routes  SDS: a's identity
//! ```
//!
//! Nothing stands in for anything. What is left out is Connect: routes and imports are what a test says they are. With it,
//! and with whole agents, are the tests of [`whole`].
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod authorities;
mod client;
mod gateway;
mod resilience;
mod sidecar;
mod support;
mod whole;
