//! Reading and writing transactions: one type in two states, so that what reads is written once.

use async_trait::async_trait;
use cofide_core::{AuditEvent, Change, Revision};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::watch;

use super::{audit, change};
use crate::{Result, Writer};

/// Sees the state as it was when it began.
pub type ReadTransaction = Transaction<ReadOnly>;

/// Holds the database's one right to write, until it is committed or dropped.
pub type WriteTransaction = Transaction<ReadWrite>;

#[derive(Debug)]
pub struct Transaction<Access> {
    inner: sqlx::Transaction<'static, Sqlite>,
    access: Access,
}

#[derive(Debug)]
pub struct ReadOnly(());

#[derive(Debug)]
pub struct ReadWrite {
    revisions: watch::Sender<Revision>,
}

pub(super) async fn begin_read(pool: &SqlitePool) -> Result<ReadTransaction> {
    let mut transaction = Transaction { inner: pool.begin().await?, access: ReadOnly(()) };
    // SQLite fixes what a transaction sees at its first read.
    change::revision(transaction.connection()).await?;
    Ok(transaction)
}

pub(super) async fn begin_write(pool: &SqlitePool, revisions: &watch::Sender<Revision>) -> Result<WriteTransaction> {
    // A transaction that begins as a reader and then wants to write can be refused half-way; this one cannot.
    let inner = pool.begin_with("BEGIN IMMEDIATE").await?;
    Ok(Transaction { inner, access: ReadWrite { revisions: revisions.clone() } })
}

impl<Access> Transaction<Access> {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }
}

impl WriteTransaction {
    /// See [`Writer::commit`].
    pub async fn commit(mut self, change: Option<Change>, events: Vec<AuditEvent>) -> Result<Revision> {
        let revision = match change {
            Some(change) => change::append(self.connection(), &change).await?,
            None => change::revision(self.connection()).await?,
        };
        for event in events {
            audit::append(self.connection(), &event).await?;
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
    use crate::{Store, StoreError};

    #[tokio::test]
    async fn a_transaction_that_the_database_rolled_back_by_itself_does_not_stop_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("connect.db")).await.unwrap();
        let mut transaction = store.begin_write().await.unwrap();
        // What SQLite does when a write finds the disk full.
        sqlx::query("ROLLBACK").execute(transaction.connection()).await.unwrap();
        drop(transaction);
        store.begin_write().await.unwrap().commit(None, Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_told_from_a_database_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("connect.db")).await.unwrap();
        let mut transaction = store.begin_write().await.unwrap();
        let mut run = async |sql: &'static str| sqlx::query(sql).execute(transaction.connection()).await.map_err(StoreError::from);
        // No page more than there are now, which SQLite treats as a disk that is full.
        run("PRAGMA max_page_count = 1").await.unwrap();
        let full = run("CREATE TABLE more AS SELECT zeroblob(100000) AS content").await.unwrap_err();
        assert!(matches!(full, StoreError::Full(_)), "{full:?}");
        let other = run("INSERT INTO no_such_table VALUES (1)").await.unwrap_err();
        assert!(matches!(other, StoreError::Database(_)), "{other:?}");
    }
}
