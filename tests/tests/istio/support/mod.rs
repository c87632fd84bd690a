//! Two meshes of two trust zones, each with an executor of the agent, and applications.

mod applications;
mod mesh;
mod zone;

pub(crate) use applications::{Application, Client, Heard, http, line};
pub(crate) use mesh::{Agent, gateway, import, istio_mtls, mtls};
pub(crate) use zone::{Identity, Zone, federate};
