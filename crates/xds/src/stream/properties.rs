//! Random histories: whatever happens to the cache and on the wire, a client that follows ends up with what the cache
//! holds, and on the way it never has a listener without its cluster.
//!
//! The clients here are models of Envoy: they apply what they can, reject what they cannot (odd content is bad), ask for
//! the endpoints of each cluster that they get, answer late or after a reconnect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message;

use super::connection::Dialectic;
use super::session::Session;
use super::{Delta, Limits, StateOfTheWorld};
use crate::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER};
use crate::{Any, Cache, Rejection, Resource, Update};

const FREE: &str = "type.googleapis.com/test.Free";
const TYPES: [&str; 4] = [CLUSTER, ENDPOINT, LISTENER, FREE];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ACK_WAIT: Duration = Duration::from_secs(5);

/// Every resource is a cluster message: what counts is its name and its content.
fn resource(type_url: &str, name: &str, content: u8) -> Resource {
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: content.to_string(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        ..Cluster::default()
    };
    Resource::new(type_url, name, &message)
}

fn content(body: &Any) -> (String, u8) {
    let message = Cluster::decode(body.value.as_slice()).unwrap();
    (message.name, message.alt_stat_name.parse().unwrap())
}

fn is_bad(content: u8) -> bool {
    content % 2 == 1
}

type Held = BTreeMap<String, (String, u8)>;

/// A client in one of the dialects.
trait Follower: Default {
    type Dialect: Dialectic;
    /// The first requests on a new stream.
    fn connect(&mut self) -> Vec<<Self::Dialect as Dialectic>::Request>;
    fn subscribe_endpoints(&mut self, name: &str) -> <Self::Dialect as Dialectic>::Request;
    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<<Self::Dialect as Dialectic>::Request>;
    /// Applies a response; answers with the acknowledgement and what else it asks for.
    fn receive(&mut self, response: <Self::Dialect as Dialectic>::Response) -> Vec<<Self::Dialect as Dialectic>::Request>;
    fn held(&self, type_url: &str) -> Held;
    fn endpoints_wanted(&self) -> &BTreeSet<String>;
    /// Whether the dialect has a way to tell that an endpoint is gone.
    fn knows_of_removed_endpoints(&self) -> bool;
}

#[derive(Default)]
struct DeltaFollower {
    held: BTreeMap<String, Held>,
    endpoints: BTreeSet<String>,
    /// What the server has sent on this stream, taken or not.
    sent: BTreeMap<(String, String), String>,
}

impl DeltaFollower {
    fn request(type_url: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() }
    }

    fn claims(&self, type_url: &str) -> std::collections::HashMap<String, String> {
        self.held(type_url).into_iter().map(|(name, (version, _))| (name, version)).collect()
    }
}

impl Follower for DeltaFollower {
    type Dialect = Delta;

    fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let held = self
            .held
            .iter()
            .flat_map(|(type_url, held)| held.iter().map(|(name, (version, _))| ((type_url.clone(), name.clone()), version.clone())));
        self.sent = held.collect();
        let mut requests: Vec<_> = [CLUSTER, LISTENER, FREE]
            .into_iter()
            .map(|type_url| DeltaDiscoveryRequest { initial_resource_versions: self.claims(type_url), ..Self::request(type_url) })
            .collect();
        requests[2].resource_names_subscribe = vec!["*".into()];
        if !self.endpoints.is_empty() {
            requests.push(DeltaDiscoveryRequest {
                initial_resource_versions: self.claims(ENDPOINT),
                resource_names_subscribe: self.endpoints.iter().cloned().collect(),
                ..Self::request(ENDPOINT)
            });
        }
        requests
    }

    fn subscribe_endpoints(&mut self, name: &str) -> DeltaDiscoveryRequest {
        self.endpoints.insert(name.to_owned());
        DeltaDiscoveryRequest { resource_names_subscribe: vec![name.to_owned()], ..Self::request(ENDPOINT) }
    }

    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<DeltaDiscoveryRequest> {
        self.endpoints.remove(name);
        self.held.entry(ENDPOINT.into()).or_default().remove(name);
        Some(DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..Self::request(ENDPOINT) })
    }

    fn receive(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let held = self.held.entry(response.type_url.clone()).or_default();
        for name in &response.removed_resources {
            held.remove(name);
            self.sent.remove(&(response.type_url.clone(), name.clone()));
        }
        let mut rejected = BTreeMap::new();
        let mut new_clusters = Vec::new();
        for resource in response.resources {
            let (name, content) = content(&resource.resource.unwrap());
            assert_eq!(name, resource.name);
            let earlier = self.sent.insert((response.type_url.clone(), name.clone()), resource.version.clone());
            // Endpoints are sent again when they are asked for again and when their cluster was replaced.
            assert!(response.type_url == ENDPOINT || earlier.as_ref() != Some(&resource.version), "{name} is sent again unchanged");
            if is_bad(content) {
                rejected.insert(name, "bad".to_owned());
            } else if response.type_url != ENDPOINT || self.endpoints.contains(&name) {
                if response.type_url == CLUSTER && !self.endpoints.contains(&name) {
                    new_clusters.push(name.clone());
                }
                held.insert(name, (resource.version, content));
            }
        }
        let error_detail = (!rejected.is_empty()).then(|| Rejection::of(rejected).into_status());
        let acknowledgement = DeltaDiscoveryRequest { response_nonce: response.nonce, error_detail, ..Self::request(&response.type_url) };
        let mut requests: Vec<_> = new_clusters.iter().map(|name| self.subscribe_endpoints(name)).collect();
        requests.push(acknowledgement);
        requests
    }

    fn held(&self, type_url: &str) -> Held {
        self.held.get(type_url).cloned().unwrap_or_default()
    }

    fn endpoints_wanted(&self) -> &BTreeSet<String> {
        &self.endpoints
    }

    fn knows_of_removed_endpoints(&self) -> bool {
        true
    }
}

#[derive(Default)]
struct WholeFollower {
    held: BTreeMap<String, Held>,
    endpoints: BTreeSet<String>,
    nonces: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
}

impl WholeFollower {
    fn request(&self, type_url: &str) -> DiscoveryRequest {
        let resource_names = if type_url == ENDPOINT { self.endpoints.iter().cloned().collect() } else { Vec::new() };
        let response_nonce = self.nonces.get(type_url).cloned().unwrap_or_default();
        DiscoveryRequest { type_url: type_url.to_owned(), resource_names, response_nonce, ..DiscoveryRequest::default() }
    }
}

impl Follower for WholeFollower {
    type Dialect = StateOfTheWorld;

    fn connect(&mut self) -> Vec<DiscoveryRequest> {
        self.nonces.clear();
        self.versions.clear();
        let mut types = vec![CLUSTER, LISTENER, FREE];
        if !self.endpoints.is_empty() {
            types.push(ENDPOINT);
        }
        types.into_iter().map(|type_url| self.request(type_url)).collect()
    }

    fn subscribe_endpoints(&mut self, name: &str) -> DiscoveryRequest {
        self.endpoints.insert(name.to_owned());
        self.request(ENDPOINT)
    }

    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<DiscoveryRequest> {
        let was_wanted = self.endpoints.remove(name);
        self.held.entry(ENDPOINT.into()).or_default().remove(name);
        was_wanted.then(|| self.request(ENDPOINT))
    }

