//! Parts of the agent against the real thing at the other end of a socket.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod follower;
mod ignorance;
mod keeper;
mod mesh_secrets;
mod register;
mod registrar;
mod spire_server;
mod start;
