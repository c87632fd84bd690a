use cofide_core::{AuditEvent, EntityKind, EventKind, Outcome, Timestamp};
use cofide_store::{AuditEntity, AuditEvents, AuditEventsMut, AuditExclude, AuditFilter, Database, PageRequest, StoreError, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::objects::event;

async fn record<D: Database>(database: &D, events: Vec<AuditEvent>) {
    database.begin_write().await.unwrap().commit(None, events).await.unwrap();
}

/// All pages of a listing, each as the ids of its events.
async fn pages<D: Database>(database: &D, filter: &AuditFilter, size: i32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let mut read = database.begin_read().await.unwrap();
        let page = read.audit_events(filter, &PageRequest { size, token }).await.unwrap();
        pages.push(page.events.iter().map(|event| event.id.to_string()).collect());
        if page.next_token.is_empty() {
            return pages;
        }
        token = page.next_token;
    }
}

async fn purge<D: Database>(database: &D, before: i64, batch: u32) -> u64 {
    let mut write = database.begin_write().await.unwrap();
    let purged = write.purge_audit_events(Timestamp(before), batch).await.unwrap();
    write.commit(None, Vec::new()).await.unwrap();
    purged
}

pub(crate) async fn old_events_go_first_and_in_batches<D: Database>(database: &D) {
    record(database, (0..10).map(|at| event(&format!("e{at}"), at)).collect()).await;
    assert_eq!(purge(database, 0, 3).await, 0, "none is old");
    assert_eq!([purge(database, 5, 3).await, purge(database, 5, 3).await, purge(database, 5, 3).await], [3, 2, 0]);
    assert_eq!(pages(database, &AuditFilter::default(), 100).await, [["e9", "e8", "e7", "e6", "e5"]]);
    // With the events their links are gone: nothing is found through them.
    let linked = AuditFilter { entities: vec![AuditEntity { kind: Some(EntityKind::TrustZone), id: None }], ..AuditFilter::default() };
    let found = pages(database, &linked, 100).await.concat();
    assert!(found.len() <= 5, "{found:?}");
    assert_eq!([purge(database, i64::MAX, 100).await, purge(database, i64::MAX, 100).await], [5, 0], "also to the last");
}

pub(crate) async fn events_of_one_workload_are_counted_and_its_oldest_go<D: Database>(database: &D) {
    let by = |actor: &str, name: &str, at: i64| AuditEvent { actor: actor.to_owned(), ..event(name, at) };
    let (loud, quiet) = ("spiffe://a.test/loud", "spiffe://b.test/quiet");
    // Written out of order, and no workload is whoever is called nearly so.
    let mut events: Vec<_> = [4, 0, 2, 1, 3].iter().map(|at| by(loud, &format!("loud-{at}"), *at)).collect();
    events.push(by(quiet, "quiet", 0));
    let others = ["admin", "spiffe:", "spiffe:/", "spiffe:0", "system", "anonymous", "join-token"];
    events.extend(others.iter().enumerate().map(|(number, actor)| by(actor, &format!("other-{number}"), 0)));
    record(database, events).await;
    let counts = async || database.begin_read().await.unwrap().audit_events_of_workloads().await.unwrap();
    assert_eq!(counts().await, [(loud.to_owned(), 5), (quiet.to_owned(), 1)].into());

    let mut write = database.begin_write().await.unwrap();
    assert_eq!(write.purge_audit_events_of(loud, 3).await.unwrap(), 3);
    assert_eq!(write.purge_audit_events_of("spiffe://a.test", 3).await.unwrap(), 0, "the whole name");
    write.commit(None, Vec::new()).await.unwrap();
    assert_eq!(counts().await, [(loud.to_owned(), 2), (quiet.to_owned(), 1)].into());
    let of_loud = AuditFilter { actors: vec![loud.to_owned()], ..AuditFilter::default() };
    assert_eq!(pages(database, &of_loud, 100).await, [["loud-4", "loud-3"]]);
    assert_eq!(pages(database, &AuditFilter::default(), 100).await.concat().len(), 10, "nobody else's");
}

pub(crate) async fn an_event_is_kept_in_full<D: Database>(database: &D) {
    let mut full = event("full", 1_700_000_000_123_456);
    full.links = vec![(EntityKind::Federation, "f".to_owned()), (EntityKind::CofideAgent, "a".to_owned())];
    full.data = "{\"name\":\"ä\"}".to_owned();
    full.outcome = Outcome::Denied;
    full.kind = EventKind::Other;
    let mut bare = event("bare", -1);
    (bare.links, bare.source_ip) = (Vec::new(), String::new());
    record(database, vec![full.clone(), bare.clone()]).await;
    let page = database.begin_read().await.unwrap().audit_events(&Default::default(), &Default::default()).await.unwrap();
    assert_eq!((page.events, page.next_token.as_str()), (vec![full, bare], ""));
}

