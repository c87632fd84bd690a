//! What every database does alike. Written against the traits alone.

pub(crate) mod agents;
pub(crate) mod attestation_policies;
pub(crate) mod audit;
pub(crate) mod bundle_packages;
pub(crate) mod bundle_readings;
pub(crate) mod changes;
pub(crate) mod clusters;
pub(crate) mod control_plane_secrets;
pub(crate) mod federated_services;
pub(crate) mod federations;
pub(crate) mod join_tokens;
pub(crate) mod nouns;
pub(crate) mod organizations;
pub(crate) mod receipts;
pub(crate) mod replicas;
pub(crate) mod transactions;
pub(crate) mod trust_zones;
