//! The base of everything that is tested on Kubernetes and Istio: that clusters start and answer, and that istiod and stock
//! Envoys do what objects say that were written by hand. Where one of these fails, failures of the agent say little.
//!
//! They need root and Go, and build the real programs where they are missing: a quarter of an hour, once.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod cluster;
mod federated_service;
mod gateway;
mod sidecar;
mod support;
