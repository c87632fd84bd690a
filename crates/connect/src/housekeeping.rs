//! What is done in the background, in small pieces, so that nobody waits for it: old audit events and expired join
//! tokens go, and signs of life are written down.

use std::time::Duration;

use cofide_core::Timestamp;
use cofide_runtime::Chain;
use cofide_store::{AuditEventsMut, JoinTokensMut, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::app::audit::now;
use crate::presence::Presence;

const SAVE_PRESENCE_EVERY: Duration = Duration::from_secs(60);
/// Of every so many rounds, one also tidies up.
const ROUNDS_BETWEEN_PURGES: u32 = 10;
/// An agent that comes with an old token is told that it has expired, for so long.
const EXPIRED_TOKENS_STAY: Timestamp = Timestamp(24 * 3600 * 1_000_000);
/// How many audit events go in one transaction.
const BATCH: u32 = 500;
/// Between two batches whoever has a change to make gets his turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Which audit events are kept.
#[derive(Clone, Copy, Debug)]
pub struct AuditRetention {
    pub age: Duration,
    /// The newest so many.
    pub events: u64,
}

/// Runs until `stop`, and then once more for what would be lost.
pub async fn run(store: Store, presence: Presence, retention: AuditRetention, stop: CancellationToken) {
    for round in 0u32.. {
        if round % ROUNDS_BETWEEN_PURGES == 0
            && let Err(error) = purge(&store, retention, now(), &stop).await
        {
            tracing::warn!(error = %Chain(&error), "old audit events and join tokens stay for now");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(SAVE_PRESENCE_EVERY) => {}
        }
        save(&store, &presence).await;
    }
    save(&store, &presence).await;
}

async fn save(store: &Store, presence: &Presence) {
    if let Err(error) = presence.save(store, now()).await {
        tracing::warn!(error = %Chain(&error), "when agents were last seen is not written down");
    }
}

/// Answers how many audit events went.
async fn purge(store: &Store, retention: AuditRetention, now: Timestamp, stop: &CancellationToken) -> Result<u64, StoreError> {
    let mut transaction = store.begin_write().await?;
    if transaction.purge_expired_join_tokens(Timestamp(now.0.saturating_sub(EXPIRED_TOKENS_STAY.0))).await? > 0 {
        transaction.commit(None, Vec::new()).await?;
    } else {
        drop(transaction);
    }
    let age = i64::try_from(retention.age.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp(now.0.saturating_sub(age));
    let mut purged = 0;
    while !stop.is_cancelled() {
        let mut transaction = store.begin_write().await?;
        let batch = transaction.purge_audit_events(before, retention.events, BATCH).await?;
        transaction.commit(None, Vec::new()).await?;
        purged += batch;
        if batch < u64::from(BATCH) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if purged > 0 {
        tracing::info!(purged, "old audit events are gone");
    }
    Ok(purged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{AuditEvent, EventKind, Outcome};
    use cofide_store::{AuditEvents, PageRequest};

    fn event(number: i64, occurred_at: Timestamp) -> AuditEvent {
        AuditEvent {
            id: format!("ae-{number}").parse().unwrap(),
            occurred_at,
            kind: EventKind::Other,
            message: "x".into(),
            links: Vec::new(),
            data: "{}".into(),
            actor: "system".into(),
            source_ip: String::new(),
            outcome: Outcome::Success,
            server_version: "0".into(),
        }
    }

    #[tokio::test]
    async fn the_audit_log_keeps_what_is_young_enough_and_no_more_than_its_bound() {
        let store = Store::in_memory().await.unwrap();
        let day = |days: i64| Timestamp::from_seconds(days * 86_400);
        // More than one batch is too old.
        let old = i64::from(BATCH) * 2 + 7;
        let events = (0..old).map(|number| event(number, day(1))).chain((old..old + 20).map(|number| event(number, day(100))));
        store.begin_write().await.unwrap().commit(None, events.collect()).await.unwrap();
        let kept = async || {
            let page = PageRequest { size: 1000, ..PageRequest::default() };
            let mut read = store.begin_read().await.unwrap();
            read.audit_events(&Default::default(), &page).await.unwrap().events.len()
        };
        let retention = AuditRetention { age: Duration::from_secs(90 * 86_400), events: 15 };
        let stop = CancellationToken::new();
        let generous = AuditRetention { events: 1_000_000, ..retention };
        assert_eq!(purge(&store, generous, day(91), &stop).await.unwrap(), 0, "ninety days and not a moment less");
        assert_eq!(purge(&store, generous, day(92), &stop).await.unwrap(), old as u64);
        assert_eq!(kept().await, 20);
        assert_eq!(purge(&store, retention, day(92), &stop).await.unwrap(), 5);
        assert_eq!(kept().await, 15);
    }
}
