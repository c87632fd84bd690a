//! The agent in clusters: real API servers, a real Connect, real SPIFFE servers, and Services, endpoints and gateways as
//! objects. No traffic flows here; what Istio and Envoys make of it is tested beside.
//!
//! They need root, for the network namespaces in which clusters run.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod availability;
mod imports;
mod many;
mod memory;
mod mesh;
mod pressure;
mod services;
mod support;
