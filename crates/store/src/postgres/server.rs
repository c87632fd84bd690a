//! The connections to one database, and what becomes of those who wait while it is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofide_core::Revision;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool, Postgres, Transaction};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection_string::ConnectionString;
use super::{follow, open};
use crate::{Result, StoreError};

const READERS: u32 = 8;
/// How long a transaction may wait for a connection while the server is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits once the server is known to be away: a connection that was cut is made again in less.
const GRACE: Duration = Duration::from_millis(500);
/// How long a connection that comes back from a transaction may take to show that it still works.
const CHECK: Duration = Duration::from_secs(5);

/// Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    readers: PgPool,
    /// One connection, so that the writers of this process queue here, in order, and those of each replica as one.
    writer: PgPool,
    /// One that listens.
    follower: PgPool,
    away: watch::Sender<Option<String>>,
    following: Arc<Following>,
}

/// The task that follows the database, which ends with the last clone.
#[derive(Debug, Default)]
struct Following(Mutex<Option<JoinHandle<()>>>);

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(task) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Server {
    pub(crate) async fn connect(database: &ConnectionString) -> Result<Self> {
        let options = database.options().map_err(|error| StoreError::Connect {
            database: database.to_string(),
            reason: error.to_string(),
            remedy: "correct the connection string",
        })?;
        // Without a name for the database the server would look for one with the user's, as the printed name says.
        let options = options.database(database.database()).application_name("cofide-connect");
        open::prepare(database, &options).await?;
        Ok(Self {
            readers: pool(READERS, &options),
            writer: pool(1, &options),
            follower: pool(1, &options),
            away: watch::Sender::new(None),
            following: Arc::default(),
        })
    }

    /// Keeps `revisions` up to date with what others commit, and knows whether the server is there.
    pub(crate) fn follow(&self, revisions: watch::Sender<Revision>) {
        let task = tokio::spawn(follow::follow(self.follower.clone(), self.away.clone(), revisions));
        *self.following.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    pub(crate) async fn begin_read(&self) -> Result<Transaction<'static, Postgres>> {
        self.begin(&self.readers, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    pub(crate) async fn begin_write(&self) -> Result<Transaction<'static, Postgres>> {
        // Not what sees one state: the one that it must see is that at the time when the writer before it has ended.
        self.begin(&self.writer, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await
    }

    async fn begin(&self, pool: &PgPool, sql: &'static str) -> Result<Transaction<'static, Postgres>> {
        tokio::select! {
            biased;
            begun = pool.begin_with(sql) => Ok(begun?),
            reason = self.gone() => Err(StoreError::Away(reason)),
        }
    }

    /// Waits until the server is away, and for a little longer, in which it may have come back.
    async fn gone(&self) -> String {
        let mut away = self.away.subscribe();
        loop {
            if away.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GRACE).await;
            if let Some(reason) = away.borrow().clone() {
                return reason;
            }
        }
    }

    pub(crate) async fn close(self) {
        drop(self.following);
        self.follower.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32, options: &PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| Box::pin(open::apply(connection, open::SESSION)))
        // Waits for the rollback that dropping a transaction has only begun, but not for a server that is gone.
        .after_release(|connection, _| {
            Box::pin(async move {
                tokio::time::timeout(CHECK, connection.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
            })
        });
    pool.connect_lazy_with(options.clone())
}
