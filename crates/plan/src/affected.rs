//! Which resources of which clusters a change may have touched.

use std::collections::BTreeSet;

use cofide_core::{Change, ClusterId, FederatedService, Hostname, TrustDomain, TrustZoneId};

use crate::{Key, Snapshot, keys};

/// The resources that may differ between the two snapshots because of the change: recomputing these in `after` gives what
/// planning anew would give.
///
/// The answer may name a resource that turns out the same, or one that is in no plan, but never misses one. Both sides are
/// asked, because what an object touched before the change and what it touches afterwards are two things.
///
/// Where several changes lie between the snapshots, the answers for each of them together have the same property: a
/// resource that is in a plan depends on objects that are all in the same snapshot, and the change of any of them finds it
/// there.
pub fn affected(before: &Snapshot, after: &Snapshot, change: &Change) -> BTreeSet<(ClusterId, Key)> {
    let mut found = Found::default();
    match change {
        Change::TrustZone(id) if is_same_to_others(before, after, id, standing_of_trust_zone) => found.trust_in(after, id),
        Change::Cluster(id) if is_same_to_others(before, after, id, standing_of_cluster) => {}
        _ => {
            for snapshot in [before, after] {
                found.touched_by(snapshot, change);
            }
        }
    }
    found.0
}

/// Whether an object is there before and after, and stands in the same relations to others.
fn is_same_to_others<'s, Id, Standing: PartialEq>(
    before: &'s Snapshot,
    after: &'s Snapshot,
    id: &Id,
    standing: impl Fn(&'s Snapshot, &Id) -> Option<Standing>,
) -> bool {
    let before = standing(before, id);
    before.is_some() && before == standing(after, id)
}

/// What others derive from a zone, and what a deletion would have taken with it.
fn standing_of_trust_zone<'s>(snapshot: &'s Snapshot, id: &TrustZoneId) -> Option<impl PartialEq + use<'s>> {
    let zone = snapshot.trust_zone(id)?;
    let federations: Vec<_> = snapshot.federations_from(id).chain(snapshot.federations_to(id)).map(|federation| &federation.id).collect();
    let bindings: Vec<_> = snapshot.bindings_of(id).chain(snapshot.bindings_naming(id)).map(|binding| &binding.id).collect();
    Some((&zone.name, &zone.trust_domain, federations, bindings))
}

fn standing_of_cluster<'s>(snapshot: &'s Snapshot, id: &ClusterId) -> Option<impl PartialEq + use<'s>> {
    let cluster = snapshot.cluster(id)?;
    let services: Vec<_> = snapshot.federated_services_of(id).map(|service| &service.id).collect();
    Some((&cluster.trust_zone_id, services))
}

#[derive(Default)]
struct Found(BTreeSet<(ClusterId, Key)>);

impl Found {
    fn touched_by(&mut self, snapshot: &Snapshot, change: &Change) {
        match change {
            Change::TrustZone(id) => self.trust_zone(snapshot, id),
            Change::BundleOf(id) => self.trust_in(snapshot, id),
            Change::Cluster(id) => self.cluster(snapshot, id),
            Change::Federation { trust_zone_id, remote_trust_zone_id, .. } => {
                self.federation(snapshot, trust_zone_id, remote_trust_zone_id);
            }
            Change::AttestationPolicy(id) => {
                for binding in snapshot.bindings_with_policy(id) {
                    self.in_zone(snapshot, &binding.trust_zone_id, &Key::Registration(binding.id.clone()));
                }
            }
            Change::AttestationPolicyBinding { id, trust_zone_id } => {
                self.in_zone(snapshot, trust_zone_id, &Key::Registration(id.clone()));
            }
            Change::FederatedService { id, hostname, trust_domains } => {
                self.imports(snapshot, hostname, trust_domains);
                if let Some(service) = snapshot.federated_service(id) {
                    self.service(snapshot, service);
                }
            }
            Change::ControlPlaneTrust => {
                self.0.extend(snapshot.clusters().map(|cluster| (cluster.id.clone(), Key::ControlPlaneTrust)));
            }
        }
    }

    fn in_zone(&mut self, snapshot: &Snapshot, zone: &TrustZoneId, key: &Key) {
        self.0.extend(snapshot.clusters_of(zone).map(|cluster| (cluster.id.clone(), key.clone())));
    }

    /// A zone that appears, goes, or changes its name or domain: its own clusters, whatever depends on one of its
    /// federations, and whoever has been exporting to a domain that was unknown.
    fn trust_zone(&mut self, snapshot: &Snapshot, id: &TrustZoneId) {
        for cluster in snapshot.clusters_of(id) {
            self.whole_plan(snapshot, &cluster.id);
        }
        for federation in snapshot.federations_from(id).chain(snapshot.federations_to(id)) {
            self.federation(snapshot, &federation.trust_zone_id, &federation.remote_trust_zone_id);
        }
        if let Some(zone) = snapshot.trust_zone(id) {
            for service in snapshot.federated_services_exported_to(&zone.trust_domain) {
                self.0.insert((service.cluster_id.clone(), Key::Export(service.id.clone())));
            }
        }
    }

    /// The clusters that hold the zone's bundle.
    fn trust_in(&mut self, snapshot: &Snapshot, id: &TrustZoneId) {
        let Some(zone) = snapshot.trust_zone(id) else { return };
        for federation in snapshot.federations_to(id) {
            self.in_zone(snapshot, &federation.trust_zone_id, &Key::Trust(zone.trust_domain.clone()));
        }
    }

    fn cluster(&mut self, snapshot: &Snapshot, id: &ClusterId) {
        self.whole_plan(snapshot, id);
        for service in snapshot.federated_services_of(id) {
            self.service(snapshot, service);
        }
    }

    fn whole_plan(&mut self, snapshot: &Snapshot, id: &ClusterId) {
        self.0.extend(keys(snapshot, id).into_iter().map(|key| (id.clone(), key)));
    }

    fn federation(&mut self, snapshot: &Snapshot, from: &TrustZoneId, to: &TrustZoneId) {
        let [from_zone, to_zone] = [from, to].map(|id| snapshot.trust_zone(id));
        if let Some(zone) = to_zone {
            self.in_zone(snapshot, from, &Key::Trust(zone.trust_domain.clone()));
        }
        let by_pattern = snapshot.bindings_with_patterns(from).filter(|binding| to_zone.is_some_and(|zone| binding.matches(&zone.name)));
        for binding in snapshot.bindings_between(from, to).chain(by_pattern) {
            self.in_zone(snapshot, from, &Key::Registration(binding.id.clone()));
        }
        for (server, client) in [(from, to_zone), (to, from_zone)] {
            let Some(client) = client else { continue };
            for service in snapshot.federated_services_between(server, &client.trust_domain) {
                self.0.insert((service.cluster_id.clone(), Key::Export(service.id.clone())));
                self.in_zone(snapshot, &client.id, &Key::Import(service.hostname.clone()));
            }
        }
    }

    fn service(&mut self, snapshot: &Snapshot, service: &FederatedService) {
        self.0.insert((service.cluster_id.clone(), Key::Export(service.id.clone())));
        self.imports(snapshot, &service.hostname, &service.exported_trust_domains);
    }

    fn imports(&mut self, snapshot: &Snapshot, hostname: &Hostname, clients: &BTreeSet<TrustDomain>) {
        for client in clients.iter().flat_map(|domain| snapshot.trust_zones_with_domain(domain)) {
            self.in_zone(snapshot, &client.id, &Key::Import(hostname.clone()));
        }
    }
}
