//! What a rule answers when it refuses, and how that reads on the wire.
//!
//! | variant | gRPC status | who can mend it |
//! |---|---|---|
//! | `NotFound` | NOT_FOUND | the caller: the object is gone, or was never there |
//! | `Invalid` | INVALID_ARGUMENT | the caller: the field named in the message |
//! | `AlreadyExists` | ALREADY_EXISTS | the caller: another object has the name or the id |
//! | `FailedPrecondition` | FAILED_PRECONDITION | the caller, by another call first, which the message names |
//! | `Unauthenticated` | UNAUTHENTICATED | the caller: a credential is missing, unknown or expired |
//! | `PermissionDenied` | PERMISSION_DENIED | nobody but an administrator |
//! | `ResourceExhausted` | RESOURCE_EXHAUSTED | the caller, by coming back later; `grpc-retry-pushback-ms` says when |
//! | `Unavailable` | UNAVAILABLE | time, or the operator: the database is busy or away, or its disk is full |
//! | `Internal` | INTERNAL | the operator: the message holds an id, the log has the rest under it |

use std::fmt::Display;
use std::time::Duration;

use cofide_api::convert::FieldError;
use cofide_connect_client::RETRY_PUSHBACK;
use cofide_runtime::Chain;
use cofide_store::StoreError;
use tonic::{Code, Status};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{noun} {id} not found")]
    NotFound { noun: &'static str, id: String },
    #[error(transparent)]
    Invalid(#[from] FieldError),
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    FailedPrecondition(String),
    #[error("{0}")]
    Unauthenticated(String),
    #[error("{0}")]
    PermissionDenied(String),
    #[error("{reason}")]
    ResourceExhausted { reason: String, retry_after: Duration },
    #[error("{0}")]
    Unavailable(String),
    #[error("{context}")]
    Internal { context: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Error {
    /// A field of the request that is wrong.
    pub fn invalid(path: impl Into<String>, reason: impl Display) -> Self {
        Self::Invalid(FieldError { path: path.into(), reason: reason.to_string() })
    }

    /// A field of the request that names an object which does not exist.
    pub fn unknown_reference(path: impl Into<String>, noun: &str, id: &str) -> Self {
        Self::invalid(path, format_args!("there is no {noun} with id {id}"))
    }

    pub fn not_found(noun: &'static str, id: impl Display) -> Self {
        Self::NotFound { noun, id: id.to_string() }
    }

    pub fn internal(context: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { context, source: source.into() }
    }

    /// Whether this is about who asks, and not about what is asked for or what went wrong.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthenticated(_) | Self::PermissionDenied(_))
    }

    fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NotFound,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::AlreadyExists(_) => Code::AlreadyExists,
            Self::FailedPrecondition(_) => Code::FailedPrecondition,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::ResourceExhausted { .. } => Code::ResourceExhausted,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Internal { .. } => Code::Internal,
        }
    }
}

/// The rules look before they write, so the store's own refusals are seldom seen; they hold when two calls race.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { noun, id } => Self::NotFound { noun, id },
            StoreError::AlreadyExists { .. } => Self::AlreadyExists(error.to_string()),
            StoreError::InUse { .. } => Self::FailedPrecondition(error.to_string()),
            StoreError::PageToken | StoreError::PageTokenOfOtherFilter => Self::invalid("pagination.page_token", error),
            StoreError::PageSize(_) => Self::invalid("pagination.page_size", error),
            StoreError::EmptyEntityFilter => Self::invalid("filter.entities", error),
            StoreError::Busy(_) => Self::Unavailable("the database is busy; try again".into()),
            StoreError::Full(_) => Self::Unavailable(
                "the disk of cofide-connect's database is full, so nothing can be changed; nothing was; free some space and try again"
                    .into(),
            ),
            StoreError::Away(reason) => Self::Unavailable(format!(
                "the database of cofide-connect is away ({reason}); agents and clients go on with what they have; try again"
            )),
            error => Self::internal("the database failed", error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::ResourceExhausted { retry_after, .. } = &error {
            let mut status = Self::new(error.code(), error.to_string());
            let pushback = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            status.metadata_mut().insert(RETRY_PUSHBACK, pushback.into());
            return status;
        }
        let Error::Internal { context, source } = &error else { return Self::new(error.code(), error.to_string()) };
        let id = format!("{:08x}", rand::random::<u32>());
        tracing::error!(id, error = %Chain(source.as_ref()), "{context}");
        Self::internal(format!("internal error {id}; the log of cofide-connect has the details under this id"))
    }
}
