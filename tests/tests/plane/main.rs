//! The whole plane in one process: Connect, trust-zone-servers and agents, by their own `run`, over real sockets.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod identities;
mod outage;
mod services;
mod world;
