use cofide_core::{Change, FederatedService, Noun, NounChange, NounId};
use cofide_plan::{ClusterPlan, Snapshot, affected, plan, resource};
use cofide_store::{
    AttestationPolicyBindingsMut, Changes, ClustersMut, Database, FederatedServicesMut, FederationsMut, KEPT_CHANGES, TrustZonesMut, Writer,
};

use crate::builders::{binding, bundle, cluster, domain, federation, id, service, zone};
use crate::objects::{some_change, two_zones};

fn server() -> FederatedService {
    service("server", &cluster("one", "a"), &["b.test"])
}

async fn commit<D: Database>(database: &D, change: Change) {
    database.begin_write().await.unwrap().commit(Some(change), Vec::new()).await.unwrap();
}

pub(crate) async fn every_kind_of_change_is_kept_as_it_was<D: Database>(database: &D) {
    let mut moved = server();
    moved.exported_trust_domains.insert(domain("under_score"));
    let changes = [
        Change::TrustZone(id("a")),
        Change::BundleOf(id("a")),
        Change::Cluster(id("one")),
        Change::of_federation(&federation("a", "b")),
        Change::AttestationPolicy(id("p")),
        Change::of_attestation_policy_binding(&binding("a", "p", &[])),
        Change::of_federated_service(Some(&server()), Some(&moved)).unwrap(),
        Change::ControlPlaneTrust,
    ];
    for change in &changes {
        commit(database, change.clone()).await;
    }
    let mut read = database.begin_read().await.unwrap();
    let expected: Vec<_> = (1..).zip(changes).collect();
    assert_eq!(read.changes_since(0).await.unwrap().unwrap(), expected);
    assert_eq!(read.changes_since(6).await.unwrap().unwrap(), expected[6..]);
    assert_eq!(read.changes_since(8).await.unwrap().unwrap(), []);
}

pub(crate) async fn a_change_resolves_to_what_is_there_now<D: Database>(database: &D) {
    two_zones(database).await;
    let changes = [
        Change::BundleOf(id("a")),
        Change::Cluster(id("one")),
        Change::of_federation(&federation("a", "b")),
        Change::AttestationPolicy(id("ping-pong")),
        Change::of_attestation_policy_binding(&binding("a", "ping-pong", &[])),
        Change::of_federated_service(None, Some(&server())).unwrap(),
    ];
    let mut read = database.begin_read().await.unwrap();
    let mut resolved = Vec::new();
    for change in &changes {
        resolved.extend(read.resolve(change).await.unwrap());
    }
    let expected: [Noun; 6] = [
        zone("a").into(),
        cluster("one", "a").into(),
        federation("a", "b").into(),
        crate::builders::policy("ping-pong").into(),
        binding("a", "ping-pong", &["b"]).into(),
        server().into(),
    ];
    assert_eq!(resolved, expected.map(NounChange::Put));
    assert_eq!(read.resolve(&Change::TrustZone(id("x"))).await.unwrap(), [NounChange::Remove(NounId::TrustZone(id("x")))]);
    assert_eq!(read.resolve(&Change::ControlPlaneTrust).await.unwrap(), []);
}

pub(crate) async fn a_reader_from_another_history_is_told_so<D: Database>(database: &D) {
    commit(database, some_change()).await;
    assert_eq!(database.begin_read().await.unwrap().changes_since(2).await.unwrap(), None, "a revision that has never been");
}

pub(crate) async fn a_reader_that_is_too_far_behind_is_told_so<D: Database>(database: &D) {
    for _ in 0..=KEPT_CHANGES {
        commit(database, some_change()).await;
    }
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.changes_since(0).await.unwrap(), None);
    let kept = read.changes_since(1).await.unwrap().expect("as many as are kept");
    assert_eq!((kept.len() as u64, kept[0].0), (KEPT_CHANGES, 2));
}

