//! Clients that change their mind about what they want, by name and by wildcard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use proptest::prelude::*;

use super::{ACK_WAIT, FREE, NAMES, content, resource};
use crate::Cache;
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use crate::stream::connection::Dialectic;
use crate::stream::session::Session;
use crate::stream::subscription::WILDCARD;
use crate::stream::{Delta, Limits, StateOfTheWorld};

const WANTS: [&str; 4] = ["a", "b", "c", WILDCARD];

/// What a client wants, and what it holds of it.
#[derive(Default)]
struct Mind {
    wants: BTreeSet<String>,
    held: BTreeMap<String, u8>,
}

impl Mind {
    fn wants(&self, name: &str) -> bool {
        self.wants.contains(WILDCARD) || self.wants.contains(name)
    }

    /// What is not wanted any more is dropped without a word from the server.
    fn forget(&mut self, name: &str) {
        self.wants.remove(name);
        let wants = std::mem::take(&mut self.wants);
        self.held.retain(|name, _| wants.contains(WILDCARD) || wants.contains(name));
        self.wants = wants;
    }

    fn take(&mut self, name: String, content: u8) {
        if self.wants(&name) {
            self.held.insert(name, content);
        }
    }
}

/// How a dialect says it.
trait Words: Dialectic {
    fn subscribe(mind: &Mind, name: &str, nonce: &str) -> Self::Request;
    fn unsubscribe(mind: &Mind, name: &str, nonce: &str) -> Self::Request;
    /// Takes a response in; answers with its nonce and the acknowledgement.
    fn receive(mind: &mut Mind, response: Self::Response) -> (String, Self::Request);
}

impl Words for Delta {
    fn subscribe(_: &Mind, name: &str, _: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: FREE.into(), resource_names_subscribe: vec![name.into()], ..Default::default() }
    }

    fn unsubscribe(_: &Mind, name: &str, _: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: FREE.into(), resource_names_unsubscribe: vec![name.into()], ..Default::default() }
    }

    fn receive(mind: &mut Mind, response: DeltaDiscoveryResponse) -> (String, DeltaDiscoveryRequest) {
        mind.held.retain(|name, _| !response.removed_resources.contains(name));
        for received in response.resources {
            let (name, content) = content(&received.resource.unwrap());
            mind.take(name, content);
        }
        let nonce = response.nonce;
        let acknowledgement = DeltaDiscoveryRequest { type_url: FREE.into(), response_nonce: nonce.clone(), ..Default::default() };
        (nonce, acknowledgement)
    }
}

fn list(mind: &Mind, nonce: &str) -> DiscoveryRequest {
    let resource_names = mind.wants.iter().cloned().collect();
    DiscoveryRequest { type_url: FREE.into(), resource_names, response_nonce: nonce.into(), ..Default::default() }
}

impl Words for StateOfTheWorld {
    fn subscribe(mind: &Mind, _: &str, nonce: &str) -> DiscoveryRequest {
        list(mind, nonce)
    }

    fn unsubscribe(mind: &Mind, _: &str, nonce: &str) -> DiscoveryRequest {
        list(mind, nonce)
    }

    fn receive(mind: &mut Mind, response: DiscoveryResponse) -> (String, DiscoveryRequest) {
        mind.held.clear();
        for body in &response.resources {
            let (name, content) = content(body);
            mind.take(name, content);
        }
        let acknowledgement = list(mind, &response.nonce);
        (response.nonce, acknowledgement)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Set(usize, u8),
    Remove(usize),
    Subscribe(usize),
    Unsubscribe(usize),
    Send,
    Receive,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..NAMES.len(), 0..3u8).prop_map(|(name, content)| Event::Set(name, content)),
        2 => (0..NAMES.len()).prop_map(Event::Remove),
        3 => (0..WANTS.len()).prop_map(Event::Subscribe),
        3 => (0..WANTS.len()).prop_map(Event::Unsubscribe),
        6 => Just(Event::Send),
        6 => Just(Event::Receive),
    ];
    prop::collection::vec(event, 0..60)
}

fn holds_what_it_wants<W: Words>(events: Vec<Event>) -> Result<(), TestCaseError> {
    let cache = Cache::with_log_capacity(8);
    cache.mark_ready();
    let mut session = Session::new(W::DIALECT, Limits::default(), ACK_WAIT);
    let (mut mind, mut wire, mut nonce, now) = (Mind::default(), VecDeque::new(), String::new(), Instant::now());
    // A first request that names something: an empty one would ask for everything.
    mind.wants.insert("a".into());
    W::hear(&mut session, W::subscribe(&mind, "a", &nonce)).unwrap();
    let settling = std::iter::repeat_n([Event::Send, Event::Receive], 100).flatten();
    for event in events.into_iter().chain(settling) {
        match event {
            Event::Set(name, content) => {
                cache.set(FREE, resource(FREE, NAMES[name], content));
            }
            Event::Remove(name) => {
                cache.remove(FREE, NAMES[name]);
            }
            Event::Subscribe(name) => {
                mind.wants.insert(WANTS[name].into());
                W::hear(&mut session, W::subscribe(&mind, WANTS[name], &nonce)).unwrap();
            }
            Event::Unsubscribe(name) => {
                mind.forget(WANTS[name]);
                W::hear(&mut session, W::unsubscribe(&mind, WANTS[name], &nonce)).unwrap();
            }
            Event::Send => wire.extend(session.next(&cache, now).map(W::speak)),
            Event::Receive => {
                if let Some(response) = wire.pop_front() {
                    let (received, acknowledgement) = W::receive(&mut mind, response);
                    nonce = received;
                    W::hear(&mut session, acknowledgement).unwrap();
                }
            }
        }
    }
    prop_assert!(wire.is_empty() && session.next(&cache, now).is_none(), "it never comes to rest: {:?}", session);
    for name in NAMES {
        let there = cache.get(FREE, name).filter(|_| mind.wants(name)).map(|resource| content(resource.body()).1);
        prop_assert_eq!(mind.held.get(name).copied(), there, "{} of {:?}", name, mind.wants);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_delta_client_that_changes_its_mind_ends_with_what_it_wants(events in events()) {
        holds_what_it_wants::<Delta>(events)?;
    }

    #[test]
    fn a_state_of_the_world_client_that_changes_its_mind_ends_with_what_it_wants(events in events()) {
        holds_what_it_wants::<StateOfTheWorld>(events)?;
    }
}
