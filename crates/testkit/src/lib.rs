//! What the tests of the whole are made of.
//!
//! - [`plane`]: Connect, trust-zone-servers and agents in one process, on ports and sockets of their own
//! - [`envoy`]: a real Envoy, its admin page, and its log where something fails
//! - [`wait`]: conditions with deadlines, in the place of sleeps

pub mod envoy;
pub mod plane;
pub mod wait;
