//! Clients that follow, whatever happens to the cache and on the wire.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use proptest::prelude::*;

use super::delta_follower::DeltaFollower;
use super::whole_follower::WholeFollower;
use super::{ACK_WAIT, Follower, NAMES, TYPES, content, is_bad, resource};
use crate::stream::Limits;
use crate::stream::connection::Dialectic;
use crate::stream::session::Session;
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER};
use crate::{Cache, Update};

/// A client, its stream and the time.
struct World<F: Follower> {
    cache: Cache,
    session: Session,
    follower: F,
    /// Responses on their way to the client.
    wire: VecDeque<<F::Dialect as Dialectic>::Response>,
    now: Instant,
}

impl<F: Follower> World<F> {
    fn new(log_capacity: usize) -> Self {
        let cache = Cache::with_log_capacity(log_capacity);
        cache.mark_ready();
        let session = Session::new(F::Dialect::DIALECT, Limits::default(), ACK_WAIT);
        let mut world = Self { cache, session, follower: F::default(), wire: VecDeque::new(), now: Instant::now() };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.session = Session::new(F::Dialect::DIALECT, Limits::default(), ACK_WAIT);
        self.wire.clear();
        let requests = self.follower.connect();
        self.tell(requests);
    }

    fn tell(&mut self, requests: impl IntoIterator<Item = <F::Dialect as Dialectic>::Request>) {
        for request in requests {
            F::Dialect::hear(&mut self.session, request).unwrap();
        }
    }

    fn send(&mut self) -> bool {
        let outgoing = self.session.next(&self.cache, self.now);
        let has_sent = outgoing.is_some();
        self.wire.extend(outgoing.map(F::Dialect::speak));
        has_sent
    }

    fn receive(&mut self) -> bool {
        let Some(response) = self.wire.pop_front() else { return false };
        let requests = self.follower.receive(response);
        self.tell(requests);
        true
    }

