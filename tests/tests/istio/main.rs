//! Istio objects that the agent writes, on the real parts: `istioctl` judges them, an API server keeps them, istiod makes
//! configurations of them, and stock Envoys carry connections over those.
//!
//! They need root and Go, and build the real programs where they are missing.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod ownership;
mod support;
mod traffic;
mod validity;
