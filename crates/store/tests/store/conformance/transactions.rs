use std::collections::BTreeSet;
use std::time::Duration;

use cofide_core::{JoinTokenHash, Timestamp};
use cofide_store::{
    AuditEvents, AuditFilter, Changes, Clusters, ClustersMut, Database, JoinTokenUse, JoinTokensMut, OrganizationsMut, PageRequest,
    TrustZones, TrustZonesMut, Writer,
};

use crate::builders::{cluster, id, zone};
use crate::conformance::join_tokens;
use crate::objects::{event, organization, some_change, two_zones, written};

async fn event_count<D: Database>(database: &D) -> usize {
    let mut read = database.begin_read().await.unwrap();
    read.audit_events(&AuditFilter::default(), &PageRequest::default()).await.unwrap().events.len()
}

async fn revision<D: Database>(database: &D) -> u64 {
    database.begin_read().await.unwrap().revision().await.unwrap()
}

pub(crate) async fn a_dropped_transaction_leaves_nothing<D: Database>(database: &D) {
    two_zones(database).await;
    let mut write = database.begin_write().await.unwrap();
    write.insert_trust_zone(&zone("c")).await.unwrap();
    write.insert_cluster(&cluster("three", "c")).await.unwrap();
    assert!(write.trust_zone(&id("c")).await.unwrap().is_some(), "it sees its own writes");
    drop(write);
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.trust_zone(&id("c")).await.unwrap(), None);
    assert_eq!(read.cluster(&id("three")).await.unwrap(), None);
    drop(read);
    written(database, async |write| write.insert_trust_zone(&zone("c")).await).await;
}

pub(crate) async fn the_revision_grows_by_one_with_each_change_and_only_then<D: Database>(database: &D) {
    assert_eq!(revision(database).await, 0);
    for (change, expected) in [(Some(some_change()), 1), (None, 1), (Some(some_change()), 2)] {
        let write = database.begin_write().await.unwrap();
        assert_eq!(write.commit(change, Vec::new()).await.unwrap(), expected);
        assert_eq!(revision(database).await, expected);
    }
    let dropped = database.begin_write().await.unwrap();
    drop(dropped);
    assert_eq!(revision(database).await, 2);
}

pub(crate) async fn a_change_and_its_events_are_there_together_or_not_at_all<D: Database>(database: &D) {
    let mut write = database.begin_write().await.unwrap();
    write.insert_organization(&organization()).await.unwrap();
    write.insert_trust_zone(&zone("a")).await.unwrap();
    write.commit(Some(some_change()), vec![event("first", 1), event("second", 2)]).await.unwrap();
    assert_eq!((revision(database).await, event_count(database).await), (1, 2));

    // The id of the second event is taken, so that the commit fails after everything else has been written.
    let mut write = database.begin_write().await.unwrap();
    write.insert_trust_zone(&zone("b")).await.unwrap();
    assert!(write.commit(Some(some_change()), vec![event("third", 3), event("first", 4)]).await.is_err());
    assert_eq!((revision(database).await, event_count(database).await), (1, 2));
    assert_eq!(database.begin_read().await.unwrap().trust_zone(&id("b")).await.unwrap(), None);

    let write = database.begin_write().await.unwrap();
    write.commit(None, vec![event("denied", 5)]).await.unwrap();
    assert_eq!((revision(database).await, event_count(database).await), (1, 3), "a denied call has an event and no change");
}

pub(crate) async fn a_commit_wakes_those_who_wait_for_a_revision<D: Database>(database: &D) {
    let mut revisions = database.revisions();
    assert_eq!(*revisions.borrow_and_update(), 0);
    let write = database.begin_write().await.unwrap();
    write.commit(None, vec![event("denied", 1)]).await.unwrap();
    assert!(!revisions.has_changed().unwrap(), "nothing has changed");
    let write = database.begin_write().await.unwrap();
    write.commit(Some(some_change()), Vec::new()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), revisions.changed()).await.expect("woken within five seconds").unwrap();
    assert_eq!(*revisions.borrow_and_update(), 1);
    assert_eq!(*database.revisions().borrow(), 1, "those who come later know it at once");
}

pub(crate) async fn a_reader_sees_one_state_for_as_long_as_it_looks<D: Database>(database: &D) {
    two_zones(database).await;
    let mut early = database.begin_read().await.unwrap();
    let mut write = database.begin_write().await.unwrap();
    write.insert_trust_zone(&zone("c")).await.unwrap();
    let mut during = database.begin_read().await.unwrap();
    assert_eq!(during.trust_zone(&id("c")).await.unwrap(), None, "what is not committed is not seen");
    write.commit(Some(some_change()), Vec::new()).await.unwrap();
    for reader in [&mut early, &mut during] {
        assert_eq!(reader.trust_zone(&id("c")).await.unwrap(), None);
        assert_eq!(reader.revision().await.unwrap(), 0);
    }
    let mut late = database.begin_read().await.unwrap();
    assert!(late.trust_zone(&id("c")).await.unwrap().is_some());
    assert_eq!(late.revision().await.unwrap(), 1);
}

pub(crate) async fn concurrent_writers_get_one_revision_each<D: Database>(database: &D) {
    written(database, async |write| write.insert_organization(&organization()).await).await;
    let writer = async |number: usize| {
        let mut write = database.begin_write().await.unwrap();
        // Read, then write what was read: a lost update would show as a gap in the names.
        let count = write.trust_zones(&Default::default()).await.unwrap().len();
        write.insert_trust_zone(&zone(&format!("z{count}"))).await.unwrap();
        write.commit(Some(some_change()), vec![event(&format!("event-{number}"), 1)]).await.unwrap()
    };
    let revisions = futures::future::join_all((0..20).map(writer)).await;
    assert_eq!(revisions.into_iter().collect::<BTreeSet<_>>(), (1..=20).collect());
    assert_eq!((revision(database).await, event_count(database).await), (20, 20));
    assert_eq!(database.begin_read().await.unwrap().trust_zones(&Default::default()).await.unwrap().len(), 20);
}

pub(crate) async fn of_two_attempts_with_one_token_one_succeeds<D: Database>(database: &D) {
    two_zones(database).await;
    join_tokens::put(database, 1, "one", "a", 10).await;
    let attempt = async || {
        let mut write = database.begin_write().await.unwrap();
        let used = write.consume_join_token(&JoinTokenHash([1; 32]), Timestamp(5)).await.unwrap();
        write.commit(None, Vec::new()).await.unwrap();
        used
    };
    let attempts = futures::future::join_all((0..10).map(|_| attempt())).await;
    assert_eq!(attempts.iter().filter(|used| matches!(used, JoinTokenUse::Valid(_))).count(), 1);
}
