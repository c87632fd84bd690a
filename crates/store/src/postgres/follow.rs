//! What happens in the database without us: the commits of other replicas, and whether the server is there at all.
//!
//! Being told is for speed; now and then a look finds what was missed, and a server that went away without a word.

use std::io;
use std::time::Duration;

use cofide_core::Revision;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;

use super::{CHANNEL, open};
use crate::error::reason;

const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long one look may take.
const PROMPT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

/// Never ends. `away` is the reason why the server cannot be used, as long as there is one.
pub(super) async fn follow(pool: PgPool, away: watch::Sender<Option<String>>, revisions: watch::Sender<Revision>) {
    loop {
        let Err(error) = listen(&pool, &away, &revisions).await;
        if pool.is_closed() {
            return;
        }
        let reason = reason(&error);
        away.send_if_modified(|held| {
            if held.is_none() {
                tracing::warn!(reason, "the database is away; what is being served goes on without it");
            }
            held.replace(reason.clone()).as_ref() != Some(&reason)
        });
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen(
    pool: &PgPool,
    away: &watch::Sender<Option<String>>,
    revisions: &watch::Sender<Revision>,
) -> sqlx::Result<std::convert::Infallible> {
    // A pool goes on trying while a server refuses, and then only knows that it took too long.
    let probe = open::connect(&pool.connect_options()).await?;
    sqlx::Connection::close(probe).await?;
    let mut listener = within(open::CONNECT, PgListener::connect_with(pool)).await?;
    listener.eager_reconnect(false);
    within(PROMPT, listener.listen(CHANNEL)).await?;
    loop {
        // Over the connection that listens: a pool would wait for a server that is gone.
        let look = sqlx::query_scalar::<_, i64>("SELECT value FROM revision").fetch_one(&mut listener);
        let newest = within(PROMPT, look).await?.cast_unsigned();
        away.send_if_modified(|held| {
            if held.is_some() {
                tracing::info!("the database is back");
            }
            held.take().is_some()
        });
        revisions.send_if_modified(|held| {
            let is_newer = newest > *held;
            *held = newest.max(*held);
            is_newer
        });
        match tokio::time::timeout(LOOK_EVERY, listener.try_recv()).await {
            Err(_) | Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => {
                return Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the server ended the connection")));
            }
            Ok(Err(error)) => return Err(error),
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let silence = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", time.as_secs())));
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(silence()))
}
