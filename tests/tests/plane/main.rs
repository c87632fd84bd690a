//! The whole plane in one process: Connect, trust-zone-servers and agents, by their own `run`, over real sockets.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod cluster_made_anew;
mod directions;
mod identities;
mod left_alone;
mod lost_memory;
mod outage;
mod postgres_server;
mod rotation;
mod services;
mod sudden_end;
mod world;
