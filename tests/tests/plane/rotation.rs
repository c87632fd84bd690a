//! A zone replaces its authority, and whoever trusts the zone follows.

use std::time::{Duration, SystemTime};

use cofide_svid::{IdentitySource, KeyUsage, X509Svid, x509};
use cofide_testkit::plane::Plane;
use cofide_testkit::wait::{eventually, within};
use cofide_testkit::workload::{Workload, authorities};

use crate::world::{A, B, connected, federations_are_healthy, imported, service, two_federated_zones};

/// What "pushed" means, on a machine that does something else too. Nobody polls anything in these tests.
const PUSHED: Duration = Duration::from_secs(5);

/// Waits until a workload of B accepts as many authorities of A as A has by now, and exactly those.
async fn follows(plane: &Plane, client: &Workload, count: usize) {
    let own = plane.zones[A].spire().own_bundle().await.unwrap();
    let own = authorities(&own);
    assert_eq!(own.len(), count);
    let held = || async { client.authorities_of(&plane.zones[A].trust_domain) };
    within(PUSHED, &format!("B accepts the {count} authorities of A"), held, |held| *held == own).await;
    federations_are_healthy(plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_rotation_reaches_the_workloads_of_a_partner_without_polling() {
    let plane = two_federated_zones().await;
    plane.bind(A, "/ns/demo/sa/server", &[]).await.unwrap();
    plane.bind(B, "/ns/demo/sa/client", &[A]).await.unwrap();
    let server = Workload::start(&plane.zones[A], "/ns/demo/sa/server").await.unwrap();
    let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    // What is pushed when the stream begins has been pushed: what follows comes of the rotation alone.
    connected(&plane.zones[A]).await;
    eventually("B accepts A", || async { client.authorities_of(&plane.zones[A].trust_domain).len() }, |held| *held == 1).await;
    follows(&plane, &client, 1).await;
    let accepts = |svid: &X509Svid| x509::verify(&svid.certificates, client.bundles.as_ref(), SystemTime::now(), KeyUsage::Server);
    let first = server.identity.identity().unwrap();
    accepts(&first).unwrap();

    let mut authorities = plane.zones[A].authorities().await.unwrap();
    let next = authorities.prepare().await.unwrap();
    follows(&plane, &client, 2).await;

    let old = authorities.activate(next).await.unwrap();
    let now = || async { server.identity.identity().unwrap() };
    let second = within(PUSHED, "the server is signed by the new authority", now, |now| now.leaf() != first.leaf()).await;
    accepts(&second).unwrap();
    follows(&plane, &client, 2).await;

    authorities.retire(old).await.unwrap();
    follows(&plane, &client, 1).await;
    accepts(&second).unwrap();
    assert!(accepts(&first).is_err(), "what the old authority has signed is accepted still");

    // The agent of A has a new identity too, and Connect knows it by that.
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;
}