pub(crate) async fn events_come_newest_first_and_page_by_page<D: Database>(database: &D) {
    // Two at each instant, written out of order.
    record(database, [3, 1, 2, 1, 3, 2].into_iter().enumerate().map(|(n, at)| event(&format!("{at}-{n}"), at)).collect()).await;
    let filter = AuditFilter::default();
    assert_eq!(pages(database, &filter, 0).await, [["3-4", "3-0", "2-5", "2-2", "1-3", "1-1"]], "the later of one instant first");
    assert_eq!(pages(database, &filter, 3).await, [["3-4", "3-0", "2-5"], ["2-2", "1-3", "1-1"]], "no empty page at the end");
    assert_eq!(pages(database, &filter, 4).await.concat().len(), 6);
    assert_eq!(pages(database, &filter, 1).await.len(), 6);
    assert_eq!(pages(database, &AuditFilter { actors: vec!["nobody".to_owned()], ..filter }, 1).await, [[""; 0]]);
}

pub(crate) async fn pages_do_not_shift_when_events_are_added<D: Database>(database: &D) {
    record(database, (0..4).map(|n| event(&format!("old-{n}"), n)).collect()).await;
    let filter = AuditFilter::default();
    let first = PageRequest { size: 2, token: String::new() };
    let page = database.begin_read().await.unwrap().audit_events(&filter, &first).await.unwrap();
    record(database, (10..14).map(|n| event(&format!("new-{n}"), n)).collect()).await;
    let second = PageRequest { size: 10, token: page.next_token };
    let page = database.begin_read().await.unwrap().audit_events(&filter, &second).await.unwrap();
    let ids: Vec<_> = page.events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["old-1", "old-0"]);
}

pub(crate) async fn a_token_is_refused_where_it_does_not_belong<D: Database>(database: &D) {
    record(database, (0..4).map(|n| event(&format!("event-{n}"), n)).collect()).await;
    let mut read = database.begin_read().await.unwrap();
    let filter = AuditFilter::default();
    let token = read.audit_events(&filter, &PageRequest { size: 1, token: String::new() }).await.unwrap().next_token;
    let other = AuditFilter { outcomes: vec![Outcome::Success], ..AuditFilter::default() };
    let refused = read.audit_events(&other, &PageRequest { size: 1, token: token.clone() }).await;
    assert!(matches!(refused, Err(StoreError::PageTokenOfOtherFilter)), "{refused:?}");
    for forged in ["x", "00", &token[1..], &format!("{token}00"), "zz"] {
        let refused = read.audit_events(&filter, &PageRequest { size: 1, token: forged.to_owned() }).await;
        assert!(matches!(refused, Err(StoreError::PageToken)), "{forged}: {refused:?}");
    }
    let refused = read.audit_events(&filter, &PageRequest { size: -1, token: String::new() }).await;
    assert!(matches!(refused, Err(StoreError::PageSize(-1))), "{refused:?}");
    assert_eq!(read.audit_events(&filter, &PageRequest { size: 7, token }).await.unwrap().events.len(), 3, "the size may change");
}

pub(crate) async fn an_entity_filter_needs_a_kind_or_an_id<D: Database>(database: &D) {
    let empty = || vec![AuditEntity::default()];
    for filter in [
        AuditFilter { entities: empty(), ..Default::default() },
        AuditFilter { exclude: AuditExclude { entities: empty(), ..Default::default() }, ..Default::default() },
    ] {
        let refused = database.begin_read().await.unwrap().audit_events(&filter, &PageRequest::default()).await;
        assert!(matches!(refused, Err(StoreError::EmptyEntityFilter)), "{refused:?}");
    }
}

const KINDS: [EventKind; 3] = [EventKind::TrustZoneCreation, EventKind::FederationDeletion, EventKind::Other];
const ENTITY_KINDS: [EntityKind; 2] = [EntityKind::TrustZone, EntityKind::Federation];
const IDS: [&str; 2] = ["x", "y"];
const ACTORS: [&str; 3] = ["admin", "system", "spiffe://a.test/ns/cofide/sa/cofide-agent"];
const ADDRESSES: [&str; 2] = ["192.0.2.1", ""];
const OUTCOMES: [Outcome; 2] = [Outcome::Success, Outcome::Denied];

