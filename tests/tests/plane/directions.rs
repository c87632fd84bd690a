//! Who can verify whom, in every arrangement of trust between three zones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use cofide_svid::IdentitySource;
use cofide_svid::x509::{KeyUsage, verify};
use cofide_testkit::plane::Plane;
use cofide_testkit::wait::eventually;
use cofide_testkit::workload::Workload;

const ZONES: [usize; 3] = [0, 1, 2];
/// From, to.
const DIRECTIONS: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

/// What the binding of each zone federates with: in four rounds, each zone has each subset of the other two.
fn federates_with(round: usize) -> [Vec<usize>; 3] {
    ZONES.map(|zone| {
        let subset = (round + zone) % 4;
        let others = ZONES.into_iter().filter(|other| *other != zone).enumerate();
        others.filter(|(bit, _)| subset & (1 << bit) != 0).map(|(_, other)| other).collect()
    })
}

/// The model: a workload verifies one of its own zone, and one of a zone that its binding names and its zone federates with.
fn can_verify(federations: &BTreeSet<(usize, usize)>, bindings: &[Vec<usize>; 3], one: usize, other: usize) -> bool {
    one == other || (bindings[one].contains(&other) && federations.contains(&(one, other)))
}

fn verifies(one: &Workload, other: &Workload) -> bool {
    let svid = other.identity.identity().expect("every workload has an identity");
    verify(&svid.certificates, one.bundles.as_ref(), SystemTime::now(), KeyUsage::Server).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_subset_of_the_six_directions_those_can_verify_whom_the_model_says_and_no_others() {
    let mut plane = Plane::start().await.unwrap();
    let (mut ids, mut workloads) = (Vec::new(), Vec::new());
    for letter in ["a", "b", "c"] {
        let zone = plane.add_zone(letter).await.unwrap();
        ids.push(plane.bind(zone, "/ns/demo/sa/workload", &[]).await.unwrap());
        workloads.push(Workload::start(&plane.zones[zone], "/ns/demo/sa/workload").await.unwrap());
    }
    let names: Vec<String> = plane.zones.iter().map(|zone| zone.trust_domain.to_string()).collect();
    let mut federations = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let bindings = federates_with(round);
        // In the order of Gray's code each subset differs from the one before in one direction.
        for step in 0..64u32 {
            let absent = step ^ (step >> 1);
            for (bit, direction) in DIRECTIONS.into_iter().enumerate() {
                match (absent & (1 << bit) == 0, federations.contains_key(&direction)) {
                    (true, false) => {
                        federations.insert(direction, plane.federate(direction.0, direction.1).await.unwrap());
                    }
                    (false, true) => plane.unfederate(federations.remove(&direction).unwrap()).await.unwrap(),
                    _ => {}
                }
            }
            if step == 0 {
                // A binding names only zones with which its zone federates: here those are all.
                for zone in ZONES {
                    plane.update_binding(&ids[zone], &bindings[zone]).await.unwrap();
                }
            }
            let present: BTreeSet<_> = federations.keys().copied().collect();
            let expected = ZONES.map(|one| ZONES.map(|other| can_verify(&present, &bindings, one, other)));
            for zone in ZONES {
                let trusted: BTreeSet<_> =
                    ZONES.into_iter().filter(|other| expected[zone][*other]).map(|other| names[other].clone()).collect();
                let what = format!("{} holds {trusted:?} with {present:?} and {bindings:?}", names[zone]);
                eventually(&what, || async { workloads[zone].trusts() }, |held| *held == trusted).await;
            }
            let found = ZONES.map(|one| ZONES.map(|other| verifies(&workloads[one], &workloads[other])));
            assert_eq!(found, expected, "who verifies whom with {present:?} and {bindings:?}");
            seen.insert((present, bindings.clone()));
        }
    }
    assert_eq!(seen.len(), 4 * 64, "every subset was there once in each round");
}
