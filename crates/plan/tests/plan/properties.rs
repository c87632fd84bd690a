//! What holds in every world, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{
    BundleEndpointProfile, Change, Cluster, ClusterId, FederatedService, GatewayKind, Hostname, Noun, NounChange, NounId, Timestamp,
    TlsMode, TrustZoneId,
};
use cofide_plan::{ClusterPlan, Key, PlanResource, affected, plan, resource};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::builders::{binding, bundle, cluster, federation, gateway, id, policy, port, service, zone};
use crate::world::World;

const ZONES: [&str; 4] = ["a", "b", "c", "d"];
const POLICIES: [&str; 2] = ["p", "q"];
const PATTERNS: [&str; 3] = ["*", "a*", "*d"];
const SERVICES: [&str; 2] = ["s", "t"];

/// Cluster names carry their zone: `a1` is a cluster of zone a.
fn any_cluster() -> impl Strategy<Value = Cluster> {
    (select(&ZONES[..]), 1..3u8).prop_map(|(zone, number)| cluster(&format!("{zone}{number}"), zone))
}

fn any_zone() -> impl Strategy<Value = Noun> {
    // Now and then a zone claims a name and a domain that are not its own: plans must not depend on nobody doing that.
    let impostor = prop_oneof![9 => Just(None), 1 => select(&ZONES[..]).prop_map(Some)];
    (select(&ZONES[..]), impostor, proptest::option::of(1..3u8), any::<bool>()).prop_map(|(name, impostor, serial, spiffe)| {
        let mut own = zone(name);
        if let Some(other) = impostor {
            (own.name, own.trust_domain) = (zone(other).name, zone(other).trust_domain);
        }
        own.bundle = serial.map(|serial| bundle(own.trust_domain.as_str(), serial));
        if let (false, Some(endpoint)) = (spiffe, own.bundle_endpoint.as_mut()) {
            endpoint.profile = BundleEndpointProfile::HttpsWeb;
        }
        own.into()
    })
}

fn any_service() -> impl Strategy<Value = Noun> {
    let exported = btree_set(select(&["a.test", "b.test", "c.test", "d.test", "unknown.test"][..]), 0..4);
    let form = (select(vec![8443, 9443]), select(vec![TlsMode::Mtls, TlsMode::IstioMtls]), subsequence(vec!["/x", "/y"], 0..=1));
    (any_cluster(), select(&SERVICES[..]), exported, form, 0..3u8, 0..3i64).prop_map(
        |(cluster, name, exported, (number, tls_mode, paths), gateways, age)| {
            let mut service = service(name, &cluster, &exported.into_iter().collect::<Vec<_>>());
            service.port = port(number);
            service.tls_mode = tls_mode;
            service.spiffe_id_paths = paths.into_iter().map(id).collect();
            service.gateway_entries = (0..gateways).map(|n| gateway(GatewayKind::Ingress, &format!("192.0.2.{n}"), 443)).collect();
            service.created_at = Timestamp(age);
            service.into()
        },
    )
}

fn any_noun() -> impl Strategy<Value = Noun> {
    prop_oneof![
        3 => any_zone(),
        3 => any_cluster().prop_map(Noun::from),
        4 => (select(&ZONES[..]), select(&ZONES[..])).prop_map(|(from, to)| federation(from, to).into()),
        1 => select(&POLICIES[..]).prop_map(|name| policy(name).into()),
        2 => (select(&ZONES[..]), select(&POLICIES[..]), subsequence([&ZONES[..], &PATTERNS[..]].concat(), 0..3))
            .prop_map(|(zone, policy, federates_with)| binding(zone, policy, &federates_with).into()),
        5 => any_service(),
    ]
}

fn any_change() -> impl Strategy<Value = NounChange> {
    (any_noun(), 0..4u8).prop_map(|(noun, dice)| if dice == 0 { NounChange::Remove(noun.id()) } else { NounChange::Put(noun) })
}

fn any_world() -> impl Strategy<Value = World> {
    vec(any_change(), 0..60).prop_map(|changes| {
        let mut world = World::default();
        for change in &changes {
            world.apply(change);
        }
        world
    })
}

fn all_clusters() -> impl Iterator<Item = ClusterId> {
    ZONES.into_iter().flat_map(|zone| [1, 2].map(|number| id(&format!("{zone}{number}"))))
}