    fn receive(&mut self, response: DiscoveryResponse) -> Vec<DiscoveryRequest> {
        self.nonces.insert(response.type_url.clone(), response.nonce);
        let earlier = self.versions.insert(response.type_url.clone(), response.version_info.clone());
        assert!(response.type_url == ENDPOINT || earlier != Some(response.version_info), "the same is sent again");
        let held = self.held.entry(response.type_url.clone()).or_default();
        let mut received: Held = response
            .resources
            .iter()
            .map(|body| {
                let (name, content) = content(body);
                (name, (String::new(), content))
            })
            .collect();
        assert_eq!(received.len(), response.resources.len(), "no name twice");
        let is_bad_at_all = received.values().any(|(_, content)| is_bad(*content));
        received.retain(|_, (_, content)| !is_bad(*content));
        let mut new_clusters = Vec::new();
        if response.type_url == ENDPOINT {
            // What is missing may not have changed.
            held.extend(received.into_iter().filter(|(name, _)| self.endpoints.contains(name)));
        } else {
            // What is missing is gone; of what is bad the last good state stays.
            let named: BTreeSet<String> = response.resources.iter().map(|body| content(body).0).collect();
            held.retain(|name, _| named.contains(name));
            held.extend(received);
            if response.type_url == CLUSTER {
                new_clusters = held.keys().filter(|name| !self.endpoints.contains(*name)).cloned().collect();
            }
        }
        let mut requests: Vec<_> = new_clusters.iter().map(|name| self.subscribe_endpoints(name)).collect();
        let error_detail = is_bad_at_all.then(|| Rejection::of_all("bad").into_status());
        requests.push(DiscoveryRequest { error_detail, ..self.request(&response.type_url) });
        requests
    }

    fn held(&self, type_url: &str) -> Held {
        self.held.get(type_url).cloned().unwrap_or_default()
    }

    fn endpoints_wanted(&self) -> &BTreeSet<String> {
        &self.endpoints
    }

    fn knows_of_removed_endpoints(&self) -> bool {
        false
    }
}

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

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["[abc*]?", ".{0,8}"], 0..4)
}

fn type_urls() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(TYPES.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn nonces() -> impl Strategy<Value = String> {
    prop_oneof!["", "[0-9]", ".{0,4}"]
}

prop_compose! {
    fn delta_requests()(
        type_url in type_urls(),
        resource_names_subscribe in texts(),
        resource_names_unsubscribe in texts(),
        claims in texts(),
        response_nonce in nonces(),
        is_nack in any::<bool>(),
    ) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url,
            resource_names_subscribe,
            resource_names_unsubscribe,
            initial_resource_versions: claims.into_iter().map(|name| (name.clone(), name)).collect(),
            response_nonce,
            error_detail: is_nack.then(|| Rejection::of_all("no").into_status()),
            ..DeltaDiscoveryRequest::default()
        }
    }
}

prop_compose! {
    fn whole_requests()(type_url in type_urls(), resource_names in texts(), response_nonce in nonces(), is_nack in any::<bool>()) -> DiscoveryRequest {
        let error_detail = is_nack.then(|| Rejection::of_all("no").into_status());
        DiscoveryRequest { type_url, resource_names, response_nonce, error_detail, ..DiscoveryRequest::default() }
    }
}

/// Whatever a client says, the server neither panics nor talks for ever.
fn survives<D: Dialectic>(requests: Vec<D::Request>) {
    let cache = Cache::new();
    cache.mark_ready();
    let mut session = Session::new(D::DIALECT, Limits { types: 6, name_bytes: 16, total_bytes: 1000 }, ACK_WAIT);
    let now = Instant::now();
    for (number, request) in (0u8..).zip(requests) {
        let name = NAMES[usize::from(number) % NAMES.len()];
        for type_url in TYPES {
            cache.set(type_url, resource(type_url, name, number));
        }
        if D::hear(&mut session, request).is_err() {
            return;
        }
        let responses = std::iter::from_fn(|| session.next(&cache, now)).take(100).count();
        assert!(responses < 100, "{session:?}");
    }
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

    #[test]
    fn any_delta_requests_are_survived(requests in prop::collection::vec(delta_requests(), 0..12)) {
        survives::<Delta>(requests);
    }

    #[test]
    fn any_state_of_the_world_requests_are_survived(requests in prop::collection::vec(whole_requests(), 0..12)) {
        survives::<StateOfTheWorld>(requests);
    }
}
