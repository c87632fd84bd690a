//! Which resources of which clusters a change may have touched.

use std::collections::BTreeSet;

use cofide_core::{Change, ClusterId, FederatedService, Hostname, TrustDomain, TrustZone, TrustZoneId};

use crate::{Key, Snapshot, keys};

/// The resources that may differ between the two snapshots because of the change: recomputing these in `after` gives what
/// planning anew would give.
///
/// The answer may name a resource that turns out the same, or one that is in no plan, but never misses one. Both sides are
/// asked, because what an object touched before the change and what it touches afterwards are two things.
pub fn affected(before: &Snapshot, after: &Snapshot, change: &Change) -> BTreeSet<(ClusterId, Key)> {
    let mut found = Found::default();
    if is_invisible_to_others(before, after, change) {
        if let Change::TrustZone(id) = change {
            found.trust_in(after, id);
        }
        return found.0;
    }
    for snapshot in [before, after] {
        found.touched_by(snapshot, change);
    }
    found.0
}

/// Whether the change left alone what others derive from the object: a zone's name and trust domain, a cluster's zone.
fn is_invisible_to_others(before: &Snapshot, after: &Snapshot, change: &Change) -> bool {
    let naming = |zone: &TrustZone| (zone.name.clone(), zone.trust_domain.clone());
    match change {
        Change::TrustZone(id) => {
            let [before, after] = [before, after].map(|snapshot| snapshot.trust_zone(id).map(naming));
            before.is_some() && before == after
        }
        Change::Cluster(id) => {
            let [before, after] = [before, after].map(|snapshot| snapshot.cluster(id).map(|cluster| &cluster.trust_zone_id));
            before.is_some() && before == after
        }
        _ => false,
    }
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
        for binding in snapshot.bindings_between(from, to) {
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
