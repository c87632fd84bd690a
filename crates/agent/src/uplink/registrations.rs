//! Which calls make Connect's list of this cluster's services what the manifests say. Pure.

use std::collections::{BTreeMap, BTreeSet};

use cofide_api::convert::federated_service::Draft;
use cofide_api::types::federated_service as proto;
use cofide_core::{FederatedService, FederatedServiceId, ServiceName};

use crate::own_cluster::OwnCluster;

/// What the local objects ask for, by id.
pub type Wanted<'a> = BTreeMap<&'a FederatedServiceId, &'a FederatedService>;

/// The services of this cluster that Connect has; `None` for one that is in a form in which nothing local asked for it.
pub type Known = BTreeMap<FederatedServiceId, Option<FederatedService>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationChange {
    Register(FederatedService),
    Update(FederatedService),
    Deregister(FederatedServiceId),
}

impl RegistrationChange {
    pub fn id(&self) -> &FederatedServiceId {
        match self {
            Self::Register(service) | Self::Update(service) => &service.id,
            Self::Deregister(id) => id,
        }
    }

    /// Connect has done it.
    pub fn note(self, known: &mut Known) {
        match self {
            Self::Register(service) | Self::Update(service) => drop(known.insert(service.id.clone(), Some(service))),
            Self::Deregister(id) => drop(known.remove(&id)),
        }
    }
}

/// What Connect's answer says of the services of this cluster; what in it belongs to others is none of ours.
pub fn known(cluster: &OwnCluster, wanted: &Wanted<'_>, listed: &[proto::FederatedService]) -> Known {
    let of = |listed: &proto::FederatedService| {
        let id: FederatedServiceId = listed.id.parse().ok()?;
        let said = wanted.get(&id).filter(|service| says(listed, service)).map(|service| (*service).clone());
        Some((id, said))
    };
    listed.iter().filter(|service| is_own(cluster, service)).filter_map(of).collect()
}

/// The changes from what Connect has to what is wanted, withdrawals first: a service may take over a hostname that another one
/// gives up.
///
/// `registered` are the ids that this agent has registered itself: nothing else is ever withdrawn, because a service that the
/// agent does not know may well be wanted by whoever put it there.
pub fn changes<'a>(
    wanted: &'a Wanted<'a>,
    known: &'a Known,
    registered: &'a BTreeSet<FederatedServiceId>,
) -> impl Iterator<Item = RegistrationChange> + 'a {
    let withdrawn = registered
        .iter()
        .filter(|id| !wanted.contains_key(*id) && known.contains_key(*id))
        .map(|id| RegistrationChange::Deregister(id.clone()));
    let changed = wanted.iter().filter_map(|(id, service)| match known.get(*id) {
        None => Some(RegistrationChange::Register((*service).clone())),
        Some(Some(known)) if known == *service => None,
        Some(_) => Some(RegistrationChange::Update((*service).clone())),
    });
    withdrawn.chain(changed)
}

/// The services of this cluster that Connect lists and that neither the manifests nor the agent's memory know. They are
/// left alone; whoever runs the cluster should hear of them.
pub fn strangers<'a>(
    cluster: &'a OwnCluster,
    wanted: &'a Wanted<'a>,
    listed: &'a [proto::FederatedService],
    registered: &'a BTreeSet<FederatedServiceId>,
) -> impl Iterator<Item = &'a proto::FederatedService> {
    let known = |id: &str| id.parse::<FederatedServiceId>().is_ok_and(|id| wanted.contains_key(&id) || registered.contains(&id));
    listed.iter().filter(move |service| is_own(cluster, service) && !known(&service.id))
}

/// The services that Connect lists and that agents of this cluster have registered, as their ids say: no other client of Connect
/// makes [these](OwnCluster::service_id).
pub fn registered_by_agents(cluster: &OwnCluster, listed: &[proto::FederatedService]) -> BTreeSet<FederatedServiceId> {
    let id_of = |service: &proto::FederatedService| {
        let name = ServiceName { name: service.name.parse().ok()?, namespace: service.namespace.parse().ok()? };
        Some(cluster.service_id(&name)).filter(|id| id.as_str() == service.id)
    };
    listed.iter().filter(|service| is_own(cluster, service)).filter_map(id_of).collect()
}

fn is_own(cluster: &OwnCluster, service: &proto::FederatedService) -> bool {
    service.trust_domain == cluster.trust_domain.as_str() && service.cluster_name == cluster.cluster_name.as_str()
}

