//! What can go wrong between the control plane and its state.

use std::path::PathBuf;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

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
    /// The server of the database cannot be used, for a reason that passes. A commit that fails with it may have been made:
    /// the answer may be what got lost.
    #[error("the database is away ({0})")]
    Away(String),
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
    #[error("cannot use database {database}: {reason}; {remedy}")]
    Connect { database: String, reason: String, remedy: &'static str },
    #[error("database {database} holds the tables of another program; name an empty one, or a schema of its own (options[search_path])")]
    OtherProgram { database: String },
    #[error(
        "database {database} was written by a newer version (schema {found}, this version knows schemas up to {known}); run that version, or restore a backup from before the upgrade"
    )]
    NewerSchema { database: String, found: i64, known: i64 },
    #[error(
        "database {database} was written by another build (its schema {version} is not the one that this build knows); run that build, or restore a backup that this one wrote"
    )]
    OtherSchema { database: String, version: i64 },
    #[error("cannot bring database {database} to this version's schema, and left it as it was; restore a backup, or report this")]
    Migration { database: String, source: sqlx::migrate::MigrateError },
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
        match (primary_code(&error), sql_state(&error).as_deref()) {
            (Some(BUSY), _) => Self::Busy(error),
            (Some(FULL), _) | (_, Some("53100")) => Self::Full(error),
            // A lock that another holds for too long, and what a deadlock or an outdated plan costs: the next attempt works.
            (_, Some("55P03" | "40001" | "40P01")) => Self::Busy(error),
            _ if has_outdated_plan(&error) => Self::Busy(error),
            (_, Some(state)) if is_away(state) => Self::Away(reason(&error)),
            _ => match &error {
                sqlx::Error::PoolTimedOut => Self::Busy(error),
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => Self::Away(reason(&error)),
                _ => Self::Database(error),
            },
        }
    }
}

/// SQLITE_FULL.
pub(crate) const FULL: i32 = 13;

/// SQLite's own code for what went wrong, without the detail in its upper bits (Result and Error Codes, section 1).
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

fn postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// The SQLSTATE of an error of a PostgreSQL server (PostgreSQL, appendix A).
pub(crate) fn sql_state(error: &sqlx::Error) -> Option<String> {
    Some(postgres(error)?.code().to_owned())
}

/// Connection exceptions, refused credentials (a password is changed at the server first), want of resources, a server
/// that stops or starts, and one that became a standby.
fn is_away(state: &str) -> bool {
    ["08", "28", "53", "57P"].iter().any(|class| state.starts_with(class)) || ["25006", "25P03", "3D000"].contains(&state)
}

/// Another replica has changed a table for which this connection has prepared a statement.
pub(crate) fn has_outdated_plan(error: &sqlx::Error) -> bool {
    // The code is that of anything that is not supported.
    postgres(error).is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// What went wrong, in the words of whoever met it.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) if is_of_tls(error) => format!("TLS: {error}"),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::PoolClosed => "this program is stopping".to_owned(),
        _ => error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned()),
    }
}

/// What the driver's TLS refuses it tells as an I/O error of this kind.
pub(crate) fn is_of_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

/// The columns of a constraint that is violated.
pub(crate) fn constrained_columns(error: &dyn DatabaseError) -> String {
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => columns_of_key(error.detail().unwrap_or_default()),
        None => columns_of_message(error.message()),
    }
}

/// `UNIQUE constraint failed: cluster.trust_zone_id, cluster.name` -> `trust_zone_id, name`, as SQLite says it.
fn columns_of_message(message: &str) -> String {
    let columns = message.rsplit(": ").next().unwrap_or(message).split(", ");
    columns.map(|column| column.rsplit('.').next().unwrap_or(column)).collect::<Vec<_>>().join(", ")
}

/// `Key (trust_zone_id, name)=(a, one) already exists.` -> `trust_zone_id, name`, as Postgres says it in any language.
fn columns_of_key(detail: &str) -> String {
    let columns = detail.split_once(")=(").and_then(|(before, _)| before.split_once('('));
    columns.map_or(detail, |(_, columns)| columns).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_named_by_its_columns() {
        assert_eq!(columns_of_message("UNIQUE constraint failed: cluster.trust_zone_id, cluster.name"), "trust_zone_id, name");
        assert_eq!(columns_of_message("something else"), "something else");
        assert_eq!(columns_of_key("Key (trust_zone_id, name)=(a, (b)=(c)) already exists."), "trust_zone_id, name");
        assert_eq!(columns_of_key("Schlüssel »(name)=(a)« existiert bereits."), "name");
        assert_eq!(columns_of_key("something else"), "something else");
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for state in ["08006", "28P01", "53300", "57P01", "57P03", "25006", "3D000"] {
            assert!(is_away(state), "{state}");
        }
        for state in ["23505", "42P01", "57014", "22021"] {
            assert!(!is_away(state), "{state}");
        }
    }
}
