//! Connect, and two trust zones of which each has a SPIRE and an agent.

use std::collections::BTreeSet;

use cofide_api::connect::receipt_service::federation_status::State;
use cofide_testkit::plane::Plane;
use cofide_testkit::spire::SpireOptions;
use cofide_testkit::wait::eventually;

use super::GoSpiffe;

/// `trust-zone-a` with trust domain `a.test`.
pub(crate) const A: usize = 0;
/// `trust-zone-b` with trust domain `b.test`.
pub(crate) const B: usize = 1;

pub(crate) async fn two_zones(options: SpireOptions) -> Plane {
    let mut plane = Plane::start().await.unwrap();
    assert_eq!(plane.add_spire_zone("a", options.clone()).await.unwrap(), A);
    assert_eq!(plane.add_spire_zone("b", options).await.unwrap(), B);
    plane
}

pub(crate) async fn both_directions_are_healthy(plane: &Plane) {
    let expected: BTreeSet<_> =
        [(A, B), (B, A)].map(|(from, to)| (plane.zones[from].name.clone(), plane.zones[to].name.clone(), State::Healthy)).into();
    eventually("both directions are healthy", || async { plane.federation_states().await.unwrap() }, |found| *found == expected).await;
}

/// Waits until a handshake succeeds.
pub(crate) async fn is_let_in(client: &GoSpiffe, server: &GoSpiffe) {
    let what = format!("{client:?} and {server:?} accept each other");
    eventually(&what, || async { client.call(server).await.unwrap() }, Result::is_ok).await.unwrap();
}
