use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;

use super::*;

const HOLD: Duration = Duration::from_secs(60);

fn hostname(index: u32) -> Hostname {
    format!("server-{index}.demo.a.test").parse().unwrap()
}

fn hostnames(indices: impl IntoIterator<Item = u32>) -> BTreeSet<Hostname> {
    indices.into_iter().map(hostname).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn open(folder: &tempfile::TempDir, pool: &str) -> Addresses {
    let data = Arc::new(DataFolder::open(&folder.path().join("data")).unwrap());
    Addresses::open(data, pool.parse().unwrap(), HOLD).unwrap()
}

#[test]
fn a_pool_is_a_loopback_range_without_localhost() {
    let parse = |text: &str| text.parse::<LoopbackPool>();
    assert_eq!(parse("127.64.0.0/10"), Ok(LoopbackPool::default()));
    assert_eq!(parse("127.9.9.9/32").unwrap().size(), 1);
    assert_eq!(parse("127.9.9.8/31").unwrap().size(), 2);
    assert_eq!(parse("127.9.9.8/30").unwrap().size(), 2);
    for text in ["127.64.0.0", "127.64.0.0/33", "127.64.0/10", "/", "127.64.0.0/-1"] {
        assert_eq!(parse(text), Err(LoopbackPoolError::Syntax(text.into())));
    }
    for text in ["10.0.0.0/8", "126.0.0.0/7", "127.0.0.0/7"] {
        assert_eq!(parse(text), Err(LoopbackPoolError::NotLoopback(text.into())));
    }
    assert_eq!(parse("127.64.0.1/10").unwrap_err().to_string(), "127.64.0.1/10 does not begin at its network address; use 127.64.0.0/10");
    assert!(matches!(parse("127.0.0.0/8"), Err(LoopbackPoolError::ContainsLocalhost(_))));
}

#[test]
fn addresses_survive_a_restart_and_the_arrival_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder, "127.77.0.0/28").assign(&hostnames([5, 6]), at(0));
    let second = open(&folder, "127.77.0.0/28").assign(&hostnames(0..10), at(1));
    for (hostname, address) in &first.addresses {
        assert_eq!(second.addresses[hostname], *address);
    }
    assert_eq!(second.addresses.len(), 10);
    assert!(second.refused.is_empty());
}

#[test]
fn agents_that_import_the_same_services_agree() {
    let assigned = |pool: &str| open(&tempfile::tempdir().unwrap(), pool).assign(&hostnames(0..50), at(0)).addresses;
    assert_eq!(assigned("127.64.0.0/10"), assigned("127.64.0.0/10"));
}

#[test]
fn an_address_is_held_back_until_no_client_remembers_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut addresses = open(&folder, "127.77.0.9/32");
    let address = addresses.assign(&hostnames([1]), at(0)).addresses[&hostname(1)];

    let refused = addresses.assign(&hostnames([2]), at(10)).refused;
    let message = refused[&hostname(2)].to_string();
    assert!(message.contains("127.77.0.9/32: 0 are in use and 1 are held back"), "{message}");
    assert_eq!(addresses.assign(&hostnames([2]), at(69)).refused.len(), 1, "released at 10, held for 60");

    assert_eq!(addresses.assign(&hostnames([1]), at(70 - 1)).addresses[&hostname(1)], address, "its own hostname may have it back");
    addresses.assign(&hostnames([]), at(100));
    drop(addresses);
    assert_eq!(open(&folder, "127.77.0.9/32").assign(&hostnames([2]), at(160)).addresses[&hostname(2)], address);
}

#[test]
fn a_full_pool_refuses_the_newcomer_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut addresses = open(&folder, "127.77.0.0/29");
    let before = addresses.assign(&hostnames(10..16), at(0));
    assert_eq!(before.addresses.len(), 6);
    let after = addresses.assign(&hostnames(9..16), at(1));
    assert_eq!(after.addresses, before.addresses);
    assert_eq!(after.refused.keys().collect::<Vec<_>>(), [&hostname(9)]);
}

#[test]
fn another_pool_moves_everybody() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, "127.77.0.0/24").assign(&hostnames([1]), at(0));
    let moved = open(&folder, "127.78.0.0/24").assign(&hostnames([1]), at(1));
    assert_eq!(moved.addresses[&hostname(1)].octets()[1], 78);
}

#[test]
fn most_addresses_come_out_the_same_where_the_file_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(&folder, "127.77.0.0/24").assign(&hostnames([1]), at(0));
    let kept = OpenOptions::new().append(true).open(folder.path().join("data/addresses.state"));
    kept.unwrap().write_all(b"!").unwrap();
    assert_eq!(open(&folder, "127.77.0.0/24").assign(&hostnames([1]), at(1)), before);
    assert!(folder.path().join("data/addresses.damaged").exists());
}

#[test]
fn an_address_that_cannot_be_recorded_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut addresses = open(&folder, "127.77.0.0/24");
    let before = addresses.assign(&hostnames([1]), at(0));
    std::fs::rename(folder.path().join("data"), folder.path().join("elsewhere")).unwrap();

    let after = addresses.assign(&hostnames([1, 2]), at(1));
    assert_eq!(after.addresses, before.addresses);
    assert!(matches!(after.refused[&hostname(2)], NoAddress::NotRecorded(_)));

    std::fs::create_dir(folder.path().join("data")).unwrap();
    assert_eq!(addresses.assign(&hostnames([1, 2]), at(2)).addresses.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes and goes, and whenever the agent restarts: no address serves two, none moves while it is in use, and
    /// none changes hands within the hold time.
    #[test]
    fn an_address_belongs_to_one_hostname_at_a_time(
        steps in proptest::collection::vec((proptest::collection::btree_set(0u32..12, 0..8), 0i64..50, any::<bool>()), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut addresses = open(&folder, "127.77.0.0/29");
        let mut now = 0;
        // When each address was last seen in use, and by whom.
        let mut last_use: BTreeMap<Ipv4Addr, (Hostname, i64)> = BTreeMap::new();
        let mut before = Assignment::default();
        for (indices, wait, restart) in steps {
            let previously = now;
            now += wait;
            if restart {
                drop(addresses);
                addresses = open(&folder, "127.77.0.0/29");
            }
            let wanted = hostnames(indices);
            let assignment = addresses.assign(&wanted, at(now));

            let distinct: BTreeSet<_> = assignment.addresses.values().collect();
            prop_assert_eq!(distinct.len(), assignment.addresses.len());
            prop_assert_eq!(assignment.addresses.len() + assignment.refused.len(), wanted.len());
            for (hostname, address) in &assignment.addresses {
                if let Some(kept) = before.addresses.get(hostname) {
                    prop_assert_eq!(kept, address);
                }
                if let Some((other, seen)) = last_use.get(address) {
                    // It was released no earlier than it was last seen in use.
                    prop_assert!(other == hostname || now >= seen + 60, "{} went from {} to {} in {} s", address, other, hostname, now - seen);
                }
            }
            for (hostname, address) in before.addresses {
                last_use.insert(address, (hostname, previously));
            }
            before = assignment;
        }
    }
}