fn any_event(name: String) -> impl Strategy<Value = AuditEvent> {
    let links = vec((select(&ENTITY_KINDS[..]), select(&IDS[..])), 0..3);
    (0..6i64, select(&KINDS[..]), links, select(&ACTORS[..]), select(&ADDRESSES[..]), select(&OUTCOMES[..])).prop_map(
        move |(at, kind, links, actor, source_ip, outcome)| AuditEvent {
            kind,
            links: links.into_iter().map(|(kind, id)| (kind, id.to_owned())).collect(),
            actor: actor.to_owned(),
            source_ip: source_ip.to_owned(),
            outcome,
            ..event(&name, at)
        },
    )
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

fn any_exclude() -> impl Strategy<Value = AuditExclude> {
    let entity = (select(&ENTITY_KINDS[..]), select(&IDS[..]), 0..3u8)
        .prop_map(|(kind, id, form)| AuditEntity { kind: (form != 0).then_some(kind), id: (form != 1).then(|| id.to_owned()) });
    let texts = |texts: &[&'static str]| subsequence(texts.to_vec(), 0..2).prop_map(owned);
    (subsequence(KINDS.to_vec(), 0..2), vec(entity, 0..2), texts(&ACTORS), texts(&ADDRESSES), subsequence(OUTCOMES.to_vec(), 0..2))
        .prop_map(|(kinds, entities, actors, source_ips, outcomes)| AuditExclude { kinds, entities, actors, source_ips, outcomes })
}

fn any_filter() -> impl Strategy<Value = AuditFilter> {
    let window = (proptest::option::of(0..7i64), proptest::option::of(0..7i64));
    let exclude = prop_oneof![Just(AuditExclude::default()), any_exclude()];
    (any_exclude(), any::<bool>(), window, exclude).prop_map(|(include, match_linkless, (before, after), exclude)| AuditFilter {
        kinds: include.kinds,
        entities: include.entities,
        match_linkless,
        occurred_before: before.map(Timestamp),
        occurred_after: after.map(Timestamp),
        actors: include.actors,
        source_ips: include.source_ips,
        outcomes: include.outcomes,
        exclude,
    })
}

/// The meaning of a filter once more, in the words of its documentation.
fn selects(filter: &AuditFilter, event: &AuditEvent) -> bool {
    fn any_or_unset<T: PartialEq>(list: &[T], value: &T) -> bool {
        list.is_empty() || list.contains(value)
    }
    let links_to = |entities: &[AuditEntity]| {
        entities.iter().any(|entity| {
            let is_it =
                |(kind, id): &(EntityKind, String)| entity.kind.is_none_or(|k| k == *kind) && entity.id.as_ref().is_none_or(|i| i == id);
            event.links.iter().any(is_it)
        })
    };
    let exclude = &filter.exclude;
    any_or_unset(&filter.kinds, &event.kind)
        && any_or_unset(&filter.actors, &event.actor)
        && any_or_unset(&filter.source_ips, &event.source_ip)
        && any_or_unset(&filter.outcomes, &event.outcome)
        && (filter.entities.is_empty() || links_to(&filter.entities) || (filter.match_linkless && event.links.is_empty()))
        && filter.occurred_before.is_none_or(|before| event.occurred_at < before)
        && filter.occurred_after.is_none_or(|after| event.occurred_at >= after)
        && !exclude.kinds.contains(&event.kind)
        && !exclude.actors.contains(&event.actor)
        && !exclude.source_ips.contains(&event.source_ip)
        && !exclude.outcomes.contains(&event.outcome)
        && !links_to(&exclude.entities)
}

pub(crate) async fn filters_select_what_their_words_say<D: Database>(database: &D) {
    let mut runner = TestRunner::default();
    let mut some = |strategy: BoxedStrategy<AuditEvent>| strategy.new_tree(&mut runner).unwrap().current();
    let mut events: Vec<_> = (0..60).map(|n| some(any_event(format!("event-{n}")).boxed())).collect();
    record(database, events.clone()).await;
    // Newest first, and of one instant the one that was written last.
    events.reverse();
    events.sort_by_key(|event| std::cmp::Reverse(event.occurred_at));

    let mut nothing = 0;
    for _ in 0..200 {
        let filter = any_filter().new_tree(&mut runner).unwrap().current();
        let expected: Vec<_> = events.iter().filter(|event| selects(&filter, event)).map(|event| event.id.to_string()).collect();
        assert_eq!(pages(database, &filter, 7).await.concat(), expected, "{filter:#?}");
        nothing += usize::from(expected.is_empty());
    }
    assert!((5..150).contains(&nothing), "{nothing} of 200 filters selected nothing");
}
