//! What the statements of all nouns have in common.

use serde::Serialize;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::{NounName, Result, StoreError};

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A SELECT whose conditions are those that were asked for.
pub(super) struct Select {
    query: QueryBuilder<Sqlite>,
    has_condition: bool,
}

impl Select {
    pub(super) fn new(select: &'static str) -> Self {
        Self { query: QueryBuilder::new(select), has_condition: false }
    }

    /// Begins one more condition, all of which must hold.
    pub(super) fn and(&mut self) -> &mut QueryBuilder<Sqlite> {
        let word = if self.has_condition { " AND " } else { " WHERE " };
        self.has_condition = true;
        self.query.push(word)
    }

    pub(super) fn equal<T: AsRef<str>>(mut self, column: &'static str, value: Option<&T>) -> Self {
        if let Some(value) = value {
            self.and().push(column).push(" = ").push_bind(value.as_ref());
        }
        self
    }

    /// Appends what comes after the conditions.
    pub(super) fn then(mut self, sql: &'static str) -> Self {
        self.query.push(sql);
        self
    }

    pub(super) fn query(&mut self) -> &mut QueryBuilder<Sqlite> {
        &mut self.query
    }

    pub(super) async fn rows(mut self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>> {
        Ok(self.query.build().fetch_all(connection).await?)
    }
}

/// Whether a query for one column with text parameters finds anything.
pub(super) async fn find(connection: &mut SqliteConnection, sql: &'static str, values: &[&str]) -> Result<Option<String>> {
    let mut query = sqlx::query_scalar(sql);
    for value in values {
        query = query.bind(*value);
    }
    Ok(query.fetch_optional(connection).await?)
}

/// Refuses to write what must be unique and is taken, in words that say what is taken. The constraints of the schema say
/// the same once more, without the words.
pub(super) async fn refuse_taken(
    connection: &mut SqliteConnection,
    noun: NounName,
    checks: &[(&'static str, &[&str], String)],
) -> Result<()> {
    for (sql, values, what) in checks {
        if find(&mut *connection, sql, values).await?.is_some() {
            return Err(StoreError::AlreadyExists { noun, what: what.clone() });
        }
    }
    Ok(())
}

/// Runs an INSERT, an UPDATE or a DELETE; answers how many rows it concerned.
pub(super) async fn write(connection: &mut SqliteConnection, statement: Statement<'_>, noun: NounName, id: &str) -> Result<u64> {
    match statement.execute(connection).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::AlreadyExists { noun, what: format!("the same {}", constrained_columns(error.message())) })
        }
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::DanglingReference { noun, id: id.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs an UPDATE or a DELETE of one row that must be there.
pub(super) async fn write_existing(connection: &mut SqliteConnection, statement: Statement<'_>, noun: NounName, id: &str) -> Result<()> {
    match write(connection, statement, noun, id).await? {
        0 => Err(StoreError::not_found(noun, id)),
        _ => Ok(()),
    }
}

/// `UNIQUE constraint failed: cluster.trust_zone_id, cluster.name` -> `trust_zone_id, name`.
fn constrained_columns(message: &str) -> String {
    let columns = message.rsplit(": ").next().unwrap_or(message).split(", ");
    columns.map(|column| column.rsplit('.').next().unwrap_or(column)).collect::<Vec<_>>().join(", ")
}

/// The serde form, which [`Columns::document`](super::columns::Columns::document) reads.
pub(super) fn document<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("documents hold only texts, numbers, lists and maps with text keys")
}

/// The serde name of a unit variant, which [`Columns::word`](super::columns::Columns::word) reads.
pub(super) fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("a unit variant is written as its name, not as {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_named_by_its_columns() {
        assert_eq!(constrained_columns("UNIQUE constraint failed: cluster.trust_zone_id, cluster.name"), "trust_zone_id, name");
        assert_eq!(constrained_columns("something else"), "something else");
    }

    #[test]
    fn a_word_is_the_serde_name() {
        assert_eq!(word(cofide_core::EventKind::TrustZoneCreation), "trust_zone_creation");
        assert_eq!(word(cofide_core::Outcome::Denied), "denied");
    }
}
