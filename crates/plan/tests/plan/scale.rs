//! The cost of a change follows the change.

use std::time::Instant;

use cofide_core::{Change, Noun};
use cofide_plan::{Key, Snapshot, affected};

use crate::builders::{cluster, federation, id, service, zone};
use crate::world::World;

const ZONES: usize = 20;
const SERVICES_PER_CLUSTER: usize = 500;

/// Twenty zones in a ring, each federated with its neighbours both ways; each exports all its services to the next.
fn ring() -> Snapshot {
    let name = |number: usize| format!("z{}", number % ZONES);
    let mut nouns: Vec<Noun> = Vec::new();
    for number in 0..ZONES {
        let (own, next) = (name(number), name(number + 1));
        let cluster = cluster(&format!("{own}-cluster"), &own);
        nouns.push(zone(&own).into());
        nouns.push(federation(&own, &next).into());
        nouns.push(federation(&next, &own).into());
        let services = (0..SERVICES_PER_CLUSTER).map(|index| service(&format!("s{index}"), &cluster, &[&format!("{next}.test")]));
        nouns.extend(services.map(Noun::from));
        nouns.push(cluster.into());
    }
    nouns.into_iter().collect()
}

#[test]
fn a_change_of_one_service_looks_at_no_other() {
    let started = Instant::now();
    let mut snapshot = ring();
    let built_in = started.elapsed();

    let started = Instant::now();
    for index in 0..SERVICES_PER_CLUSTER {
        let before = snapshot.clone();
        let mut changed = before.federated_service(&id(&format!("z0-cluster-s{index}"))).unwrap().clone();
        let old = changed.clone();
        changed.gateway_entries.clear();
        let change = Change::of_federated_service(Some(&old), Some(&changed)).unwrap();
        snapshot.apply(changed.clone().into());
        let named: Vec<_> = affected(&before, &snapshot, &change).into_iter().collect();
        let expected = [(id("z0-cluster"), Key::Export(changed.id.clone())), (id("z1-cluster"), Key::Import(changed.hostname.clone()))];
        assert_eq!(named, expected);
    }
    // One pass over all services for each change would take hundreds of times as long as building took.
    assert!(started.elapsed() < built_in, "500 changes took {:?}, building 10000 services took {built_in:?}", started.elapsed());
}

#[test]
fn a_federation_touches_its_two_zones_only() {
    let before = ring();
    let mut world = World::default();
    let change = world.apply(&federation("z0", "z1").into()).unwrap();
    let named = affected(&before, &before, &change);
    assert!(named.iter().all(|(cluster, _)| ["z0-cluster", "z1-cluster"].contains(&cluster.as_str())));
    // The export and the import of each service between the two, and the bundle of z1 in z0.
    assert_eq!(named.len(), 2 * SERVICES_PER_CLUSTER + 1);
}