/// The rule of imports once more, from the plain objects and in the plainest words.
fn may_import(world: &World, client: &Cluster, hostname: &Hostname) -> bool {
    let Some(client) = world.zone(&client.trust_zone_id) else { return false };
    let trusts = |from: &TrustZoneId, to: &TrustZoneId| {
        world.federations().any(|federation| federation.trust_zone_id == *from && federation.remote_trust_zone_id == *to)
    };
    let is_exported = |service: &&FederatedService| {
        service.hostname == *hostname
            && service.exported_trust_domains.contains(&client.trust_domain)
            && service.trust_zone_id != client.id
            && trusts(&client.id, &service.trust_zone_id)
            && trusts(&service.trust_zone_id, &client.id)
    };
    let form = |service: &FederatedService| (service.port, service.tls_mode, service.spiffe_id_paths.clone());
    let oldest = world.services().filter(is_exported).min_by_key(|service| (service.created_at, service.id.clone()));
    oldest
        .is_some_and(|oldest| world.services().filter(is_exported).any(|one| form(one) == form(oldest) && !one.gateway_entries.is_empty()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_order_in_which_objects_arrive_does_not_matter(
        (world, shuffled) in any_world().prop_flat_map(|world| {
            let nouns: Vec<_> = world.nouns.values().cloned().collect();
            (Just(world), Just(nouns).prop_shuffle())
        })
    ) {
        let (one, other) = (world.snapshot(), shuffled.into_iter().collect());
        prop_assert_eq!(&one, &other);
        for cluster in all_clusters() {
            prop_assert_eq!(plan(&one, &cluster), plan(&other, &cluster));
        }
    }

    #[test]
    fn following_changes_gives_what_planning_anew_gives(mut world in any_world(), changes in vec(any_change(), 1..15)) {
        let mut snapshot = world.snapshot();
        let mut held: BTreeMap<ClusterId, ClusterPlan> = all_clusters().map(|id| (id.clone(), plan(&snapshot, &id))).collect();
        for noun_change in changes {
            let before = snapshot.clone();
            let change = world.apply(&noun_change);
            snapshot.apply(noun_change);
            prop_assert_eq!(&snapshot, &world.snapshot(), "indices after {:?}", change);
            for (cluster, key) in change.iter().flat_map(|change| affected(&before, &snapshot, change)) {
                let resource = resource(&snapshot, &cluster, &key);
                held.entry(cluster).or_default().set(key, resource);
            }
            for (cluster, held) in &held {
                prop_assert_eq!(held, &plan(&snapshot, cluster), "cluster {} after {:?}", cluster, change);
            }
        }
    }

    #[test]
    fn several_changes_taken_together_name_all_that_they_touch(mut world in any_world(), changes in vec(any_change(), 1..15)) {
        let before = world.snapshot();
        let mut after = before.clone();
        let mut noted = Vec::new();
        for noun_change in changes {
            noted.extend(world.apply(&noun_change));
            after.apply(noun_change);
        }
        let mut held: BTreeMap<ClusterId, ClusterPlan> = all_clusters().map(|id| (id.clone(), plan(&before, &id))).collect();
        for (cluster, key) in noted.iter().flat_map(|change| affected(&before, &after, change)) {
            let resource = resource(&after, &cluster, &key);
            held.entry(cluster).or_default().set(key, resource);
        }
        for (cluster, held) in &held {
            prop_assert_eq!(held, &plan(&after, cluster), "cluster {} after {:?}", cluster, noted);
        }
    }

    #[test]
    fn a_bundle_change_alone_needs_no_more_than_is_named(world in any_world(), name in select(&ZONES[..])) {
        let before = world.snapshot();
        let Some(mut changed) = world.zone(&id(name)).cloned() else { return Ok(()) };
        changed.bundle = Some(bundle(changed.trust_domain.as_str(), 9));
        let mut after = before.clone();
        after.apply(changed.clone().into());
        let named = affected(&before, &after, &Change::BundleOf(changed.id));
        for cluster in all_clusters() {
            let (before, after) = (plan(&before, &cluster), plan(&after, &cluster));
            let differing: BTreeSet<_> = after.iter().filter(|(key, value)| before.get(key) != Some(*value)).map(|(key, _)| key.clone()).collect();
            let named: BTreeSet<_> = named.iter().filter(|(id, _)| *id == cluster).map(|(_, key)| key.clone()).collect();
            prop_assert_eq!(before.len(), after.len());
            prop_assert!(differing.is_subset(&named), "{:?} differ, {:?} are named", differing, named);
        }
    }

    #[test]
    fn a_federation_is_news_to_those_bindings_alone_that_name_the_zone_or_match_its_name(
        world in any_world(), from in select(&ZONES[..]), to in select(&ZONES[..])
    ) {
        let before = world.snapshot();
        let mut with_it = world.clone();
        let Some(change) = with_it.apply(&NounChange::Put(federation(from, to).into())) else { return Ok(()) };
        let after = with_it.snapshot();
        let Some(remote) = world.zone(&id(to)) else { return Ok(()) };
        for (cluster, key) in affected(&before, &after, &change) {
            let Key::Registration(binding) = key else { continue };
            let binding = after.binding(&binding).expect("a federation takes no binding away");
            prop_assert!(binding.federates_with.contains(&remote.id) || binding.matches(&remote.name), "{:?} in {}", binding, cluster);
        }
    }

    #[test]
    fn a_binding_gives_the_bundles_that_it_names_or_matches_where_there_is_a_federation_and_no_others(world in any_world()) {
        let snapshot = world.snapshot();
        for cluster in world.clusters() {
            for (_, resource) in plan(&snapshot, &cluster.id).iter() {
                let PlanResource::Registration(registration) = resource else { continue };
                let binding = snapshot.binding(&registration.binding_id).unwrap();
                let federated = world.federations().filter(|federation| federation.trust_zone_id == cluster.trust_zone_id);
                let zones = federated.filter_map(|federation| world.zone(&federation.remote_trust_zone_id));
                let wanted = zones.filter(|zone| binding.federates_with.contains(&zone.id) || binding.matches(&zone.name));
                let wanted: BTreeSet<_> = wanted.map(|zone| zone.trust_domain.clone()).collect();
                prop_assert_eq!(registration.federates_with.iter().cloned().collect::<BTreeSet<_>>(), wanted);
            }
        }
    }

    #[test]
    fn nobody_imports_what_is_not_exported_and_federated_and_nothing_else_is_missing(world in any_world()) {
        let snapshot = world.snapshot();
        let hostnames: BTreeSet<_> = world.services().map(|service| service.hostname.clone()).collect();
        for cluster in world.clusters() {
            let imported: BTreeSet<_> = plan(&snapshot, &cluster.id).imports().map(|import| import.hostname.clone()).collect();
            let expected: BTreeSet<_> = hostnames.iter().filter(|hostname| may_import(&world, cluster, hostname)).cloned().collect();
            prop_assert_eq!(imported, expected, "cluster {}", &cluster.id);
        }
    }

    #[test]
    fn no_registration_names_a_domain_without_a_federation(world in any_world()) {
        let snapshot = world.snapshot();
        for cluster in world.clusters() {
            let trusted: BTreeSet<_> = world
                .federations()
                .filter(|federation| federation.trust_zone_id == cluster.trust_zone_id)
                .filter_map(|federation| world.zone(&federation.remote_trust_zone_id))
                .map(|zone| zone.trust_domain.clone())
                .collect();
            for (_, resource) in plan(&snapshot, &cluster.id).iter() {
                let PlanResource::Registration(registration) = resource else { continue };
                prop_assert!(registration.federates_with.is_sorted());
                prop_assert!(registration.federates_with.iter().all(|domain| trusted.contains(domain)), "{:?}", registration);
            }
        }
    }

    #[test]
    fn a_removal_leaves_no_trace(world in any_world(), noun in any_noun()) {
        let mut snapshot = world.snapshot();
        let removed = noun.id();
        snapshot.apply(NounChange::Remove(removed.clone()));
        let mut expected = world;
        expected.apply(&NounChange::Remove(removed.clone()));
        prop_assert_eq!(&snapshot, &expected.snapshot());
        if let NounId::TrustZone(zone) = removed {
            prop_assert_eq!(snapshot.federations_from(&zone).chain(snapshot.federations_to(&zone)).count(), 0);
            prop_assert!(snapshot.bindings_of(&zone).next().is_none());
        }
    }
}
