use super::*;
use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_core::{BundleDigest, Noun};
use cofide_test_objects::{self as objects, bundle, cluster, domain, id, zone};

fn federation() -> Federation {
    Federation { created_at: Timestamp(20), updated_at: Timestamp(20), ..objects::federation("a", "b") }
}

fn agent(cluster: &str) -> Agent {
    Agent {
        id: id(&format!("ag-{cluster}")),
        cluster_id: id(cluster),
        trust_zone_id: id("a"),
        status: None,
        spiffe_id: None,
        last_seen_at: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// Zone a, with clusters one and two, trusts zone b.
fn world() -> Snapshot {
    let remote = TrustZone { updated_at: Timestamp(30), ..zone("b") };
    let clusters = [cluster("one", "a"), cluster("two", "a")].map(Noun::from);
    [zone("a").into(), remote.into(), federation().into()].into_iter().chain(clusters).collect()
}

const NOW: Timestamp = Timestamp(3_600_000_000);

fn ago(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1_000_000)
}

fn good() -> BundleDigest {
    bundle("b.test", 1).digest()
}

fn old() -> BundleDigest {
    bundle("b.test", 2).digest()
}

/// Read at this moment: the bundle of b, if any, as it is since 40.
fn reading(cluster: &str, digest: Option<BundleDigest>, read_at: Timestamp) -> BundleReading {
    let found = digest.map(|digest| FoundBundle { digest, sequence_number: 3 });
    let bundles = [(domain("b.test"), HeldBundle { found, since: Timestamp(40) })].into();
    BundleReading { cluster_id: agent(cluster).cluster_id, read_at, bundles }
}

struct World(Evidence);

impl World {
    fn of(clusters: &[&str]) -> Self {
        let sign = Sign { is_connected: true, last_seen_at: Some(NOW) };
        let agents = clusters.iter().map(|cluster| (agent(cluster), sign)).collect();
        Self(Evidence { agents, ..Evidence::default() })
    }

    fn reads(mut self, reading: BundleReading) -> Self {
        self.0.readings.insert(reading.cluster_id.clone(), reading);
        self
    }

    fn gone(mut self) -> Self {
        for (_, sign) in &mut self.0.agents {
            sign.is_connected = false;
        }
        self
    }

    fn refuses(mut self, cluster: &str, version: String) -> Self {
        let receipt = Receipt {
            agent_id: agent(cluster).id,
            cluster_id: agent(cluster).cluster_id,
            type_url: FEDERATED_TRUST.into(),
            resource_name: "b.test".into(),
            version,
            outcome: ReceiptOutcome::Rejected("disk full".into()),
            at: NOW,
        };
        self.0.add_receipts(vec![receipt]);
        self
    }

    fn status(&self) -> FederationStatus {
        judge(&world(), &federation(), &self.0, NOW)
    }

    /// Health and reason.
    fn says(&self) -> (Health, String) {
        let status = self.status();
        (status.health, status.reason)
    }
}

#[test]
fn a_federation_is_as_healthy_as_the_worst_of_its_clusters() {
    let one = |digest| reading("one", digest, NOW);
    let two = |digest| reading("two", digest, NOW);
    let healthy = (Health::Healthy, String::new());
    assert_eq!(World::of(&[]).says().1, "no agent of the trust zone has joined");
    assert_eq!(World::of(&["one"]).reads(one(Some(good()))).says(), healthy);
    assert_eq!(World::of(&["one"]).reads(one(Some(good()))).reads(two(None)).says(), healthy, "cluster two has no agent");
    assert_eq!(World::of(&["one", "two"]).reads(one(Some(good()))).says().1, "the agent of cluster two has not reported yet");
    assert_eq!(World::of(&["one", "two"]).reads(one(Some(good()))).reads(two(Some(good()))).says(), healthy);
    let differs = (Health::Unhealthy, "Bundles do not match".to_owned());
    assert_eq!(World::of(&["one", "two"]).reads(one(Some(good()))).reads(two(Some(old()))).says(), differs);
    assert_eq!(World::of(&["one", "two"]).reads(one(Some(old()))).says(), differs, "what is known to be bad outweighs what is not known");
    let none = (Health::Unhealthy, "No bundle found".to_owned());
    assert_eq!(World::of(&["one"]).reads(one(None)).says(), none);
    let never = BundleReading { bundles: [].into(), ..one(None) };
    assert_eq!(World::of(&["one"]).reads(never).says(), none, "a reading that does not name it");
}

#[test]
fn what_an_agent_said_against_the_bundle_is_told_while_it_is_about_the_present_one() {
    let wanted = cofide_plan::resource(&world(), &agent("one").cluster_id, &Key::Trust(domain("b.test"))).unwrap();
    let refused = World::of(&["one"]).reads(reading("one", None, NOW)).refuses("one", hub::version(&wanted));
    assert_eq!(refused.says().1, "No bundle found; cluster one refused it: disk full");
    let about_an_older = World::of(&["one"]).reads(reading("one", Some(old()), NOW)).refuses("one", "older".into());
    assert_eq!(about_an_older.says().1, "Bundles do not match");
    let left_alone = World::of(&["one"]).refuses("one", hub::version(&wanted)).says();
    assert_eq!(
        left_alone,
        (Health::Unknown, "the agent of cluster one does not read what the SPIRE server holds; it says: disk full".into())
    );
    let held_all_the_same = World::of(&["one"]).reads(reading("one", Some(good()), NOW)).refuses("one", hub::version(&wanted));
    assert_eq!(held_all_the_same.says(), (Health::Healthy, String::new()), "what is there counts, not what was said");
}

#[test]
fn an_old_reading_proves_nothing_and_a_younger_one_tells_its_age() {
    let read = |seconds| World::of(&["one"]).reads(reading("one", Some(good()), ago(seconds)));
    let gone = |age: &str| format!("last report {age} ago, by agent ag-one of cluster one; the agent is not connected");
    let overdue = |age: &str| format!("the agent of cluster one has last read its SPIRE server {age} ago");
    for (world, expected) in [
        (read(40), (Health::Healthy, String::new())),
        (read(120), (Health::Healthy, overdue("2m"))),
        (read(301), (Health::Unknown, overdue("5m"))),
        (read(40).gone(), (Health::Healthy, gone("40s"))),
        (read(420).gone(), (Health::Unknown, gone("7m"))),
    ] {
        assert_eq!(world.says(), expected);
    }
    let bad = World::of(&["one"]).reads(reading("one", Some(old()), ago(420))).gone();
    assert_eq!(bad.says(), (Health::Unknown, format!("{}; before that: Bundles do not match", gone("7m"))));
    let both = World::of(&["one", "two"]).reads(reading("one", Some(good()), ago(420))).reads(reading("two", Some(good()), NOW));
    assert_eq!(both.status().health, Health::Unknown, "of several clusters, the worst is the zone's");
    assert_eq!(both.status().observed_at, Some(ago(420)), "the proof is as old as its oldest part");
    let one_never = World::of(&["one", "two"]).reads(reading("two", Some(good()), NOW));
    assert_eq!(one_never.status().observed_at, None);
}

#[test]
fn a_status_says_since_when_it_holds() {
    let since = |world: &World| world.status().since.map(|since| since.0);
    let held = |cluster, digest, since| {
        let mut reading = reading(cluster, digest, NOW);
        reading.bundles.get_mut(&domain("b.test")).unwrap().since = Timestamp(since);
        reading
    };
    let world = World::of(&["one", "two"]).reads(held("one", Some(good()), 40)).reads(held("two", Some(good()), 50));
    assert_eq!(since(&world), Some(50), "well when the last cluster was");
    let world = World::of(&["one", "two"]).reads(held("one", None, 60)).reads(held("two", None, 50));
    assert_eq!(since(&world), Some(50), "unwell when the first was not");
    let world = World::of(&["one"]).reads(held("one", Some(good()), 10));
    assert_eq!(since(&world), Some(20), "not before there was a federation");
    let world = World::of(&["one"]).reads(held("one", Some(old()), 25));
    assert_eq!(since(&world), Some(30), "another bundle since the remote zone has a new one");
    assert_eq!(since(&World::of(&["one"])), None);
    let stale = World::of(&["one"]).reads(reading("one", Some(good()), ago(420)));
    assert_eq!(stale.status().since, Some(ago(420)), "unknown since the last proof");
}

#[test]
fn a_zone_without_a_bundle_is_waited_for() {
    let mut remote = zone("b");
    remote.bundle = None;
    let mut snapshot = world();
    snapshot.apply(remote.into());
    let evidence = World::of(&["one"]).reads(reading("one", None, NOW)).0;
    let status = judge(&snapshot, &federation(), &evidence, NOW);
    assert_eq!((status.health, status.reason.as_str()), (Health::Waiting, "trust zone b has not delivered its bundle yet"));
    assert_eq!((status.since, status.observed_at), (Some(Timestamp(20)), Some(NOW)));
}
