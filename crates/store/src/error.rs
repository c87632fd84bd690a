//! What can go wrong between the control plane and its state.

use std::path::PathBuf;

/// Names a noun in the words of messages: `trust zone`, `attestation policy binding`.
pub type NounName = &'static str;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{noun} {id} does not exist")]
    NotFound { noun: NounName, id: String },
    /// `what` says which of the things that must be unique is taken: `name "eu"`, `trust domain a.test`.
    #[error("a {noun} with {what} exists already")]
    AlreadyExists { noun: NounName, what: String },
    #[error("{noun} {id} is still used by {by}")]
    InUse { noun: NounName, id: String, by: String },
    /// What it refers to was not looked up first, or belongs to another trust zone than it says.
    #[error("{noun} {id} refers to something that does not exist")]
    DanglingReference { noun: NounName, id: String },
    #[error("the page token is not one that this listing gave; start again without a page token")]
    PageToken,
    #[error("the page token was given for another filter; keep the filter while paging, or start again without a page token")]
    PageTokenOfOtherFilter,
    #[error("page size {0} is negative; leave it out, or use 1 to 1000")]
    PageSize(i32),
    #[error("an entity filter needs a type, an id, or both")]
    EmptyEntityFilter,
    /// A row that this program did not write, or a defect in this program.
    #[error("column {column} of a stored {noun} cannot be read: {reason}")]
    Unreadable { noun: NounName, column: &'static str, reason: String },
    #[error("the database is busy: {0}")]
    Busy(#[source] sqlx::Error),
    #[error("the disk of the database is full")]
    Full(#[source] sqlx::Error),
    #[error("the database failed")]
    Database(#[source] sqlx::Error),

    #[error("cannot open database {path}: {reason}; {remedy}")]
    Open { path: PathBuf, reason: String, remedy: &'static str },
    #[error("the disk of database {path} is full; free some space and start again: what was committed is still there")]
    NoSpace { path: PathBuf },
    #[error("{path} is not a SQLite database; name another file, or move it away to start with an empty one")]
    NotADatabase { path: PathBuf },
    #[error("{path} is a database of another program (application id {application_id:#010x}); name another file")]
    OtherApplication { path: PathBuf, application_id: u32 },
    #[error("database {path} is damaged ({reason}); restore it from a backup")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "database {path} was written by a newer version (schema {found}, this version knows schemas up to {known}); run that version, or restore a backup from before the upgrade"
    )]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    #[error(
        "database {path} was written by another build (its schema {version} is not the one that this build knows); run that build, or restore a backup that this one wrote"
    )]
    OtherSchema { path: PathBuf, version: i64 },
    #[error("cannot bring database {path} to this version's schema, and left it as it was; restore a backup, or report this")]
    Migration { path: PathBuf, source: sqlx::migrate::MigrateError },
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    pub fn not_found(noun: NounName, id: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound { noun, id: id.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_BUSY and its variants: another process holds the lock for longer than the busy timeout.
        const BUSY: i32 = 5;
        match primary_code(&error) {
            Some(BUSY) => Self::Busy(error),
            Some(FULL) => Self::Full(error),
            None if matches!(error, sqlx::Error::PoolTimedOut) => Self::Busy(error),
            _ => Self::Database(error),
        }
    }
}

/// SQLITE_FULL.
pub(crate) const FULL: i32 = 13;

/// SQLite's own code for what went wrong, without the detail in its upper bits (Result and Error Codes, section 1).
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}
