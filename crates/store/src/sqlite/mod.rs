//! The traits on SQLite.
//!
//! One connection writes, several read: with a write-ahead log neither waits for the other, and writers queue here, in
//! order, where waiting costs nothing, instead of polling for the database's lock.

mod agent;
mod attestation_policy;
mod attestation_policy_binding;
mod audit;
mod change;
mod cluster;
mod columns;
mod documents;
mod federated_service;
mod federation;
mod join_token;
mod open;
mod organization;
mod receipt;
mod statement;
mod store;
mod transaction;
mod trust_zone;

pub use store::Store;
pub use transaction::{ReadTransaction, WriteTransaction};
