//! What the statements of all nouns have in common.
//!
//! One text serves both databases: parameters are `$1`, `$2`, ..., and what is not in both dialects is not used.

use std::borrow::Cow;

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr, SqlStr, Sqlite};

use super::connection::{Connection, Row};
use crate::error::constrained_columns;
use crate::{NounName, Result, StoreError};

/// A parameter. The type goes with it also where there is no value, for Postgres asks for it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Boolean(bool),
    Bytes(Option<Vec<u8>>),
}

impl From<Option<&str>> for Value {
    /// Postgres keeps no NUL in a text, and SQLite is not to keep more: what an agent says must not fail where it is
    /// written down, nor what others said in the same transaction.
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(|text| text.replace('\0', "\u{fffd}")))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Some(text).into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.as_deref().into()
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl From<Option<&[u8]>> for Value {
    fn from(bytes: Option<&[u8]>) -> Self {
        Self::Bytes(bytes.map(<[u8]>::to_vec))
    }
}

/// A statement with its parameters. Its text is put together from texts of this crate alone.
pub(super) struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

macro_rules! query {
    ($statement:expr, $database:ty) => {{
        let Statement { sql, values } = $statement;
        values.into_iter().fold(sqlx::query::<$database>(sql_str(sql)), |query, value| match value {
            Value::Text(value) => query.bind(value),
            Value::Integer(value) => query.bind(value),
            Value::Boolean(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }};
}

impl Statement {
    pub(super) fn new(sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), values: Vec::new() }
    }

    /// Gives the next of the parameters that the text names.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(super) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// Appends a parameter together with its value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let name = format!("${}", self.values.len());
        self.sql.to_mut().push_str(&name);
        self
    }

    pub(super) fn sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        query!(self, Sqlite)
    }

    pub(super) fn postgres(self) -> Query<'static, Postgres, PgArguments> {
        query!(self, Postgres)
    }

    pub(super) async fn rows(self, connection: &mut Connection) -> Result<Vec<Row>> {
        Ok(connection.rows(self).await?)
    }

    pub(super) async fn row(self, connection: &mut Connection) -> Result<Option<Row>> {
        Ok(connection.row(self).await?)
    }

    /// The one number that it answers.
    pub(super) async fn number(self, connection: &mut Connection) -> Result<i64> {
        let row = connection.row(self).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(row.first()?)
    }

    /// Answers how many rows it concerned.
    pub(super) async fn execute(self, connection: &mut Connection) -> Result<u64> {
        Ok(connection.execute(self).await?)
    }
}

fn sql_str(sql: Cow<'static, str>) -> SqlStr {
    match sql {
        Cow::Borrowed(sql) => sql.into_sql_str(),
        Cow::Owned(sql) => AssertSqlSafe(sql).into_sql_str(),
    }
}

/// A SELECT whose conditions are those that were asked for.
pub(super) struct Select {
    statement: Statement,
    has_condition: bool,
}

impl Select {
    pub(super) fn new(select: &'static str) -> Self {
        Self { statement: Statement::new(select), has_condition: false }
    }

    /// Begins one more condition, all of which must hold.
    pub(super) fn and(&mut self) -> &mut Statement {
        let word = if self.has_condition { " AND " } else { " WHERE " };
        self.has_condition = true;
        self.statement.push(word)
    }

    pub(super) fn equal<T: AsRef<str>>(mut self, column: &'static str, value: Option<&T>) -> Self {
        if let Some(value) = value {
            self.and().push(column).push(" = ").push_bind(value.as_ref());
        }
        self
    }

    /// Appends what comes after the conditions.
    pub(super) fn then(mut self, sql: &'static str) -> Self {
        self.statement.push(sql);
        self
    }

    pub(super) fn statement(&mut self) -> &mut Statement {
        &mut self.statement
    }

    pub(super) async fn rows(self, connection: &mut Connection) -> Result<Vec<Row>> {
        self.statement.rows(connection).await
    }
}

/// Whether a query for one column with text parameters finds anything.
pub(super) async fn find(connection: &mut Connection, sql: &'static str, values: &[&str]) -> Result<Option<String>> {
    let statement = values.iter().fold(Statement::new(sql), |statement, value| statement.bind(*value));
    Ok(statement.row(connection).await?.map(|row| row.first()).transpose()?)
}

/// Refuses to write what must be unique and is taken, in words that say what is taken. The constraints of the schema say
/// the same once more, without the words.
pub(super) async fn refuse_taken(connection: &mut Connection, noun: NounName, checks: &[(&'static str, &[&str], String)]) -> Result<()> {
    for (sql, values, what) in checks {
        if find(connection, sql, values).await?.is_some() {
            return Err(StoreError::AlreadyExists { noun, what: what.clone() });
        }
    }
    Ok(())
}

/// Runs an INSERT, an UPDATE or a DELETE; answers how many rows it concerned.
pub(super) async fn write(connection: &mut Connection, statement: Statement, noun: NounName, id: &str) -> Result<u64> {
    match connection.execute(statement).await {
        Ok(rows) => Ok(rows),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::AlreadyExists { noun, what: format!("the same {}", constrained_columns(error.as_ref())) })
        }
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::DanglingReference { noun, id: id.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs an UPDATE or a DELETE of one row that must be there.
pub(super) async fn write_existing(connection: &mut Connection, statement: Statement, noun: NounName, id: &str) -> Result<()> {
    match write(connection, statement, noun, id).await? {
        0 => Err(StoreError::not_found(noun, id)),
        _ => Ok(()),
    }
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
    fn a_word_is_the_serde_name() {
        assert_eq!(word(cofide_core::EventKind::TrustZoneCreation), "trust_zone_creation");
        assert_eq!(word(cofide_core::Outcome::Denied), "denied");
    }
}
