//! What commands show, one file per noun: a struct from which the table, the JSON and the YAML all come.

pub mod agent;
pub mod attestation_policy;
pub mod attestation_policy_binding;
pub mod audit;
pub mod cluster;
pub mod explain;
pub mod federated_service;
pub mod federation;
pub mod federation_status;
pub mod trust_zone;

#[cfg(test)]
mod tests;

use cofide_api::convert::from_timestamp;

use crate::time::format_moment;

/// What a table shows where there is nothing.
const NOTHING: &str = "N/A";

fn or_nothing(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(NOTHING).to_owned()
}

fn joined<T: AsRef<str>>(list: &[T]) -> String {
    list.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// The time of a message, in RFC 3339.
macro_rules! moment {
    ($time:expr) => {
        $time.as_ref().map(|time| $crate::view::format($crate::view::from(time)))
    };
}
use moment;

use {format_moment as format, from_timestamp as from};
