//! The traits in SQL, once for both databases.

mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod bundle_package;
mod bundle_reading;
mod change;
mod cluster;
mod columns;
mod connection;
mod control_plane_secret;
mod documents;
mod federated_service;
mod federation;
mod join_token;
mod organization;
mod receipt;
mod replica;
mod statement;
mod transaction;
mod trust_zone;

pub(crate) use connection::{Connection, answered};
pub use transaction::{ReadTransaction, WriteTransaction};
