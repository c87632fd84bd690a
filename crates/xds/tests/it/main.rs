//! The server as its clients see it: real gRPC over loopback sockets.

mod client;
mod delta;
mod lifecycle;
mod limits;
mod order;
mod receipts;
mod services;
mod state_of_the_world;
mod support;
