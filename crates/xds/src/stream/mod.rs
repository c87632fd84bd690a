//! One stream: a pure state machine, its two dialects, and the loop that drives it.

mod connection;
mod delta;
mod limits;
mod session;
mod sotw;
mod subscription;

#[cfg(test)]
mod properties;

pub(crate) use connection::{Settings, fetch, serve};
pub(crate) use delta::Delta;
pub use limits::Limits;
pub(crate) use sotw::StateOfTheWorld;
