//! The database as a whole.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cofide_core::Revision;
use sqlx::SqlitePool;
use tokio::sync::watch;

use crate::postgres::{ConnectionString, Server};
use crate::sql::{Connection, ReadTransaction, WriteTransaction};
use crate::{Changes, Database, Result, sqlite};

/// The control plane's state, in a SQLite file or in a PostgreSQL database. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    revisions: watch::Sender<Revision>,
}

#[derive(Clone, Debug)]
enum Backend {
    /// One connection writes, several read: with a write-ahead log neither waits for the other, and writers queue here, in
    /// order, where waiting costs nothing, instead of polling for the database's lock.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
        /// Of a database in a file; see [`sqlite::file`]. After the connections, so that it is closed after them.
        _log_index: Option<Arc<File>>,
    },
    Postgres(Server),
}

impl Store {
    /// Opens the file, creates it (readable by its owner alone) where it does not exist, and brings its schema up to date.
    ///
    /// A file that is not a database, belongs to another program, is damaged or was written by a newer version is refused
    /// and left as it is.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let pools = sqlite::file(path.as_ref()).await?;
        Self::begun(Backend::Sqlite { readers: pools.readers, writer: pools.writer, _log_index: Some(pools.log_index) }).await
    }

    /// A database that lives as long as the last clone. It has one connection, so a reader waits for an open writer.
    pub async fn in_memory() -> Result<Self> {
        let pool = sqlite::memory().await?;
        Self::begun(Backend::Sqlite { readers: pool.clone(), writer: pool, _log_index: None }).await
    }

    /// Connects to a PostgreSQL database, which may be empty, and brings its schema up to date. Several replicas may use
    /// one database at once, and each learns what the others commit.
    ///
    /// A database of another program or of a newer version is refused and left as it is. One that goes away later comes
    /// back by itself; until then every transaction fails with [`StoreError::Away`](crate::StoreError::Away).
    pub async fn connect(database: ConnectionString) -> Result<Self> {
        let store = Self::begun(Backend::Postgres(Server::connect(&database).await?)).await?;
        if let Backend::Postgres(server) = &store.backend {
            server.follow(store.revisions.clone());
        }
        Ok(store)
    }

    async fn begun(backend: Backend) -> Result<Self> {
        let store = Self { backend, revisions: watch::Sender::new(0) };
        let revision = store.begin_read().await?.revision().await?;
        store.revisions.send_replace(revision);
        Ok(store)
    }

    pub async fn begin_read(&self) -> Result<ReadTransaction> {
        let begun = match &self.backend {
            Backend::Sqlite { readers, .. } => Connection::Sqlite(readers.begin().await?),
            Backend::Postgres(server) => Connection::Postgres(server.begin_read().await?),
        };
        ReadTransaction::begun(begun).await
    }

    pub async fn begin_write(&self) -> Result<WriteTransaction> {
        let begun = match &self.backend {
            // A transaction that begins as a reader and then wants to write can be refused half-way; this one cannot.
            Backend::Sqlite { writer, .. } => Connection::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Backend::Postgres(server) => Connection::Postgres(server.begin_write().await?),
        };
        WriteTransaction::begun(begun, self.revisions.clone()).await
    }

    /// The newest revision, and a wake-up whenever a newer one has been committed, here or by another replica that uses the
    /// same PostgreSQL database.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revisions.subscribe()
    }

    /// Waits for open transactions, and closes the database; for SQLite this moves the log into the file.
    pub async fn close(self) {
        match self.backend {
            Backend::Sqlite { readers, writer, _log_index } => {
                readers.close().await;
                writer.close().await;
            }
            Backend::Postgres(server) => server.close().await,
        }
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
