//! Many entries into an empty SPIRE server: by our executor, and by SPIRE's own command line.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cofide_agent::spire::SpireClient;
use cofide_agent::spire::executor::reconcile;
use cofide_agent::spire::model::{Desired, DesiredEntry, EntryContent, EntryKey, OwnedTrust};
use cofide_agent::spire::view::EntryView;
use cofide_core::TrustDomain;
use cofide_testkit::loopback::own_address;
use cofide_testkit::spire::{Spire, SpireOptions};
use serde_json::json;

const SPIRE_SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Nothing else has its hand in these servers.
const NO_REREAD: Duration = Duration::from_secs(3600);

pub(crate) async fn compare(entries: usize) -> Result<()> {
    let ours = ours(entries).await?;
    let by_hand = by_hand(entries).await?;
    let ratio = ours.as_secs_f64() / by_hand.as_secs_f64();
    println!("\n| {entries} entries into an empty SPIRE server, s | ours | `spire-server entry create -data` | ratio |\n|---|--:|--:|--:|");
    println!("| first sync | {:.1} | {:.1} | {ratio:.2} |", ours.as_secs_f64(), by_hand.as_secs_f64());
    Ok(())
}

async fn server(folder: &tempfile::TempDir) -> Result<(Spire, TrustDomain)> {
    let trust_domain = TrustDomain::new("a.test")?;
    let options = SpireOptions { sync_interval: SPIRE_SYNC_INTERVAL, ..SpireOptions::default() };
    let mut spire = Spire::new(folder.path(), &trust_domain, own_address(), options).await?;
    spire.start_server().await?;
    Ok((spire, trust_domain))
}

async fn ours(entries: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let (spire, trust_domain) = server(&folder).await?;
    let desired = Desired { entries: (0..entries).map(desired).collect::<Result<_>>()?, ..Desired::default() };
    let (mut owned, mut view) = (OwnedTrust::new(), EntryView::new(NO_REREAD));
    let client = SpireClient::new(&spire.admin_socket());
    let began = Instant::now();
    let report = reconcile(&client, &trust_domain, &desired, &mut owned, &mut view, |_| Ok::<(), String>(())).await?;
    let took = began.elapsed();
    ensure!(report.failures().is_empty(), "{:?}", report.failures());
    Ok(took)
}

async fn by_hand(entries: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let (spire, _) = server(&folder).await?;
    let file = folder.path().join("entries.json");
    std::fs::write(&file, json!({ "entries": (0..entries).map(by_hand_entry).collect::<Vec<_>>() }).to_string())?;
    let began = Instant::now();
    spire.command(&["entry", "create", "-data", &file.to_string_lossy()]).await?;
    Ok(began.elapsed())
}

fn spiffe_id(index: usize) -> String {
    format!("spiffe://a.test/ns/bench/sa/w{index}")
}

fn desired(index: usize) -> Result<DesiredEntry> {
    let selector = format!("unix:uid:{index}").parse().map_err(anyhow::Error::msg)?;
    let key = EntryKey {
        spiffe_id: spiffe_id(index),
        parent_id: format!("spiffe://a.test{}", Spire::PARENT_ID_PATH),
        selectors: BTreeSet::from([selector]),
    };
    let hint = format!("cofide:b{index}");
    let content = EntryContent { dns_names: vec![format!("w{index}.test")], federates_with: BTreeSet::new(), store_svid: false, hint };
    Ok(DesiredEntry { key, content, bindings: BTreeSet::from([format!("b{index}").parse()?]) })
}

/// The same entry, as SPIRE's command line reads it.
fn by_hand_entry(index: usize) -> serde_json::Value {
    json!({
        "spiffe_id": spiffe_id(index),
        "parent_id": format!("spiffe://a.test{}", Spire::PARENT_ID_PATH),
        "selectors": [{ "type": "unix", "value": format!("uid:{index}") }],
        "dns_names": [format!("w{index}.test")],
        "hint": format!("cofide:b{index}"),
    })
}
