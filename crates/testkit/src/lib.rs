//! What the tests of the whole are made of.
//!
//! - [`plane`]: Connect, trust-zone-servers and agents in one process, on ports and sockets of their own; each can be stopped,
//!   ended without warning, and started again
//! - [`workload`]: an application of the plane, with what the Workload API gives it
//! - [`authorities`]: the rotation of a trust zone's authority
//! - [`envoy`]: a real Envoy, its admin page, and its log where something fails
//! - [`postgres`]: a real PostgreSQL server, for Connect's other database
//! - [`lab`]: Kubernetes clusters and Istio, as processes in network namespaces
//! - [`kubernetes`]: three such clusters, with agents, gateways, servers and clients
//! - [`page`]: a page with commands, followed word by word
//! - [`spire_api`]: SPIRE's server APIs as tests call them
//! - [`spire`]: a real SPIRE server and agent, and [`spire_conformance`]: the tests that it and the trust-zone-server both pass
//! - [`wait`]: conditions with deadlines, in the place of sleeps

pub mod authorities;
pub mod envoy;
pub mod kubernetes;
pub mod lab;
pub mod loopback;
pub mod page;
pub mod plane;
pub mod postgres;
mod resolver;
mod running;
pub mod spire;
pub mod spire_api;
pub mod spire_conformance;
pub mod wait;
pub mod workload;
mod zone;
