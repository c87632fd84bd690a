//! The agent with spire-controller-manager: a real API server with its definitions, the controller itself, a real SPIRE server,
//! and nodes and pods as objects.
//!
//! They need root, for the network namespaces in which clusters run.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod definitions;
mod federations;
mod identities;
mod ownership;
mod support;
