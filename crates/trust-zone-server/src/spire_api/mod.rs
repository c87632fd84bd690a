//! The part of SPIRE's server APIs that manages entries, bundles, federation relationships and authorities.
//!
//! Whoever drives SPIRE through its admin socket drives this server in the same way: the same messages, statuses and
//! orders of results. A batch is applied as a whole, and each item has a result of its own.

mod bundle;
mod entry;
mod entry_filter;
mod entry_proto;
mod local_authority;
mod paging;
mod trust_domain;

use cofide_api::spire::server::bundle::bundle_server::BundleServer;
use cofide_api::spire::server::entry::entry_server::EntryServer;
use cofide_api::spire::server::localauthority::local_authority_server::LocalAuthorityServer;
use cofide_api::spire::server::trustdomain::trust_domain_server::TrustDomainServer;
use cofide_api::spire::types::Status as ItemStatus;
use cofide_core::TrustDomain;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::datastore::{ContentError, Datastore, DatastoreError};
use crate::federation::Federation;

pub fn entry_service(datastore: Datastore) -> EntryServer<entry::Service> {
    EntryServer::new(entry::Service { datastore })
}

pub fn bundle_service(datastore: Datastore, authority: Authority) -> BundleServer<bundle::Service> {
    BundleServer::new(bundle::Service { datastore, authority })
}

pub fn trust_domain_service(datastore: Datastore, federation: Federation) -> TrustDomainServer<trust_domain::Service> {
    TrustDomainServer::new(trust_domain::Service { datastore, federation })
}

pub fn local_authority_service(authority: Authority) -> LocalAuthorityServer<local_authority::Service> {
    LocalAuthorityServer::new(local_authority::Service { authority })
}

/// Why one item of a batch failed.
#[derive(Debug)]
struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    fn invalid(message: impl Into<String>) -> Self {
        Self { code: Code::InvalidArgument, message: message.into() }
    }

    /// What the content refused, where SPIRE does not tell one reason from another.
    fn internal(attempt: &str, error: &ContentError) -> Self {
        Self { code: Code::Internal, message: format!("{attempt}: {error}") }
    }

    /// What the content refused, in the words and with the code of SPIRE.
    fn of(attempt: &str, error: &ContentError) -> Self {
        let code = match error {
            // Not the code that one would choose, but the one that clients of SPIRE know.
            ContentError::NoBundle(_) => Code::Internal,
            ContentError::StaticEntry(_) | ContentError::BundleInUse(_) => Code::FailedPrecondition,
            ContentError::IdTaken(_) => Code::AlreadyExists,
            ContentError::NotFound(_) | ContentError::AlreadyExists(_) => {
                let code = if matches!(error, ContentError::NotFound(_)) { Code::NotFound } else { Code::AlreadyExists };
                return Self { code, message: error.to_string() };
            }
        };
        Self { code, message: format!("{attempt}: {error}") }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.message)
    }
}

impl From<Failure> for ItemStatus {
    fn from(failure: Failure) -> Self {
        tracing::info!(code = ?failure.code, message = failure.message, "an item of a batch failed");
        Self { code: failure.code as i32, message: failure.message }
    }
}

fn ok() -> ItemStatus {
    ItemStatus { code: Code::Ok as i32, message: "OK".into() }
}

/// Splits an item's outcome into what a result message holds.
fn parts<T>(outcome: Result<T, Failure>) -> (Option<ItemStatus>, Option<T>) {
    match outcome {
        Ok(value) => (Some(ok()), Some(value)),
        Err(failure) => (Some(failure.into()), None),
    }
}

impl From<DatastoreError> for Status {
    fn from(error: DatastoreError) -> Self {
        tracing::error!(%error, "cannot keep a change");
        Self::internal(error.to_string())
    }
}

/// A trust domain by name or by its SPIFFE ID, as SPIRE takes it.
fn trust_domain_argument(text: &str) -> Result<TrustDomain, String> {
    let name = text.strip_prefix("spiffe://").unwrap_or(text);
    cofide_core::parse_trust_domain(name).map_err(|error| format!("trust domain {text:?} {error}"))
}
