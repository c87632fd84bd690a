//! The audit log: who did what, and whether it was allowed.

use cofide_testkit::wait::eventually;
use serde_json::{Value, json};

use crate::support::{Connect, tables};

/// Some changes, of which one is refused by a rule.
async fn with_history() -> Connect {
    let connect = Connect::start().await;
    connect
        .given(&[
            "trust-zone add trust-zone-a --trust-domain a.test",
            "trust-zone add trust-zone-b --trust-domain b.test",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
            "cluster add cluster-a --trust-zone trust-zone-a --profile host",
            "federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
        ])
        .await;
    connect.cofidectl("trust-zone del trust-zone-a").await.refused(1, &["cluster-a"]);
    connect.given(&["trust-zone del trust-zone-b"]).await;
    connect
}

fn kinds(events: &Value) -> Vec<&str> {
    events["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_change_is_an_event_with_its_actor_newest_first() {
    let connect = with_history().await;
    let shown = connect.cofidectl("audit list").await.done();
    let [table] = tables(&shown.stdout).try_into().unwrap();
    assert_eq!(table.header, ["TIME", "TYPE", "OUTCOME", "ACTOR", "SOURCE IP", "MESSAGE"]);
    let rows: Vec<_> = table.rows.iter().map(|row| row[1..].join(" | ")).collect();
    assert_eq!(
        rows,
        [
            "trust_zone_deletion | success | admin | 127.0.0.1 | trust zone trust-zone-b deleted, with its bindings and federations",
            "federation_deletion | success | admin | 127.0.0.1 | federation trust-zone-a -> trust-zone-b deleted",
            "cluster_creation | success | admin | 127.0.0.1 | cluster cluster-a created in trust zone trust-zone-a",
            "federation_creation | success | admin | 127.0.0.1 | federation trust-zone-a -> trust-zone-b created",
            "trust_zone_creation | success | admin | 127.0.0.1 | trust zone trust-zone-b with trust domain b.test created",
            "trust_zone_creation | success | admin | 127.0.0.1 | trust zone trust-zone-a with trust domain a.test created",
            "trust_zone_creation | success | system | N/A | trust zone management with trust domain management.local created",
        ]
    );
    let times = table.column("TIME");
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
}

#[tokio::test]
async fn a_snapshot_of_the_object_is_kept_with_the_event() {
    let connect = with_history().await;
    let zone = connect.json("trust-zone get trust-zone-a").await;
    let events = connect.json("audit list --type trust_zone_creation --actor admin --entity-type trust_zone").await;
    let event = &events["events"][1];
    assert_eq!(event["entities"], json!([{ "type": "trust_zone", "id": zone["id"] }]));
    assert_eq!((&event["data"]["name"], &event["data"]["trust_domain"]), (&"trust-zone-a".into(), &"a.test".into()));
}

#[tokio::test]
async fn filters_narrow_and_values_of_one_filter_widen() {
    let connect = with_history().await;
    let list = async |flags: &str| connect.json(&format!("audit list {flags}")).await;
    let of = async |flags: &str| kinds(&list(flags).await).len();
    assert_eq!(kinds(&list("--type cluster_creation,federation_deletion").await), ["federation_deletion", "cluster_creation"]);
    assert_eq!(of("--type cluster_creation --type federation_deletion --actor nobody").await, 0);
    assert_eq!(of("--actor system").await, 1);
    assert_eq!(of("--exclude-actor system --exclude-type trust_zone_creation,trust_zone_deletion").await, 3);
    assert_eq!(of("--entity-type cluster").await, 1);
    let id = connect.id("trust-zone get trust-zone-a").await;
    assert_eq!(of(&format!("--entity-id {id}")).await, 4, "the zone, its cluster and both ends of its federation");
    assert_eq!((of("--since 1h").await, of("--until 1h").await), (7, 0));
    assert_eq!(of("--outcome denied").await, 0);
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition() {
    let connect = with_history().await;
    let all = connect.json("audit list --all").await;
    assert_eq!(all["next_page_token"], "");
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let page = connect.json(&format!("audit list --limit 3 --page-token={token}")).await;
        pages.extend(page["events"].as_array().unwrap().clone());
        page["next_page_token"].as_str().unwrap().clone_into(&mut token);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(Value::Array(pages), all["events"]);

    let table = connect.cofidectl("audit list --limit 3").await.done();
    assert!(table.stderr.starts_with("there is more: ") && table.stderr.contains("--all"), "{table}");
    let next = connect.json("audit list --limit 3").await["next_page_token"].as_str().unwrap().to_owned();
    assert!(table.stderr.contains(&format!("--page-token {next},")), "{table}");
    connect.cofidectl(&format!("audit list --page-token {next} --actor system")).await.refused(1, &["pagination.page_token"]);
    connect.cofidectl("audit list --page-token invented").await.refused(1, &["pagination.page_token", "start again"]);
}

#[tokio::test]
async fn a_refused_caller_is_on_record_and_a_refused_change_is_not_one() {
    let connect = with_history().await;
    let credential = std::fs::read_to_string(connect.credential()).unwrap().replace(&connect.token(), "cofide-admin-forged");
    let stranger = crate::support::Person::new();
    let file = stranger.write("forged.json", &credential);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    stranger.cofidectl("trust-zone list --credentials forged.json").await.refused(1, &["does not accept the credential"]);

    let denied = || connect.json("audit list --outcome denied");
    let is_there = |denied: &Value| !denied["events"].as_array().unwrap().is_empty();
    let denied = eventually("the refused call is on record", denied, is_there).await;
    let event = &denied["events"][0];
    assert_eq!((&event["actor"], &event["source_ip"]), (&"anonymous".into(), &"127.0.0.1".into()));
    assert!(event["message"].as_str().unwrap().contains("ListTrustZones"), "{event}");
    assert!(!denied.to_string().contains("forged"), "a credential is on record: {denied}");
    assert_eq!(kinds(&connect.json("audit list --type trust_zone_deletion").await).len(), 1, "a refused change is none");
}

#[tokio::test]
async fn a_filter_that_is_none_is_a_mistake_of_the_command_line() {
    let connect = Connect::start().await;
    for (flags, expected) in [
        ("--type nothing", "unknown type of event \"nothing\""),
        ("--entity-type nothing", "unknown type of object \"nothing\""),
        ("--since yesterday", "neither a time as in"),
        ("--outcome maybe", "[possible values: success, denied]"),
        ("--limit 0", "1..=1000"),
        ("--limit 1001", "1..=1000"),
        ("--all --page-token x", "cannot be used with"),
    ] {
        connect.cofidectl(&format!("audit list {flags}")).await.refused(2, &[expected]);
    }
}
