//! Reading a row into the types of the nouns.

use std::fmt::Display;
use std::str::FromStr;

use cofide_core::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::connection::Row;
use crate::{NounName, Result, StoreError};

/// What both databases keep in the same way.
pub(super) trait Plain<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>> Plain<'r> for T {}

impl Row {
    fn get<'r, T: Plain<'r>>(&'r self, column: &'static str) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// The value of a row that has one column.
    pub(super) fn first<'r, T: Plain<'r>>(&'r self) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(0),
            Self::Postgres(row) => row.try_get(0),
        }
    }
}

/// A row of a noun's table. What cannot be read is an error that names noun and column.
pub(super) struct Columns<'r> {
    noun: NounName,
    row: &'r Row,
}

impl<'r> Columns<'r> {
    pub(super) fn of(noun: NounName, row: &'r Row) -> Self {
        Self { noun, row }
    }

    fn unreadable(&self, column: &'static str, reason: impl Display) -> StoreError {
        StoreError::Unreadable { noun: self.noun, column, reason: reason.to_string() }
    }

    /// A value as the database keeps it.
    pub(super) fn plain<T: Plain<'r>>(&self, column: &'static str) -> Result<T> {
        self.row.get(column).map_err(|error| self.unreadable(column, error))
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T> {
        self.plain::<&str>(column)?.parse().map_err(|error: T::Err| self.unreadable(column, error))
    }

    pub(super) fn parsed_if_any<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<&str> = self.plain(column)?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.unreadable(column, error))).transpose()
    }

    /// A value that is written as its serde form.
    pub(super) fn document<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(self.plain(column)?).map_err(|error| self.unreadable(column, error))
    }

    pub(super) fn document_if_any<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<&str> = self.plain(column)?;
        text.map(serde_json::from_str).transpose().map_err(|error| self.unreadable(column, error))
    }

    /// A unit variant that is written as its serde name.
    pub(super) fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_value(self.plain::<String>(column)?.into()).map_err(|error| self.unreadable(column, error))
    }

    pub(super) fn timestamp(&self, column: &'static str) -> Result<Timestamp> {
        self.plain(column).map(Timestamp)
    }

    /// Puts a value through a conversion that may refuse it.
    pub(super) fn converted<T, E: Display>(&self, column: &'static str, result: Result<T, E>) -> Result<T> {
        result.map_err(|error| self.unreadable(column, error))
    }
}
