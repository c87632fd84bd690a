//! Parts of the agent against the real thing at the other end of a socket.

mod follower;
mod spire_server;
mod start;
