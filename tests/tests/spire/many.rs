//! Thousands of entries in SPIRE: what is asked of the server for one change and for none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cofide_agent::spire::SpireClient;
use cofide_agent::spire::executor::reconcile;
use cofide_agent::spire::model::{Desired, DesiredEntry, EntryContent, EntryKey, OwnedTrust};
use cofide_agent::spire::view::EntryView;
use cofide_core::TrustDomain;
use cofide_testkit::loopback::own_address;
use cofide_testkit::spire::{Spire, SpireOptions};

/// Several pages of a listing, and several batches of a first sync.
const ENTRIES: usize = 2_000;

fn entry(index: usize) -> DesiredEntry {
    DesiredEntry {
        key: EntryKey {
            spiffe_id: format!("spiffe://a.test/ns/demo/sa/w{index}"),
            parent_id: "spiffe://a.test/host".to_owned(),
            selectors: BTreeSet::from([format!("unix:uid:{index}").parse().unwrap(), "unix:gid:7".parse().unwrap()]),
        },
        content: EntryContent {
            dns_names: vec![format!("w{index}.test")],
            federates_with: BTreeSet::new(),
            store_svid: false,
            hint: format!("cofide:b{index}"),
        },
        bindings: BTreeSet::from([format!("b{index}").parse().unwrap()]),
    }
}

/// How often each method of the entry API was called, by the server's audit log.
fn calls(spire: &Spire) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in spire.server_log().lines().filter(|line| line.contains("type=audit") && line.contains("service=entry.v1.Entry")) {
        let method = line.split("method=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        *calls.entry(method.to_owned()).or_insert(0) += 1;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_of_thousands_of_entries_a_change_touches_its_own_and_an_idle_agent_asks_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let own = TrustDomain::new("a.test").unwrap();
    // SPIRE's own interval: to make its view of all entries anew every second would be most of its work.
    let options = SpireOptions { audit_log: true, sync_interval: Duration::from_secs(5), ..SpireOptions::default() };
    let mut spire = Spire::new(folder.path(), &own, own_address(), options).await.unwrap();
    spire.start_server().await.unwrap();
    let client = SpireClient::new(&spire.admin_socket());
    let mut desired = Desired { entries: (0..ENTRIES).map(entry).collect(), ..Desired::default() };
    let (mut owned, mut view) = (OwnedTrust::new(), EntryView::new(Duration::from_secs(3600)));
    let mut run = async |desired: &Desired| {
        let began = Instant::now();
        let report = reconcile(&client, &own, desired, &mut owned, &mut view, |_| Ok::<(), String>(())).await.unwrap();
        assert_eq!(report.failures(), [""; 0]);
        (began.elapsed(), calls(&spire))
    };

    let (first_sync, after_first) = run(&desired).await;
    let (idle, after_idle) = run(&desired).await;
    assert_eq!(after_idle, after_first, "nothing to do, nothing to ask");
    desired.entries[ENTRIES / 2].content.dns_names.push("another.test".to_owned());
    let (change, after_change) = run(&desired).await;
    let mut expected = after_idle.clone();
    *expected.entry("BatchUpdateEntry".to_owned()).or_insert(0) += 1;
    assert_eq!(after_change, expected, "one entry, one line of the audit");

    let began = Instant::now();
    assert_eq!(client.entries().await.unwrap().len(), ENTRIES);
    let reading = began.elapsed();
    eprintln!("{ENTRIES} entries: first sync {first_sync:.1?}, all read {reading:.1?}, one changed {change:.1?}, none changed {idle:.1?}");
}
