//! A server that keeps SPIRE's rules, and every way of stopping half way.

use super::*;
use crate::spire::model::{DesiredTrust, RelationshipProfile};
use cofide_core::X509Authority;
use proptest::prelude::*;

const DOMAINS: [&str; 4] = ["b.test", "c.test", "d.test", "e.test"];

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn bundle(name: &str, authority: u8, sequence_number: u64) -> Bundle {
    bundle_of(name, &[authority], sequence_number)
}

fn bundle_of(name: &str, authorities: &[u8], sequence_number: u64) -> Bundle {
    let x509_authorities = authorities.iter().map(|der| X509Authority { der: vec![*der], tainted: false }).collect();
    Bundle { x509_authorities, sequence_number, ..Bundle::empty(domain(name)) }
}

fn key(name: &str) -> EntryKey {
    EntryKey {
        spiffe_id: format!("spiffe://a.test/{name}"),
        parent_id: "spiffe://a.test/agent".to_owned(),
        selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
    }
}

fn content(hint: &str, federates_with: &[&str]) -> EntryContent {
    let federates_with = federates_with.iter().map(|name| domain(name)).collect();
    EntryContent { dns_names: Vec::new(), federates_with, store_svid: false, hint: hint.to_owned() }
}

fn desired_entry(name: &str, federates_with: &[&str]) -> DesiredEntry {
    let binding: AttestationPolicyBindingId = format!("b-{name}").parse().unwrap();
    let content = content(&format!("cofide:{binding}"), federates_with);
    DesiredEntry { key: key(name), content, bindings: BTreeSet::from([binding]) }
}

fn relationship(name: &str, url: &str) -> Relationship {
    Relationship { trust_domain: domain(name), endpoint_url: url.to_owned(), profile: RelationshipProfile::HttpsWeb }
}

/// The rules of SPIRE that make order matter.
#[derive(Clone, Debug, Default)]
struct Server {
    state: State,
    owned: OwnedTrust,
    next_id: u32,
}

impl Server {
    fn check_federation(&self, content: &EntryContent) {
        for trust_domain in &content.federates_with {
            assert!(self.state.bundles.contains_key(trust_domain), "SPIRE refuses an entry that names {trust_domain} without its bundle");
        }
    }

    fn trust(&mut self, change: TrustChange) {
        let trust_domain = change.trust_domain().clone();
        let mark = self.owned.entry(trust_domain.clone()).or_default();
        match change {
            TrustChange::SetBundle(bundle) => {
                *mark = BundleMark::of(&bundle);
                self.state.bundles.insert(trust_domain, bundle);
            }
            TrustChange::CreateRelationship(relationship) => {
                assert!(self.state.relationships.insert(trust_domain, relationship).is_none(), "created twice");
            }
            TrustChange::UpdateRelationship(relationship) => {
                assert!(self.state.relationships.insert(trust_domain, relationship).is_some(), "nothing to update");
            }
        }
    }

    fn entry(&mut self, change: EntryChange) {
        match change {
            EntryChange::Create { key, content, .. } => {
                self.check_federation(&content);
                assert!(self.state.entries.iter().all(|entry| entry.key != key), "SPIRE refuses a second entry like this");
                self.next_id += 1;
                self.state.entries.push(Entry { id: format!("id-{}", self.next_id), key, content });
            }
            EntryChange::Update { id, content, .. } => {
                self.check_federation(&content);
                self.state.entries.iter_mut().find(|entry| entry.id == id).unwrap().content = content;
            }
            EntryChange::Delete { id, .. } => self.state.entries.retain(|entry| entry.id != id),
        }
    }

