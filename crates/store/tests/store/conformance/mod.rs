//! What every database does alike. Written against the traits alone.

pub(crate) mod audit;
pub(crate) mod bundle_packages;
pub(crate) mod bundle_readings;
pub(crate) mod changes;
pub(crate) mod join_tokens;
pub(crate) mod nouns;
pub(crate) mod receipts;
pub(crate) mod transactions;
