//! The world that the tests share, and what they put into it.

mod forwarder;
mod stage;

pub(crate) use cofide_testkit::kubernetes::{
    Client, DIRECT, EXPORTED, PATIENCE, SECOND, Server, Site, Speaks, World, attempts, federated_service,
};
pub(crate) use forwarder::Forwarder;
pub(crate) use stage::Stage;
