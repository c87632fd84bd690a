//! The parts that the tests put together.

mod applications;
mod pod;
mod world;
mod zone;

pub(crate) use applications::{Connection, Server, Tls, connect_plain, connect_tls, listen_first};
pub(crate) use pod::Pod;
pub(crate) use world::{Agent, POOL, gateway_at, import, route};
pub(crate) use zone::Zone;