    fn remove(&mut self, removal: TrustRemoval) {
        match removal {
            TrustRemoval::Relationship(trust_domain) => {
                self.state.relationships.remove(&trust_domain);
            }
            TrustRemoval::Bundle(trust_domain) => {
                let foreign = |entry: &Entry| !entry.is_ours() && entry.content.federates_with.contains(&trust_domain);
                if self.state.entries.iter().any(foreign) {
                    return; // Refused, and rightly: somebody else still needs it.
                }
                let ours = self.state.entries.iter().find(|entry| entry.content.federates_with.contains(&trust_domain));
                assert_eq!(ours, None, "SPIRE refuses to drop a bundle that an entry names");
                self.state.bundles.remove(&trust_domain);
            }
        }
    }

    /// Runs a reconciliation and stops after `budget` changes; answers how many there were.
    fn reconcile(&mut self, desired: &Desired, mut budget: usize) -> usize {
        let mut done = 0;
        let mut spend = || {
            let may = budget > 0;
            budget = budget.saturating_sub(1);
            done += usize::from(may);
            may
        };
        let removals;
        {
            let adopted = adopted(desired, &self.state, &self.owned);
            self.owned.extend(adopted.into_iter().map(|trust_domain| (trust_domain, BundleMark::none())));
            for change in trust_changes(desired, &self.state, &self.owned) {
                if !spend() {
                    return done;
                }
                self.trust(change);
            }
            let bundles = self.state.bundles.keys().cloned().collect();
            for change in entry_changes(desired, &self.state, &bundles).changes {
                if !spend() {
                    return done;
                }
                self.entry(change);
            }
            removals = trust_removals(desired, &self.state, &self.owned);
        }
        for removal in removals {
            if !spend() {
                return done;
            }
            self.remove(removal);
        }
        done
    }
}

fn desired_of(entries: Vec<DesiredEntry>, trust: Vec<(&str, Option<Bundle>, Option<Relationship>)>) -> Desired {
    let trust = trust.into_iter().map(|(name, bundle, relationship)| (domain(name), DesiredTrust { bundle, relationship })).collect();
    Desired { entries, trust, ..Desired::default() }
}

#[test]
fn an_entry_waits_for_a_bundle_but_not_to_exist() {
    let mut server = Server::default();
    let entries = vec![desired_entry("client", &["b.test"])];
    let waiting = desired_of(entries.clone(), vec![("b.test", None, None)]);
    server.reconcile(&waiting, usize::MAX);
    assert_eq!(server.state.entries[0].content.federates_with, BTreeSet::new(), "the identity is there without the foreign bundle");
    let changes = entry_changes(&waiting, &server.state, &BTreeSet::new());
    assert_eq!(changes.waiting.values().next(), Some(&BTreeSet::from([domain("b.test")])));

    server.reconcile(&desired_of(entries, vec![("b.test", Some(bundle("b.test", 1, 1)), None)]), usize::MAX);
    assert_eq!(server.state.entries[0].content.federates_with, BTreeSet::from([domain("b.test")]));
}

#[test]
fn a_foreign_entry_is_neither_changed_nor_deleted_and_a_clash_is_told() {
    let mut server = Server::default();
    let foreign = Entry { id: "foreign".to_owned(), key: key("client"), content: content("", &[]) };
    server.state.entries.push(foreign.clone());
    let desired = desired_of(vec![desired_entry("client", &[])], vec![]);
    let changes = entry_changes(&desired, &server.state, &BTreeSet::new());
    assert_eq!(changes.changes, []);
    assert!(changes.conflicts.values().next().unwrap().contains("entry foreign"), "{changes:?}");
    server.reconcile(&Desired::default(), usize::MAX);
    assert_eq!(server.state.entries, [foreign]);
}

#[test]
fn trust_that_others_set_up_outlives_the_agents_wishes() {
    let mut server = Server::default();
    server.state.bundles.insert(domain("b.test"), bundle("b.test", 1, 1));
    server.state.relationships.insert(domain("b.test"), relationship("b.test", "https://b"));
    server.reconcile(&Desired::default(), usize::MAX);
    assert_eq!((server.state.bundles.len(), server.state.relationships.len()), (1, 1));
    let named = strangers(&Desired::default(), &server.state, &server.owned);
    assert_eq!(named, BTreeSet::from([domain("b.test")]), "and is not passed over in silence");
}

