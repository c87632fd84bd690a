//! The programs as people run them: real processes, what they print, and what they exit with.
//!
//! ```text
//!  Connect: cofide-connect, its folder, its log       Zone: trust-zone-server and cofide-agent of one trust zone
//!      ▲ TLS                                              │ joins, delivers its bundle, reports
//!      │                                                  ▼
//!  Person: cofidectl, a home folder, an outcome       ── the same Connect
//! ```
//!
//! Each test has a Connect of its own on a free port. The programs lie beside the test in the build folder; a test does
//! not build them. Outputs that people read are snapshots, one transcript per story, in which what differs from run to
//! run (ids, times, ports, folders) stands in brackets.
#![allow(clippy::unwrap_used)]

mod attestation_policies;
mod audit;
mod bindings;
mod command_line;
mod connect_serves;
mod connect_starts;
mod explanations;
mod federated_services;
mod federation_status;
mod federations;
mod getting_started;
mod helm_values;
mod join_tokens;
mod output;
mod partners;
mod postgres_server;
mod reaching_connect;
mod support;
mod trust_zones_and_clusters;
