//! A world in plain maps, kept by the same rules as the control plane's database.

use std::collections::BTreeMap;

use cofide_core::{Change, Cluster, FederatedService, Federation, Noun, NounChange, NounId, TrustZone, TrustZoneId};
use cofide_plan::Snapshot;

use crate::builders::{binding, cluster, federation, policy, service, zone};

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) nouns: BTreeMap<NounId, Noun>,
}

impl World {
    pub(crate) fn with(mut self, noun: impl Into<Noun>) -> Self {
        self.apply(&NounChange::Put(noun.into()));
        self
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.nouns.values().cloned().collect()
    }

    pub(crate) fn federations(&self) -> impl Iterator<Item = &Federation> {
        self.nouns.values().filter_map(|noun| if let Noun::Federation(noun) = noun { Some(&**noun) } else { None })
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &FederatedService> {
        self.nouns.values().filter_map(|noun| if let Noun::FederatedService(noun) = noun { Some(&**noun) } else { None })
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.nouns.values().filter_map(|noun| if let Noun::Cluster(noun) = noun { Some(&**noun) } else { None })
    }

    pub(crate) fn zone(&self, id: &TrustZoneId) -> Option<&TrustZone> {
        let noun = self.nouns.get(&NounId::TrustZone(id.clone()));
        noun.and_then(|noun| if let Noun::TrustZone(noun) = noun { Some(&**noun) } else { None })
    }

    /// Takes over the object, or deletes it with what belongs to it. Answers what a transaction would have noted.
    pub(crate) fn apply(&mut self, change: &NounChange) -> Option<Change> {
        let (id, after) = match change {
            NounChange::Put(noun) => (noun.id(), Some(noun.clone())),
            NounChange::Remove(id) => (id.clone(), None),
        };
        let before = match after.clone() {
            Some(noun) => self.nouns.insert(id.clone(), noun),
            None => self.nouns.remove(&id),
        };
        if after.is_none() {
            self.cascade(&id);
        }
        match (id, before.as_ref(), after.as_ref()) {
            (NounId::TrustZone(id), _, _) => Some(Change::TrustZone(id)),
            (NounId::Cluster(id), _, _) => Some(Change::Cluster(id)),
            (NounId::AttestationPolicy(id), _, _) => Some(Change::AttestationPolicy(id)),
            (NounId::Federation(_), before, after) => match after.or(before) {
                Some(Noun::Federation(federation)) => Some(Change::of_federation(federation)),
                _ => None,
            },
            (NounId::AttestationPolicyBinding(_), before, after) => match after.or(before) {
                Some(Noun::AttestationPolicyBinding(binding)) => Some(Change::of_attestation_policy_binding(binding)),
                _ => None,
            },
            (NounId::FederatedService(_), before, after) => {
                let service =
                    |noun: Option<&Noun>| if let Some(Noun::FederatedService(service)) = noun { Some(service.clone()) } else { None };
                Change::of_federated_service(service(before).as_deref(), service(after).as_deref())
            }
        }
    }

    fn cascade(&mut self, removed: &NounId) {
        self.nouns.retain(|_, noun| match (removed, noun) {
            (NounId::TrustZone(zone), Noun::Federation(noun)) => noun.trust_zone_id != *zone && noun.remote_trust_zone_id != *zone,
            (NounId::TrustZone(zone), Noun::AttestationPolicyBinding(noun)) => noun.trust_zone_id != *zone,
            (NounId::Cluster(cluster), Noun::FederatedService(noun)) => noun.cluster_id != *cluster,
            _ => true,
        });
        if let NounId::TrustZone(zone) = removed {
            for noun in self.nouns.values_mut() {
                if let Noun::AttestationPolicyBinding(binding) = noun {
                    std::sync::Arc::make_mut(binding).federates_with.retain(|named| named != zone);
                }
            }
        }
    }
}

/// Zones a and b with a cluster each; a exports `server` to b; both federations and both bindings are there.
pub(crate) fn two_zones() -> World {
    let one = cluster("one", "a");
    World::default()
        .with(zone("a"))
        .with(zone("b"))
        .with(service("server", &one, &["b.test"]))
        .with(one)
        .with(cluster("two", "b"))
        .with(federation("a", "b"))
        .with(federation("b", "a"))
        .with(policy("ping-pong"))
        .with(binding("a", "ping-pong", &["b"]))
        .with(binding("b", "ping-pong", &["a"]))
}
