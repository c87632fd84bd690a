//! On real SPIRE: the suite that the trust-zone-server passes too, and the plane with SPIRE as the trust zones' servers.
#![allow(clippy::unwrap_used)]

mod conformance;
mod federation;
mod many;
mod outages;
mod rotation;
mod secrets;
mod support;
