//! A zone on SPIRE replaces its authority under traffic, and a partner on SPIRE follows.

use std::time::Duration;

use cofide_testkit::plane::Plane;
use cofide_testkit::spire::SpireOptions;
use cofide_testkit::wait::within;

use crate::support::*;

/// Handshakes a second.
const RATE: u32 = 100;

/// How long SPIRE's own polling may take: the shortest interval that it allows is a minute, of which it polls four times.
const POLLED: Duration = Duration::from_secs(60);

struct Traffic {
    plane: Plane,
    server: GoSpiffe,
    client: GoSpiffe,
}

/// A client of B that calls a server of A all the time.
async fn traffic() -> Traffic {
    let plane = two_zones(SpireOptions::default()).await;
    plane.federate_both_ways(A, B).await.unwrap();
    GoSpiffe::bind(&plane, A, "server", &[B]).await.unwrap();
    GoSpiffe::bind(&plane, B, "client", &[A]).await.unwrap();
    let server = GoSpiffe::start(&plane.zones[A], "server").await.unwrap();
    let client = GoSpiffe::start(&plane.zones[B], "client").await.unwrap();
    is_let_in(&client, &server).await;
    both_directions_are_healthy(&plane).await;
    client.load(&server, RATE).await.unwrap();
    Traffic { plane, server, client }
}

impl Traffic {
    /// Prepare, activate and taint, revoke: each step when the one before has arrived at everybody.
    async fn rotate(&self, patience: Duration) {
        let mut authorities = self.plane.zones[A].authorities().await.unwrap();
        let next = authorities.prepare().await.unwrap();
        self.held_by_the_client(patience, 2).await;
        let before = self.own_of_spire();
        let old = authorities.activate(next.clone()).await.unwrap();
        let issuer = || async { self.server.issuer().await.unwrap() };
        within(patience, "the server is signed by the new authority", issuer, |issuer| *issuer == next).await;
        // A SPIRE agent that reconnects to a server whose own certificate is of a revoked authority ends.
        let is_anew = |now: &[usize; 2]| now.iter().zip(before).all(|(now, before)| *now > before);
        within(patience, "SPIRE's own certificates are of the new authority", || async { self.own_of_spire() }, is_anew).await;
        authorities.retire(old).await.unwrap();
        self.held_by_the_client(patience, 1).await;
    }

    /// How often A's SPIRE server and its agent have had new certificates of their own. Each looks every five seconds.
    fn own_of_spire(&self) -> [usize; 2] {
        [("spire-server.log", "Rotating server SVID"), ("spire-agent.log", "Successfully rotated agent SVID")].map(|(log, line)| {
            let text = std::fs::read_to_string(self.plane.zones[A].folder.join(log)).unwrap();
            text.matches(line).count()
        })
    }

    async fn held_by_the_client(&self, patience: Duration, count: usize) {
        let held = || async { self.client.authorities("a.test").await.unwrap() };
        within(patience, &format!("the client holds {count} authorities of a.test"), held, |held| *held == count).await;
    }

    async fn nothing_failed(&self, at_least: u64) {
        let (handshakes, failures) = self.client.rest().await.unwrap();
        assert_eq!(failures, 0, "of {handshakes} handshakes: {}", self.client.log());
        assert!(handshakes >= at_least, "{handshakes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_authorities_rotate_under_traffic_and_no_handshake_fails() {
    const ROTATIONS: u64 = 10;
    let traffic = traffic().await;
    for _ in 0..ROTATIONS {
        traffic.rotate(Duration::from_secs(90)).await;
        both_directions_are_healthy(&traffic.plane).await;
    }
    traffic.nothing_failed(ROTATIONS * u64::from(RATE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_an_authority_rotates_while_connect_is_down_by_the_servers_own_polling() {
    let mut traffic = traffic().await;
    traffic.plane.stop_connect().await.unwrap();
    traffic.rotate(POLLED).await;
    traffic.nothing_failed(u64::from(RATE)).await;
}
