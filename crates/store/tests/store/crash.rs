//! A writer that is killed between any two instructions loses nothing that it was told is kept.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use cofide_core::Change;
use cofide_store::{AuditEvents, Changes, OrganizationsMut, Store, TrustZones, TrustZonesMut};

use crate::builders::{id, zone};
use crate::objects::{event, organization};

const PLACE: &str = "STORE_THAT_IS_KILLED";

async fn open(place: &str) -> Store {
    match place.parse() {
        Ok(database) => Store::connect(database).await.unwrap(),
        Err(_) => Store::open(place).await.unwrap(),
    }
}

/// Not a test of its own: the process that [`nothing_acknowledged_is_lost`] starts and kills.
#[tokio::test]
#[ignore = "runs until it is killed, and only where a file is named for it"]
async fn a_writer_that_never_stops() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let store = open(&place).await;
    let mut write = store.begin_write().await.unwrap();
    write.insert_organization(&organization()).await.unwrap();
    write.commit(None, Vec::new()).await.unwrap();
    for number in 1u64.. {
        let mut write = store.begin_write().await.unwrap();
        write.insert_trust_zone(&zone(&format!("z{number}"))).await.unwrap();
        let change = Change::TrustZone(id(&format!("z{number}")));
        let revision = write.commit(Some(change), vec![event(&format!("event-{number}"), 1)]).await.unwrap();
        println!("acknowledged {revision}");
    }
}

#[tokio::test]
async fn an_acknowledged_commit_survives_the_kill_of_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    nothing_acknowledged_is_lost(folder.path().join("connect.db").to_str().unwrap()).await;
}

pub(crate) async fn nothing_acknowledged_is_lost(place: &str) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_writer_that_never_stops", "--ignored", "--nocapture"])
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = lines.filter_map(|line| line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok()));
    // The line buffer of a pipe holds more; what was printed before the kill is read to its end below.
    let thirtieth = acknowledged.by_ref().nth(29);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let last = acknowledged.last().or(thirtieth).expect("thirty commits");

    let store = open(place).await;
    let mut read = store.begin_read().await.unwrap();
    let revision = read.revision().await.unwrap();
    assert!(revision >= last, "revision {revision} is there, {last} was acknowledged");
    // Each change has its object, its revision and its event, or none of them.
    assert_eq!(read.trust_zones(&Default::default()).await.unwrap().len() as u64, revision);
    assert_eq!(read.changes_since(0).await.unwrap().map(|changes| changes.len() as u64), Some(revision));
    let mut events = 0;
    let mut page = cofide_store::PageRequest { size: 1000, token: String::new() };
    loop {
        let found = read.audit_events(&Default::default(), &page).await.unwrap();
        events += found.events.len() as u64;
        page.token = found.next_token;
        if page.token.is_empty() {
            break;
        }
    }
    assert_eq!(events, revision);
}