#[test]
fn trust_that_the_plan_names_goes_with_the_plan_also_where_its_maker_has_forgotten_it() {
    let bundle = bundle("b.test", 1, 1);
    let desired = desired_of(vec![], vec![("b.test", Some(bundle), Some(relationship("b.test", "https://b")))]);
    let mut server = Server::default();
    server.reconcile(&desired, usize::MAX);
    server.owned.clear();
    server.reconcile(&desired, usize::MAX);
    assert_eq!(strangers(&desired, &server.state, &server.owned), BTreeSet::new());
    server.reconcile(&Desired::default(), usize::MAX);
    assert_eq!(server.state, State::default());
}

#[test]
fn a_new_parent_or_selector_makes_the_new_entry_before_the_old_one_goes() {
    let mut server = Server::default();
    let mut entry = desired_entry("client", &[]);
    server.reconcile(&desired_of(vec![entry.clone()], vec![]), usize::MAX);
    entry.key.parent_id = "spiffe://a.test/other-agent".to_owned();
    let desired = desired_of(vec![entry], vec![]);
    let changes = entry_changes(&desired, &server.state, &BTreeSet::new()).changes;
    assert!(matches!(changes[..], [EntryChange::Create { .. }, EntryChange::Delete { .. }]), "{changes:?}");
}

#[test]
fn the_newer_of_two_bundles_of_one_issuer_wins_whichever_hand_brought_it() {
    let old = bundle_of("b.test", &[1, 2], 4);
    let new = bundle_of("b.test", &[2, 3], 5);
    assert!(should_set(&new, Some(&old), None));
    assert!(!should_set(&old, Some(&new), None), "the server's own polling was faster");
    let uncounted = bundle_of("b.test", &[2, 4], 0);
    assert!(should_set(&uncounted, Some(&old), Some(&BundleMark::of(&old))), "delivered since the last write");
    assert!(!should_set(&uncounted, Some(&old), Some(&BundleMark::of(&uncounted))), "written before, so the server found another since");
    assert!(should_set(&old, None, Some(&BundleMark::of(&old))), "somebody deleted it");
}