/// Whether Connect holds what an agent says about this service.
fn says(listed: &proto::FederatedService, service: &FederatedService) -> bool {
    Draft::try_from(listed).is_ok_and(|listed| Draft::try_from(&service.into()).is_ok_and(|wanted| listed == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own_cluster::testing::own_cluster;
    use cofide_core::{SpiffeIdPath, Timestamp};
    use cofide_test_objects as objects;
    use proptest::prelude::*;

    fn cluster() -> OwnCluster {
        own_cluster("a.test")
    }

    fn service(name: &str, port: i64) -> FederatedService {
        let OwnCluster { cluster_id, cluster_name, trust_zone_id, .. } = cluster();
        let of = objects::service(name, &objects::cluster("one", "a"), &["b.test"]);
        FederatedService {
            id: cluster().service_id(&of.name),
            trust_zone_id,
            cluster_id,
            cluster_name,
            port: objects::port(port),
            spiffe_id_paths: ["/b", "/a"].iter().map(|path| objects::id::<SpiffeIdPath>(path)).collect(),
            ..of
        }
    }

    fn wanted(services: &[FederatedService]) -> Wanted<'_> {
        services.iter().map(|service| (&service.id, service)).collect()
    }

    fn changes(
        wanted: &Wanted<'_>,
        listed: &[proto::FederatedService],
        registered: &BTreeSet<FederatedServiceId>,
    ) -> Vec<RegistrationChange> {
        super::changes(wanted, &known(&cluster(), wanted, listed), registered).collect()
    }

    /// As Connect lists it: with times, and with lists in an order of its own.
    fn listed(service: &FederatedService) -> proto::FederatedService {
        let mut message: proto::FederatedService = FederatedService { updated_at: Timestamp(7), ..service.clone() }.into();
        message.spiffe_id_paths.reverse();
        message
    }

    #[test]
    fn what_connect_knows_already_is_not_told_again() {
        let one = service("one", 1);
        assert_eq!(changes(&wanted(std::slice::from_ref(&one)), &[listed(&one)], &BTreeSet::new()), []);
    }

    #[test]
    fn a_changed_service_is_updated_and_a_new_one_registered() {
        let (old, new, other) = (service("one", 1), service("one", 2), service("two", 1));
        let found = changes(&wanted(&[new.clone(), other.clone()]), &[listed(&old)], &BTreeSet::new());
        assert!(found.contains(&RegistrationChange::Update(new)) && found.contains(&RegistrationChange::Register(other)), "{found:?}");
    }

    #[test]
    fn a_service_that_connect_lists_in_a_form_that_nobody_could_register_is_updated() {
        let one = service("one", 1);
        let odd = proto::FederatedService { port: 0, ..listed(&one) };
        assert_eq!(changes(&wanted(std::slice::from_ref(&one)), &[odd], &BTreeSet::new()), [RegistrationChange::Update(one)]);
    }

    #[test]
    fn only_what_the_agent_registered_itself_is_withdrawn() {
        let (mine, other) = (service("mine", 1), service("other", 1));
        let mut elsewhere = listed(&service("elsewhere", 1));
        elsewhere.cluster_name = "two".to_owned();
        let registered = BTreeSet::from([mine.id.clone(), elsewhere.id.parse().unwrap()]);
        let answer = [listed(&mine), listed(&other), elsewhere];
        assert_eq!(changes(&Wanted::new(), &answer, &registered), [RegistrationChange::Deregister(mine.id)]);
        let strangers: Vec<_> = strangers(&cluster(), &Wanted::new(), &answer, &registered).map(|service| service.id.clone()).collect();
        assert_eq!(strangers, [other.id.to_string()]);
    }

    #[test]
    fn what_agents_of_the_cluster_registered_is_known_by_its_id_alone() {
        let (mine, other) = (service("mine", 1), service("other", 1));
        let mut elsewhere = listed(&service("elsewhere", 1));
        elsewhere.cluster_name = "two".to_owned();
        let by_hand = proto::FederatedService { id: "fs-by-hand".to_owned(), ..listed(&other) };
        let unreadable = proto::FederatedService { name: "Not A Name".to_owned(), ..listed(&other) };
        let answer = [listed(&mine), elsewhere, by_hand, unreadable];
        assert_eq!(registered_by_agents(&cluster(), &answer), BTreeSet::from([mine.id]));
    }

    #[test]
    fn an_id_says_which_service_of_which_cluster_it_is() {
        let name = |text: &str| ServiceName { name: text.parse().unwrap(), namespace: "demo".parse().unwrap() };
        let (cluster, other) = (cluster(), OwnCluster { cluster_id: "c-b".parse().unwrap(), ..cluster() });
        assert_eq!(cluster.service_id(&name("one")), cluster.service_id(&name("one")));
        assert_ne!(cluster.service_id(&name("one")), cluster.service_id(&name("two")));
        assert_ne!(cluster.service_id(&name("one")), other.service_id(&name("one")));
    }

    proptest! {
        #[test]
        fn after_the_changes_nothing_is_left_to_change(
            before in proptest::collection::btree_map(0..5u8, 1..4i64, 0..5),
            after in proptest::collection::btree_map(0..5u8, 1..4i64, 0..5),
        ) {
            let services = |map: &BTreeMap<u8, i64>| map.iter().map(|(name, port)| service(&format!("s{name}"), *port)).collect::<Vec<_>>();
            let registered: BTreeSet<_> = services(&before).into_iter().map(|service| service.id).collect();
            let mut connect: BTreeMap<_, _> = services(&before).into_iter().map(|service| (service.id.clone(), service)).collect();
            let after = services(&after);
            let wanted = wanted(&after);
            let answer: Vec<_> = connect.values().map(listed).collect();
            let mut noted = known(&cluster(), &wanted, &answer);
            for change in changes(&wanted, &answer, &registered) {
                change.clone().note(&mut noted);
                match change {
                    RegistrationChange::Register(service) => prop_assert!(connect.insert(service.id.clone(), service).is_none()),
                    RegistrationChange::Update(service) => prop_assert!(connect.insert(service.id.clone(), service).is_some()),
                    RegistrationChange::Deregister(id) => prop_assert!(connect.remove(&id).is_some()),
                }
            }
            let answer: Vec<_> = connect.values().map(listed).collect();
            let registered = connect.keys().cloned().chain(registered).collect();
            prop_assert_eq!(changes(&wanted, &answer, &registered), []);
            prop_assert_eq!(noted, known(&cluster(), &wanted, &answer), "what was noted is what Connect would list");
            prop_assert!(connect.values().eq(wanted.into_values()));
        }
    }
}