    /// Until nothing happens any more; a history that never comes to rest is a bug of its own.
    fn settle(&mut self) {
        for _ in 0..1000 {
            while self.send() {}
            if !self.receive() {
                return;
            }
        }
        panic!("server and client keep talking: {:?}", self.session);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Set(usize, usize, u8),
    Remove(usize, usize),
    Replace(usize, Vec<(usize, u8)>),
    Subscribe(usize),
    Unsubscribe(usize),
    Send,
    Receive,
    Reconnect,
    /// Time passes and acknowledgements are overdue.
    Wait,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (of_type, name, content) = (0..TYPES.len(), 0..NAMES.len(), 0..6u8);
    let event = prop_oneof![
        8 => (of_type.clone(), name.clone(), content.clone()).prop_map(|(of_type, name, content)| Event::Set(of_type, name, content)),
        4 => (of_type.clone(), name.clone()).prop_map(|(of_type, name)| Event::Remove(of_type, name)),
        1 => (of_type, prop::collection::vec((name.clone(), content), 0..4)).prop_map(|(of_type, list)| Event::Replace(of_type, list)),
        2 => name.clone().prop_map(Event::Subscribe),
        2 => name.prop_map(Event::Unsubscribe),
        10 => Just(Event::Send),
        10 => Just(Event::Receive),
        1 => Just(Event::Reconnect),
        1 => Just(Event::Wait),
    ];
    prop::collection::vec(event, 0..80)
}

fn follows_the_cache<F: Follower>(events: Vec<Event>, log_capacity: usize) -> Result<(), TestCaseError> {
    let mut world = World::<F>::new(log_capacity);
    for event in events {
        match event {
            Event::Set(of_type, name, content) => {
                world.cache.set(TYPES[of_type], resource(TYPES[of_type], NAMES[name], content));
            }
            Event::Remove(of_type, name) => {
                world.cache.remove(TYPES[of_type], NAMES[name]);
            }
            Event::Replace(of_type, list) => {
                let list: BTreeMap<_, _> = list.into_iter().collect();
                let resources = list.into_iter().map(|(name, content)| resource(TYPES[of_type], NAMES[name], content));
                world.cache.replace(TYPES[of_type], resources.collect());
            }
            Event::Subscribe(name) => {
                let request = world.follower.subscribe_endpoints(NAMES[name]);
                world.tell([request]);
            }
            Event::Unsubscribe(name) => {
                let request = world.follower.unsubscribe_endpoints(NAMES[name]);
                world.tell(request);
            }
            Event::Send => {
                world.send();
            }
            Event::Receive => {
                world.receive();
            }
            Event::Reconnect => world.connect(),
            Event::Wait => world.now += ACK_WAIT,
        }
    }
    world.settle();
    for type_url in TYPES {
        let held = world.follower.held(type_url);
        for name in NAMES {
            let is_wanted = type_url != ENDPOINT || world.follower.endpoints_wanted().contains(name);
            let wanted = world.cache.get(type_url, name).filter(|_| is_wanted).map(|resource| content(resource.body()).1);
            let found = held.get(name).map(|(_, content)| *content);
            match wanted {
                Some(content) if is_bad(content) => prop_assert_ne!(found, wanted, "{} {}", type_url, name),
                None if is_wanted && type_url == ENDPOINT && !world.follower.knows_of_removed_endpoints() => {}
                _ => prop_assert_eq!(found, wanted, "{} {}", type_url, name),
            }
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum ServiceEvent {
    /// A cluster, its endpoints and a listener that points to it, all at once.
    Put(usize, u8),
    Delete(usize),
    Send,
    Receive,
    Reconnect,
}

fn service_events() -> impl Strategy<Value = Vec<ServiceEvent>> {
    let event = prop_oneof![
        3 => (0..NAMES.len(), 0..3u8).prop_map(|(name, content)| ServiceEvent::Put(name, content * 2)),
        3 => (0..NAMES.len()).prop_map(ServiceEvent::Delete),
        6 => Just(ServiceEvent::Send),
        6 => Just(ServiceEvent::Receive),
        1 => Just(ServiceEvent::Reconnect),
    ];
    prop::collection::vec(event, 0..80)
}

fn never_breaks_before_it_makes<F: Follower>(events: Vec<ServiceEvent>) -> Result<(), TestCaseError> {
    let mut world = World::<F>::new(8);
    let types = [CLUSTER, ENDPOINT, LISTENER];
    for event in events {
        match event {
            ServiceEvent::Put(name, content) => {
                let set = types.map(|type_url| (type_url.to_owned(), resource(type_url, NAMES[name], content)));
                world.cache.apply(Update { set: set.into(), removed: Vec::new() });
            }
            ServiceEvent::Delete(name) => {
                let removed = types.map(|type_url| (type_url.to_owned(), NAMES[name].to_owned()));
                world.cache.apply(Update { set: Vec::new(), removed: removed.into() });
            }
            ServiceEvent::Send => {
                world.send();
            }
            ServiceEvent::Receive => {
                world.receive();
            }
            ServiceEvent::Reconnect => world.connect(),
        }
        let clusters = world.follower.held(CLUSTER);
        for listener in world.follower.held(LISTENER).keys() {
            prop_assert!(clusters.contains_key(listener), "listener {} points to a cluster that is not there", listener);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_delta_client_ends_with_what_the_cache_holds(events in events(), log_capacity in 0..20usize) {
        follows_the_cache::<DeltaFollower>(events, log_capacity)?;
    }

    #[test]
    fn a_state_of_the_world_client_ends_with_what_the_cache_holds(events in events(), log_capacity in 0..20usize) {
        follows_the_cache::<WholeFollower>(events, log_capacity)?;
    }

    #[test]
    fn a_delta_client_never_has_a_listener_without_its_cluster(events in service_events()) {
        never_breaks_before_it_makes::<DeltaFollower>(events)?;
    }

    // Without reconnects: a new stream does not say what the client holds, so no order of responses is safe there.
    #[test]
    fn a_state_of_the_world_client_never_has_a_listener_without_its_cluster(mut events in service_events()) {
        events.retain(|event| !matches!(event, ServiceEvent::Reconnect));
        never_breaks_before_it_makes::<WholeFollower>(events)?;
    }
}
