//! The server as its clients see it: real gRPC over loopback sockets.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod client;
mod delta;
mod lifecycle;
mod limits;
mod order;
mod receipts;
mod services;
mod state_of_the_world;
mod support;