/// What becomes of a delivered bundle, and what its receipt says where it is not set.
#[test]
fn what_connect_delivers_is_set_or_equal_or_said_to_be_outdated() {
    const NEWER: &str = "the SPIRE server holds another bundle with a higher sequence number";
    const REPLACED: &str = "the SPIRE server has replaced the bundle by another since it was set";
    /// Authorities and sequence number.
    type Version = (&'static [u8], u64);
    let cases: [(Version, Version, bool, bool, Option<&str>); 8] = [
        // delivered, held, written before, is set, kept because
        ((&[1], 1), (&[9], 1000), false, true, None), // the issuer was built anew, or the bundle was poisoned
        ((&[1], 1), (&[9], 1000), true, true, None),  // and again, should somebody put it back
        ((&[1], 0), (&[9], 0), true, true, None),     // also where nobody counts
        ((&[1], 1), (&[], 1000), false, true, None),  // an emptied bundle has nothing in common with any
        ((&[1], 4), (&[1, 2], 5), false, false, Some(NEWER)),
        ((&[1], 5), (&[1], 9), false, false, None), // the numbers alone are no difference
        ((&[1, 2], 5), (&[1], 4), false, true, None),
        ((&[1], 0), (&[1, 2], 7), true, false, Some(REPLACED)),
    ];
    for (delivered, held, written, is_set, kept) in cases {
        let (delivered, held) = (bundle_of("b.test", delivered.0, delivered.1), bundle_of("b.test", held.0, held.1));
        let mut server = Server::default();
        server.state.bundles.insert(domain("b.test"), held.clone());
        if written {
            server.owned.insert(domain("b.test"), BundleMark::of(&delivered));
        }
        let desired = desired_of(vec![], vec![("b.test", Some(delivered.clone()), None)]);
        let said = kept_bundles(&desired, &server.state, &server.owned).remove(&domain("b.test"));
        assert_eq!(said, kept, "{delivered:?} over {held:?}");
        server.reconcile(&desired, usize::MAX);
        let expected = if is_set { &delivered } else { &held };
        assert_eq!(server.state.bundles[&domain("b.test")], *expected, "{delivered:?} over {held:?}");
        assert!(!is_set || kept_bundles(&desired, &server.state, &server.owned).is_empty(), "what is set is in effect");
    }
}

#[test]
fn a_bundle_that_taints_an_authority_is_the_successor_of_the_one_that_does_not() {
    let delivered = bundle("b.test", 1, 4);
    let mut held = bundle_of("b.test", &[1, 2], 5);
    held.x509_authorities[0].tainted = true;
    assert!(!should_set(&delivered, Some(&held), None), "to set the older would be to trust the tainted one again");
}

#[test]
fn marks_that_a_server_does_not_keep_for_a_foreign_domain_are_no_difference() {
    use cofide_core::JwtAuthority;
    let mut delivered = bundle_of("b.test", &[1, 2], 5);
    delivered.x509_authorities[0].tainted = true;
    delivered.jwt_authorities = vec![JwtAuthority { key_id: "k".to_owned(), public_key: vec![1], expires_at: 900, tainted: true }];
    let mut held = bundle_of("b.test", &[1, 2], 5);
    held.jwt_authorities = vec![JwtAuthority { expires_at: 0, tainted: false, ..delivered.jwt_authorities[0].clone() }];
    let mut server = Server::default();
    server.state.bundles.insert(domain("b.test"), held);
    let desired = desired_of(vec![], vec![("b.test", Some(delivered.clone()), None)]);
    assert_eq!(trust_changes(&desired, &server.state, &OwnedTrust::new()), []);
    let owned = OwnedTrust::from([(domain("b.test"), BundleMark::of(&delivered))]);
    assert_eq!(kept_bundles(&desired, &server.state, &owned), BTreeMap::new(), "what was delivered is in effect");
}

#[test]
fn a_relationship_follows_its_endpoint() {
    let mut server = Server::default();
    let with = |url: &str| desired_of(vec![], vec![("b.test", Some(bundle("b.test", 1, 1)), Some(relationship("b.test", url)))]);
    server.reconcile(&with("https://one"), usize::MAX);
    server.reconcile(&with("https://two"), usize::MAX);
    assert_eq!(server.state.relationships[&domain("b.test")].endpoint_url, "https://two");
    server.reconcile(&desired_of(vec![], vec![("b.test", None, None)]), usize::MAX);
    assert!(server.state.relationships.is_empty(), "no endpoint, no polling");
    assert!(server.state.bundles.contains_key(&domain("b.test")), "but a bundle is not thrown away for want of news");
    server.reconcile(&Desired::default(), usize::MAX);
    assert!(server.state.bundles.is_empty());
}

prop_compose! {
    fn any_desired()(
        entries in proptest::collection::btree_map(0..4usize, proptest::sample::subsequence(DOMAINS.to_vec(), 0..=4), 0..4),
        trust in proptest::collection::btree_map(0..4usize, (any::<Option<u8>>(), any::<Option<bool>>()), 0..4),
    ) -> Desired {
        let entries = entries.into_iter().map(|(index, federates_with)| desired_entry(&format!("w{index}"), &federates_with)).collect();
        let trust = trust.into_iter().map(|(index, (authority, endpoint))| {
            let name = DOMAINS[index];
            let bundle = authority.map(|authority| bundle(name, authority % 3, u64::from(authority % 3)));
            let endpoint = endpoint.map(|first| relationship(name, if first { "https://one" } else { "https://two" }));
            (name, bundle, endpoint)
        }).collect();
        desired_of(entries, trust)
    }
}

prop_compose! {
    /// A server in which others have been before: entries without our hint, bundles and relationships of theirs.
    fn any_server()(
        entries in proptest::collection::btree_map(0..4usize, any::<bool>(), 0..3),
        bundles in proptest::sample::subsequence(DOMAINS.to_vec(), 0..=2),
    ) -> Server {
        let mut server = Server::default();
        for name in bundles {
            server.state.bundles.insert(domain(name), bundle(name, 1, 0));
            server.state.relationships.insert(domain(name), relationship(name, "https://theirs"));
        }
        for (index, federates) in entries {
            let federates_with: Vec<&str> = server.state.bundles.keys().filter(|_| federates).map(|domain| domain.as_str()).collect();
            let entry = Entry { id: format!("foreign-{index}"), key: key(&format!("w{index}")), content: content("", &federates_with) };
            server.state.entries.push(entry);
        }
        server
    }
}

fn foreign(state: &State) -> Vec<Entry> {
    state.entries.iter().filter(|entry| !entry.is_ours()).cloned().collect()
}

prop_compose! {
    fn any_bundle()(authorities in proptest::sample::subsequence(vec![1u8, 2, 3], 1..=3), sequence_number in 0..4u64) -> Bundle {
        bundle_of("b.test", &authorities, sequence_number)
    }
}

proptest! {
    /// No receipt claims what is not so: after a run the server holds what was delivered, or the report says why not, and
    /// that only of a bundle that has something in common with it.
    #[test]
    fn a_delivered_bundle_is_in_effect_or_said_not_to_be(delivered in any_bundle(), held in any_bundle(), written in any::<bool>()) {
        let mut server = Server::default();
        server.state.bundles.insert(domain("b.test"), held);
        if written {
            server.owned.insert(domain("b.test"), BundleMark::of(&delivered));
        }
        let desired = desired_of(vec![], vec![("b.test", Some(delivered.clone()), None)]);
        let kept = kept_bundles(&desired, &server.state, &server.owned);
        server.reconcile(&desired, usize::MAX);
        let holds = &server.state.bundles[&domain("b.test")];
        prop_assert_eq!(kept.is_empty(), holds.same_authorities(&delivered));
        prop_assert!(share_an_authority(holds, &delivered));
    }

    #[test]
    fn whatever_was_there_and_wherever_it_stops_the_next_run_ends_in_the_same_place(
        server in any_server(), before in any_desired(), after in any_desired(), stop in 0..12usize,
    ) {
        let foreign_before = foreign(&server.state);
        let mut through = server.clone();
        through.reconcile(&before, usize::MAX);
        through.reconcile(&after, usize::MAX);

        let mut killed = server;
        killed.reconcile(&before, stop);
        killed.reconcile(&after, stop);
        killed.reconcile(&after, usize::MAX);

        prop_assert_eq!(&foreign(&through.state), &foreign_before);
        prop_assert_eq!(&foreign(&killed.state), &foreign_before);
        // Bundles without a counter are written once per delivery, so their content may depend on the path; all else may not.
        let shape = |server: &Server| {
            let mut entries: Vec<_> = server.state.entries.iter().map(|entry| (entry.key.clone(), entry.content.federates_with.clone())).collect();
            entries.sort();
            let wanted = after.trust.iter().filter(|(_, trust)| trust.relationship.is_some());
            (entries, wanted.map(|(name, _)| server.state.relationships.get(name).cloned()).collect::<Vec<_>>())
        };
        let wanted = |server: &Server| after.entries.iter().all(|entry| server.state.entries.iter().any(|held| held.key == entry.key));
        prop_assert!(wanted(&through) && wanted(&killed));
        if killed.state.bundles.keys().eq(through.state.bundles.keys()) {
            prop_assert_eq!(shape(&through), shape(&killed));
        }
    }

    #[test]
    fn applying_twice_changes_nothing(server in any_server(), desired in any_desired()) {
        let mut server = server;
        server.reconcile(&desired, usize::MAX);
        let refused_by_foreign = trust_removals(&desired, &server.state, &server.owned).len();
        prop_assert_eq!(server.reconcile(&desired, usize::MAX), refused_by_foreign);
    }
}
