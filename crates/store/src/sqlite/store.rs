//! The database as a whole.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cofide_core::Revision;
use sqlx::SqlitePool;
use tokio::sync::watch;

use super::open;
use super::transaction::{self, ReadTransaction, WriteTransaction};
use crate::{Changes, Database, Result};

/// The control plane's state in one SQLite file. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    readers: SqlitePool,
    writer: SqlitePool,
    /// Of a database in a file; see [`open::file`]. After the connections, so that it is closed after them.
    _log_index: Option<Arc<File>>,
    revisions: watch::Sender<Revision>,
}

impl Store {
    /// Opens the file, creates it (readable by its owner alone) where it does not exist, and brings its schema up to date.
    ///
    /// A file that is not a database, belongs to another program, is damaged or was written by a newer version is refused
    /// and left as it is.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let pools = open::file(path.as_ref()).await?;
        Self::new(pools.readers, pools.writer, Some(pools.log_index)).await
    }

    /// A database that lives as long as the last clone. It has one connection, so a reader waits for an open writer.
    pub async fn in_memory() -> Result<Self> {
        let pool = open::memory().await?;
        Self::new(pool.clone(), pool, None).await
    }

    async fn new(readers: SqlitePool, writer: SqlitePool, log_index: Option<Arc<File>>) -> Result<Self> {
        let revision = transaction::begin_read(&readers).await?.revision().await?;
        Ok(Self { readers, writer, _log_index: log_index, revisions: watch::Sender::new(revision) })
    }

    pub async fn begin_read(&self) -> Result<ReadTransaction> {
        transaction::begin_read(&self.readers).await
    }

    pub async fn begin_write(&self) -> Result<WriteTransaction> {
        transaction::begin_write(&self.writer, &self.revisions).await
    }

    /// The newest revision, and a wake-up whenever a newer one has been committed here.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revisions.subscribe()
    }

    /// Waits for open transactions, moves the log into the file and closes it.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Database for Store {
    type Read = ReadTransaction;
    type Write = WriteTransaction;

    async fn begin_read(&self) -> Result<ReadTransaction> {
        self.begin_read().await
    }

    async fn begin_write(&self) -> Result<WriteTransaction> {
        self.begin_write().await
    }

    fn revisions(&self) -> watch::Receiver<Revision> {
        self.revisions()
    }
}
