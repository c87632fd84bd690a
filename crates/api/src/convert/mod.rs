//! Messages to and from the nouns, one file per noun.
//!
//! From a message to a noun a conversion may fail, and says at which field; the other way it cannot fail. What a client
//! may say when it creates or updates an object is a `Draft`: every field is checked, but the fields that Connect fills
//! in (id, organization, times) are absent or optional.
//!
//! An optional text that is present but empty counts as absent: clients in other languages send either.

pub mod agent;
pub mod attestation_policy;
pub mod attestation_policy_binding;
pub mod audit;
pub mod bundle;
pub mod bundle_reading;
pub mod cluster;
pub mod explain;
pub mod federated_service;
pub mod federation;
pub mod gateway;
pub mod organization;
pub mod plan;
pub mod plan_resource;
pub mod receipt;
pub mod trust_zone;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::str::FromStr;

use cofide_core::{Timestamp, TrustDomain, parse_trust_domain};
use tonic::codegen::http::Uri;

/// What is wrong with one field of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FieldError {
    /// From the noun down, as in `federated_service.gateway_specs[1].ip`.
    pub path: String,
    pub reason: String,
}

impl FieldError {
    pub fn new(path: impl Into<String>, reason: impl Display) -> Self {
        Self { path: path.into(), reason: reason.to_string() }
    }

    fn missing(path: &str) -> Self {
        Self::new(path, "must be set")
    }

    /// The same error, seen from one level further out.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

/// Says at which field a conversion failed.
trait At<T> {
    fn at(self, field: &str) -> Result<T, FieldError>;
}

impl<T> At<T> for Result<T, FieldError> {
    fn at(self, field: &str) -> Result<T, FieldError> {
        self.map_err(|error| error.within(field))
    }
}

fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, FieldError> {
    text.parse().map_err(|error| FieldError::new(field, error))
}

fn optional_text(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn required<T: FromStr<Err: Display>>(field: &str, text: Option<&str>) -> Result<T, FieldError> {
    parse(field, optional_text(text).ok_or_else(|| FieldError::missing(field))?)
}

fn optional<T: FromStr<Err: Display>>(field: &str, text: Option<&str>) -> Result<Option<T>, FieldError> {
    optional_text(text).map(|text| parse(field, text)).transpose()
}

fn trust_domain(field: &str, text: &str) -> Result<TrustDomain, FieldError> {
    parse_trust_domain(text).map_err(|error| FieldError::new(field, error))
}

/// Converts each element; an error names its place in the list.
fn each<T, U>(field: &str, list: &[T], convert: impl Fn(&T) -> Result<U, FieldError>) -> Result<Vec<U>, FieldError> {
    list.iter().enumerate().map(|(index, item)| convert(item).map_err(|error| error.within(&format!("{field}[{index}]")))).collect()
}

/// The value of an enum field; `None` for 0, which says nothing.
fn enumeration<T: TryFrom<i32> + Default + PartialEq>(field: &str, value: i32) -> Result<Option<T>, FieldError> {
    match T::try_from(value) {
        Ok(unspecified) if unspecified == T::default() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(FieldError::new(field, format!("{value} is not a known value"))),
    }
}

/// A URL that is fetched over TLS.
fn https_url(field: &str, text: &str) -> Result<String, FieldError> {
    let uri: Uri = parse(field, text)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(FieldError::new(field, "must be a URL that begins with https:// and names a host")),
    }
}

/// To the wire, which has nanoseconds.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos: i32::try_from(nanos).expect("below a thousand million") }
}

/// From the wire. What is finer than a microsecond is cut off; what is out of range becomes the nearest that is in it.
pub fn from_timestamp(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp(time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos).div_euclid(1_000)))
}

fn required_timestamp(field: &str, time: Option<&prost_types::Timestamp>) -> Result<Timestamp, FieldError> {
    time.map(from_timestamp).ok_or_else(|| FieldError::missing(field))
}

/// An owned noun converts as a borrowed one does.
macro_rules! also_owned {
    ($($noun:ty => $message:ty),* $(,)?) => {$(
        impl From<$noun> for $message {
            fn from(noun: $noun) -> Self {
                Self::from(&noun)
            }
        }
    )*};
}
use also_owned;
