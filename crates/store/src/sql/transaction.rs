//! Reading and writing transactions: one type in two states, so that what reads is written once.

use async_trait::async_trait;
use cofide_core::{AuditEvent, Change, Revision};
use tokio::sync::watch;

use super::connection::Connection;
use super::statement::Statement;
use super::{audit, change};
use crate::postgres::ANNOUNCE;
use crate::{Result, Writer};

/// Sees the state as it was when it began.
pub type ReadTransaction = Transaction<ReadOnly>;

/// Holds the database's one right to write, until it is committed or dropped.
pub type WriteTransaction = Transaction<ReadWrite>;

#[derive(Debug)]
pub struct Transaction<Access> {
    inner: Connection,
    access: Access,
}

#[derive(Debug)]
pub struct ReadOnly(());

#[derive(Debug)]
pub struct ReadWrite {
    revisions: watch::Sender<Revision>,
}

impl<Access> Transaction<Access> {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.inner
    }
}

impl ReadTransaction {
    /// In a transaction of the database that has only just begun.
    pub(crate) async fn begun(mut inner: Connection) -> Result<Self> {
        // Either database fixes what a transaction sees at its first read.
        change::revision(&mut inner).await?;
        Ok(Self { inner, access: ReadOnly(()) })
    }
}

impl WriteTransaction {
    /// In a transaction of the database that has only just begun.
    pub(crate) async fn begun(mut inner: Connection, revisions: watch::Sender<Revision>) -> Result<Self> {
        // SQLite lets one connection begin to write, Postgres any number. Whoever holds the counter's row is the one, also
        // among replicas, and as each statement sees what is committed by then, it sees what the one before has done.
        if matches!(inner, Connection::Postgres(_)) {
            Statement::new("SELECT value FROM revision FOR UPDATE").number(&mut inner).await?;
        }
        Ok(Self { inner, access: ReadWrite { revisions } })
    }

    /// See [`Writer::commit`].
    pub async fn commit(mut self, change: Option<Change>, events: Vec<AuditEvent>) -> Result<Revision> {
        let is_change = change.is_some();
        let revision = match change {
            Some(change) => change::append(self.connection(), &change).await?,
            None => change::revision(self.connection()).await?,
        };
        for event in events {
            audit::append(self.connection(), &event).await?;
        }
        if is_change && matches!(self.inner, Connection::Postgres(_)) {
            // Told to the other replicas at the commit, and not without it.
            Statement::new(ANNOUNCE).row(self.connection()).await?;
        }
        self.inner.commit().await?;
        self.access.revisions.send_if_modified(|newest| {
            let is_newer = revision > *newest;
            *newest = revision.max(*newest);
            is_newer
        });
        Ok(revision)
    }
}

#[async_trait]
impl Writer for WriteTransaction {
    async fn commit(self, change: Option<Change>, events: Vec<AuditEvent>) -> Result<Revision> {
        self.commit(change, events).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use super::*;
    use crate::{Store, StoreError};

    fn sqlite(transaction: &mut WriteTransaction) -> &mut sqlx::SqliteConnection {
        match transaction.connection() {
            Connection::Sqlite(inner) => inner,
            Connection::Postgres(_) => panic!("the test is about SQLite"),
        }
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_rolled_back_by_itself_does_not_stop_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("connect.db")).await.unwrap();
        let mut transaction = store.begin_write().await.unwrap();
        // What SQLite does when a write finds the disk full.
        sqlite(&mut transaction).execute("ROLLBACK").await.unwrap();
        drop(transaction);
        store.begin_write().await.unwrap().commit(None, Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_told_from_a_database_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("connect.db")).await.unwrap();
        let mut transaction = store.begin_write().await.unwrap();
        let mut run = async |sql: &'static str| sqlite(&mut transaction).execute(sql).await.map_err(StoreError::from);
        // No page more than there are now, which SQLite treats as a disk that is full.
        run("PRAGMA max_page_count = 1").await.unwrap();
        let full = run("CREATE TABLE more AS SELECT zeroblob(100000) AS content").await.unwrap_err();
        assert!(matches!(full, StoreError::Full(_)), "{full:?}");
        let other = run("INSERT INTO no_such_table VALUES (1)").await.unwrap_err();
        assert!(matches!(other, StoreError::Database(_)), "{other:?}");
    }
}