/// What a replica does: it learns of changes, looks up what is there, and recomputes what is named.
struct Follower {
    snapshot: Snapshot,
    revision: u64,
    plans: Vec<(cofide_core::ClusterId, ClusterPlan)>,
}

impl Follower {
    async fn catch_up<D: Database>(&mut self, database: &D) {
        let mut read = database.begin_read().await.unwrap();
        for (revision, change) in read.changes_since(self.revision).await.unwrap().unwrap() {
            let before = self.snapshot.clone();
            for noun_change in read.resolve(&change).await.unwrap() {
                self.snapshot.apply(noun_change);
            }
            for (cluster, key) in affected(&before, &self.snapshot, &change) {
                let resource = resource(&self.snapshot, &cluster, &key);
                if let Some((_, plan)) = self.plans.iter_mut().find(|(id, _)| *id == cluster) {
                    plan.set(key, resource);
                }
            }
            self.revision = revision;
        }
    }
}

pub(crate) async fn a_snapshot_that_follows_the_changes_equals_one_that_is_read_anew<D: Database>(database: &D) {
    two_zones(database).await;
    let start: Snapshot = database.begin_read().await.unwrap().nouns().await.unwrap().into_iter().collect();
    let plans = |snapshot: &Snapshot| ["one", "two", "three"].map(|name| (id(name), plan(snapshot, &id(name)))).to_vec();
    assert!(plans(&start)[1].1.imports().next().is_some(), "something to lose");
    let follower = || Follower { snapshot: start.clone(), revision: 0, plans: plans(&start) };
    let (mut eager, mut lazy) = (follower(), follower());

    for step in 0.. {
        let mut write = database.begin_write().await.unwrap();
        let change = match step {
            0 => {
                write.insert_trust_zone(&zone("c")).await.unwrap();
                Change::TrustZone(id("c"))
            }
            1 => {
                write.insert_cluster(&cluster("three", "c")).await.unwrap();
                Change::Cluster(id("three"))
            }
            2 => {
                write.insert_federation(&federation("c", "a")).await.unwrap();
                Change::of_federation(&federation("c", "a"))
            }
            3 => {
                write.insert_federation(&federation("a", "c")).await.unwrap();
                Change::of_federation(&federation("a", "c"))
            }
            4 => {
                write.update_attestation_policy_binding(&binding("a", "ping-pong", &["b", "c"])).await.unwrap();
                Change::of_attestation_policy_binding(&binding("a", "ping-pong", &[]))
            }
            5 => {
                let after = service("server", &cluster("one", "a"), &["c.test"]);
                write.update_federated_service(&after).await.unwrap();
                Change::of_federated_service(Some(&server()), Some(&after)).unwrap()
            }
            6 => {
                let mut rotated = zone("c");
                rotated.bundle = Some(bundle("c.test", 2));
                write.update_trust_zone(&rotated).await.unwrap();
                Change::BundleOf(id("c"))
            }
            7 => {
                write.delete_federation(&id("a-b")).await.unwrap();
                Change::of_federation(&federation("a", "b"))
            }
            8 => {
                write.delete_cluster(&id("one")).await.unwrap();
                Change::Cluster(id("one"))
            }
            9 => {
                write.delete_cluster(&id("three")).await.unwrap();
                Change::Cluster(id("three"))
            }
            10 => {
                write.delete_trust_zone(&id("c")).await.unwrap();
                Change::TrustZone(id("c"))
            }
            _ => break,
        };
        write.commit(Some(change), Vec::new()).await.unwrap();
        eager.catch_up(database).await;
        let anew: Snapshot = database.begin_read().await.unwrap().nouns().await.unwrap().into_iter().collect();
        assert_eq!(eager.snapshot, anew, "after step {step}");
        assert_eq!(eager.plans, plans(&anew), "after step {step}");
    }
    // One that slept finds the last state under the ids of old changes.
    lazy.catch_up(database).await;
    assert_eq!((lazy.snapshot, lazy.plans), (eager.snapshot, eager.plans));
}
