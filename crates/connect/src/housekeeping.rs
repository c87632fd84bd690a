//! What is done in the background, in small pieces, so that nobody waits for it: old audit events and expired join
//! tokens go, and signs of life are written down.

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_core::Timestamp;
use cofide_runtime::Chain;
use cofide_store::{AuditEvents, AuditEventsMut, JoinTokensMut, Store, StoreError};
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
    /// So many of agents and other workloads, which can act without end. What people, join tokens and the control plane
    /// did, and what was refused to them, goes by its age alone: no agent can drive it out.
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
        let batch = transaction.purge_audit_events(before, BATCH).await?;
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
    let counts = store.begin_read().await?.audit_events_of_workloads().await?;
    for (actor, excess) in excess(counts, retention.events) {
        let gone = purge_oldest_of(store, &actor, excess, stop).await?;
        if gone > 0 {
            tracing::warn!(
                actor,
                events = gone,
                "the agents' part of the audit log is full, so the oldest events of the noisiest are gone before audit_retention; find out \
                 what it does so often, or raise audit_max_events"
            );
        }
        purged += gone;
    }
    Ok(purged)
}

async fn purge_oldest_of(store: &Store, actor: &str, number: u64, stop: &CancellationToken) -> Result<u64, StoreError> {
    let mut purged = 0;
    while purged < number && !stop.is_cancelled() {
        let size = u32::try_from(number - purged).unwrap_or(BATCH).min(BATCH);
        let mut transaction = store.begin_write().await?;
        let batch = transaction.purge_audit_events_of(actor, size).await?;
        transaction.commit(None, Vec::new()).await?;
        purged += batch;
        if batch < u64::from(size) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(purged)
}

/// How many events of which workload are too many, where there is room for `keep` in all.
///
/// The room is shared between trust domains first, and then within each: whoever holds a domain's authority can act under
/// any number of names, but in that domain alone.
fn excess(counts: BTreeMap<String, u64>, keep: u64) -> BTreeMap<String, u64> {
    let mut domains: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (actor, count) in counts {
        // spiffe: // a.test / ...
        let domain = actor.split('/').nth(2).unwrap_or_default().to_owned();
        domains.entry(domain).or_default().insert(actor, count);
    }
    let of_domains = shares(domains.iter().map(|(domain, actors)| (domain.clone(), actors.values().sum())).collect(), keep);
    let mut excess = BTreeMap::new();
    for (domain, actors) in domains {
        let of_actors = shares(actors.clone(), of_domains[&domain]);
        excess.extend(actors.into_iter().map(|(actor, count)| (actor.clone(), count - of_actors[&actor])));
    }
    excess.retain(|_, count| *count > 0);
    excess
}

/// Shares `room` out so that whoever wants little has it, and the others the same (max-min fairness).
fn shares(wanted: BTreeMap<String, u64>, mut room: u64) -> BTreeMap<String, u64> {
    let mut by_size: Vec<_> = wanted.into_iter().collect();
    by_size.sort_by_key(|(_, wanted)| *wanted);
    let sharers = by_size.len();
    let mut shares = BTreeMap::new();
    for (left, (name, wanted)) in (1..=sharers as u64).rev().zip(by_size) {
        let share = wanted.min(room / left);
        room -= share;
        shares.insert(name, share);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{AuditEvent, EventKind, Outcome};
    use cofide_store::PageRequest;

    fn event(number: i64, actor: &str, occurred_at: Timestamp) -> AuditEvent {
        AuditEvent {
            id: format!("ae-{number}").parse().unwrap(),
            occurred_at,
            kind: EventKind::Other,
            message: "x".into(),
            links: Vec::new(),
            data: "{}".into(),
            actor: actor.into(),
            source_ip: String::new(),
            outcome: Outcome::Success,
            server_version: "0".into(),
        }
    }

    fn day(days: i64) -> Timestamp {
        Timestamp::from_seconds(days * 86_400)
    }

    const RETENTION: AuditRetention = AuditRetention { age: Duration::from_secs(90 * 86_400), events: 1_000 };

    /// How many events there are by actor.
    async fn kept(store: &Store) -> BTreeMap<String, usize> {
        let mut kept = BTreeMap::new();
        let mut page = PageRequest { size: 1000, ..PageRequest::default() };
        loop {
            let found = store.begin_read().await.unwrap().audit_events(&Default::default(), &page).await.unwrap();
            for event in found.events {
                *kept.entry(event.actor).or_default() += 1;
            }
            if found.next_token.is_empty() {
                return kept;
            }
            page.token = found.next_token;
        }
    }

    #[tokio::test]
    async fn the_audit_log_keeps_what_is_young_enough() {
        let store = Store::in_memory().await.unwrap();
        // More than one batch is too old.
        let old = i64::from(BATCH) * 2 + 7;
        let events =
            (0..old).map(|number| event(number, "system", day(1))).chain((old..old + 20).map(|number| event(number, "system", day(100))));
        store.begin_write().await.unwrap().commit(None, events.collect()).await.unwrap();
        let stop = CancellationToken::new();
        assert_eq!(purge(&store, RETENTION, day(91), &stop).await.unwrap(), 0, "ninety days and not a moment less");
        assert_eq!(purge(&store, RETENTION, day(92), &stop).await.unwrap(), old as u64);
        assert_eq!(kept(&store).await, [("system".to_owned(), 20)].into());
    }

    #[tokio::test]
    async fn an_agents_flood_drives_out_its_own_events_and_leaves_those_of_people_and_of_other_agents() {
        let store = Store::in_memory().await.unwrap();
        let (loud, quiet) =
            ("spiffe://a.test/cluster/loud/ns/cofide/sa/cofide-agent", "spiffe://a.test/cluster/quiet/ns/cofide/sa/cofide-agent");
        let made_up: Vec<_> = (0..300).map(|number| format!("spiffe://b.test/made-up/{number}")).collect();
        // What the flood is to hide is older than all of it.
        let mut actors = ["admin", "anonymous", "join-token", "system", quiet].repeat(20);
        let denied = 0..actors.len();
        actors.extend(std::iter::repeat_n(loud, 3_000));
        actors.extend(made_up.iter().map(String::as_str));
        let events = (0..).zip(&actors).map(|(number, actor)| AuditEvent {
            outcome: if denied.contains(&(number as usize)) { Outcome::Denied } else { Outcome::Success },
            ..event(number, actor, Timestamp(number))
        });
        store.begin_write().await.unwrap().commit(None, events.collect()).await.unwrap();

        let stop = CancellationToken::new();
        assert_eq!(purge(&store, RETENTION, day(1), &stop).await.unwrap(), 3_000 + 320 - 1_000);
        let mut kept = kept(&store).await;
        let others: usize = made_up.iter().map(|actor| kept.remove(actor).unwrap_or_default()).sum();
        assert_eq!(others, 300, "another trust domain has its share");
        let expected = [("admin", 20), ("anonymous", 20), ("join-token", 20), ("system", 20), (quiet, 20), (loud, 680)];
        assert_eq!(kept, expected.map(|(actor, count)| (actor.to_owned(), count)).into());
        // Of the loud one its newest.
        let newest = PageRequest { size: 1000, ..PageRequest::default() };
        let of_loud = cofide_store::AuditFilter { actors: vec![loud.to_owned()], ..Default::default() };
        let events = store.begin_read().await.unwrap().audit_events(&of_loud, &newest).await.unwrap().events;
        assert_eq!(events.last().unwrap().occurred_at, Timestamp(100 + 3_000 - 680));
        assert_eq!(purge(&store, RETENTION, day(1), &stop).await.unwrap(), 0);
    }

    #[test]
    fn names_made_up_in_one_trust_domain_take_nothing_from_another() {
        let honest = "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent".to_owned();
        let made_up = (0..5_000).map(|number| (format!("spiffe://b.test/{number}"), 2));
        let counts: BTreeMap<_, _> = made_up.chain([(honest.clone(), 400)]).collect();
        let excess = excess(counts, 1_000);
        assert!(!excess.contains_key(&honest));
        assert_eq!(excess.values().sum::<u64>(), 10_400 - 1_000);
    }

    #[test]
    fn whoever_wants_little_has_it_and_the_others_share_the_rest() {
        let share = |wanted: &[u64], room| {
            let wanted = wanted.iter().enumerate().map(|(number, wanted)| (number.to_string(), *wanted)).collect();
            shares(wanted, room).into_values().collect::<Vec<_>>()
        };
        assert_eq!(share(&[5, 100, 10, 100], 55), [5, 20, 10, 20]);
        assert_eq!(share(&[5, 100], 1_000), [5, 100]);
        assert_eq!(share(&[7, 7, 7], 0), [0, 0, 0]);
        assert_eq!(share(&[7, 7, 7], 20).iter().sum::<u64>(), 20, "nothing is wasted");
    }
}
