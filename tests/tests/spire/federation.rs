//! The document about federation from top to bottom, with SPIRE as the trust zones' servers and clients on go-spiffe.

use cofide_testkit::spire::SpireOptions;
use cofide_testkit::wait::eventually;

use crate::support::*;

/// What go-spiffe says where it holds no bundle, and what it is told by a peer that holds none.
fn is_unknown_authority(reason: &str) -> bool {
    ["no X.509 bundle for trust domain", "unknown certificate authority", "bad certificate"].iter().any(|words| reason.contains(words))
}

async fn fails(client: &GoSpiffe, server: &GoSpiffe) {
    let outcome = client.call(server).await.unwrap();
    assert!(outcome.as_ref().is_err_and(|reason| is_unknown_authority(reason)), "{client:?} to {server:?}: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_two_federations_and_a_binding_on_each_side_make_mutual_tls_with_no_restart() {
    let plane = two_zones(SpireOptions::default()).await;
    plane.federate_both_ways(A, B).await.unwrap();
    both_directions_are_healthy(&plane).await;

    // The forgotten step: identities are issued, and each workload holds its own bundle alone.
    let binding_a = GoSpiffe::bind(&plane, A, "server", &[]).await.unwrap();
    let binding_b = GoSpiffe::bind(&plane, B, "client", &[]).await.unwrap();
    let server = GoSpiffe::start(&plane.zones[A], "server").await.unwrap();
    let client = GoSpiffe::start(&plane.zones[B], "client").await.unwrap();
    assert_eq!(server.bundles().await.unwrap(), ["a.test"]);
    assert_eq!(client.bundles().await.unwrap(), ["b.test"]);
    fails(&client, &server).await;
    fails(&server, &client).await;

    plane.update_binding(&binding_a, &[B]).await.unwrap();
    plane.update_binding(&binding_b, &[A]).await.unwrap();
    is_let_in(&client, &server).await;
    is_let_in(&server, &client).await;
    assert_eq!(server.bundles().await.unwrap(), ["a.test", "b.test"]);

    // And back: new handshakes fail, with no restart either.
    plane.update_binding(&binding_b, &[]).await.unwrap();
    let refused = |outcome: &Result<(), String>| outcome.as_ref().is_err_and(|reason| is_unknown_authority(reason));
    let outcome = || async { client.call(&server).await.unwrap() };
    let reason = eventually("the client trusts nobody else", outcome, refused).await.unwrap_err();
    assert!(reason.contains("a.test"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_each_side_needs_its_own_direction_whoever_calls() {
    for a_trusts_b in [false, true] {
        for b_trusts_a in [false, true] {
            let plane = two_zones(SpireOptions::default()).await;
            let (mut of_a, mut of_b) = (vec![], vec![]);
            if a_trusts_b {
                plane.federate(A, B).await.unwrap();
                of_a.push(B);
            }
            if b_trusts_a {
                plane.federate(B, A).await.unwrap();
                of_b.push(A);
            }
            GoSpiffe::bind(&plane, A, "one", &of_a).await.unwrap();
            GoSpiffe::bind(&plane, B, "two", &of_b).await.unwrap();
            let one = GoSpiffe::start(&plane.zones[A], "one").await.unwrap();
            let two = GoSpiffe::start(&plane.zones[B], "two").await.unwrap();
            let expected =
                |own: &str, other: &str, trusts: bool| if trusts { vec![own.to_owned(), other.to_owned()] } else { vec![own.to_owned()] };
            let mut of_two = expected("b.test", "a.test", b_trusts_a);
            of_two.sort();
            eventually(
                "the workload of A",
                || async { one.bundles().await.unwrap() },
                |held| *held == expected("a.test", "b.test", a_trusts_b),
            )
            .await;
            eventually("the workload of B", || async { two.bundles().await.unwrap() }, |held| *held == of_two).await;

            for (client, server, client_trusts, server_trusts) in
                [(&one, &two, a_trusts_b, b_trusts_a), (&two, &one, b_trusts_a, a_trusts_b)]
            {
                let outcome = client.call(server).await.unwrap();
                match (client_trusts, server_trusts) {
                    (true, true) => assert_eq!(outcome, Ok(()), "{client:?}"),
                    // The client looks first, and tells of its own store of bundles.
                    (false, _) => assert!(outcome.is_err_and(|reason| reason.contains("no X.509 bundle for trust domain")), "{client:?}"),
                    // The client was content, and the server turned it away.
                    (true, false) => {
                        assert!(outcome.is_err_and(|reason| reason.contains("remote error: tls:")), "{client:?}");
                        // What it says of it comes by a pipe, in its own time.
                        let told = |log: &String| log.contains("no X.509 bundle for trust domain");
                        eventually("the server says why", || async { server.log() }, told).await;
                    }
                }
            }
        }
    }
}
