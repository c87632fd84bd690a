//! Clients that say anything.

use std::time::Instant;

use proptest::prelude::*;

use super::{ACK_WAIT, NAMES, TYPES, resource};
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use crate::stream::connection::Dialectic;
use crate::stream::session::Session;
use crate::stream::{Delta, Limits, StateOfTheWorld};
use crate::{Cache, Rejection};

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
    fn any_delta_requests_are_survived(requests in prop::collection::vec(delta_requests(), 0..12)) {
        survives::<Delta>(requests);
    }

    #[test]
    fn any_state_of_the_world_requests_are_survived(requests in prop::collection::vec(whole_requests(), 0..12)) {
        survives::<StateOfTheWorld>(requests);
    }
}
