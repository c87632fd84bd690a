//! What `federation list` says about each direction, from what real agents have reported.

use cofide_testkit::wait::eventually;

use crate::support::{Connect, Zone, tables};

/// Waits until the directions stand so: zone, remote zone, status, reason.
async fn stand(connect: &Connect, expected: &[[&str; 4]]) {
    let list = || connect.cofidectl("federation list");
    let is_so = |outcome: &crate::support::Outcome| {
        let tables = tables(&outcome.stdout);
        tables.first().is_some_and(|table| table.rows == expected)
    };
    eventually(&format!("the federations stand so: {expected:?}"), list, is_so).await.done();
}

const A: &str = "trust-zone-a";
const B: &str = "trust-zone-b";

#[tokio::test]
async fn each_direction_is_judged_by_what_the_agents_of_the_trusting_zone_hold() {
    let connect = Connect::start().await;
    let mut a = Zone::start(&connect, 'a').await;
    let mut b = Zone::start(&connect, 'b').await;
    let add_a_to_b = "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b";
    connect.given(&[add_a_to_b, "federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a"]).await;
    stand(
        &connect,
        &[
            [A, B, "Waiting", "trust zone trust-zone-b has not delivered its bundle yet"],
            [B, A, "Waiting", "trust zone trust-zone-a has not delivered its bundle yet"],
        ],
    )
    .await;

    // The remote bundle is there, and nobody who could hold it.
    b.start_agent().await;
    stand(
        &connect,
        &[
            [A, B, "Unknown", "no agent of the trust zone has joined"],
            [B, A, "Waiting", "trust zone trust-zone-a has not delivered its bundle yet"],
        ],
    )
    .await;

    // Without the federation the agent of a is never sent the bundle of b; added behind its back, it is not held.
    connect.given(&["federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b"]).await;
    a.start_agent().await;
    stand(&connect, &[[B, A, "Healthy", ""]]).await;
    a.stop_agent().await;
    connect.given(&[add_a_to_b]).await;
    stand(&connect, &[[A, B, "Unhealthy", "No bundle found"], [B, A, "Healthy", ""]]).await;
    a.start_agent().await;
    stand(&connect, &[[A, B, "Healthy", ""], [B, A, "Healthy", ""]]).await;

    // The bundle of b changes while the agent of a is away: what a holds is an older one.
    a.stop_agent().await;
    b.rotate_authority(&connect).await;
    stand(&connect, &[[A, B, "Unhealthy", "Bundles do not match"], [B, A, "Healthy", ""]]).await;
    a.start_agent().await;
    stand(&connect, &[[A, B, "Healthy", ""], [B, A, "Healthy", ""]]).await;
    let healthy = connect.json("federation list --trust-zone trust-zone-a").await;
    assert!(healthy[0]["observed_at"].is_string() && healthy[0]["since"].is_string(), "{healthy}");

    // In detail: what b has delivered is what the SPIRE server of a holds.
    let status = connect.json("federation status trust-zone-a trust-zone-b").await;
    let [there, back] = [&status["directions"][0], &status["directions"][1]];
    assert_eq!((&there["trust_zone"], &back["trust_zone"]), (&A.into(), &B.into()));
    assert_eq!((&there["status"], &back["status"]), (&"Healthy".into(), &"Healthy".into()));
    let held = &there["clusters"][0];
    assert_eq!(held["digest"], there["delivered"]["digest"]);
    assert_eq!(held["sequence_number"], there["delivered"]["sequence_number"]);
    assert!(held["since"].is_string() && held["read_at"].is_string(), "{status}");
    let shown = connect.cofidectl("federation status trust-zone-b trust-zone-a").await.done();
    assert!(shown.stdout.contains("Delivered to Connect") && shown.stdout.contains("Held by SPIRE servers"), "{shown}");

    // A direction that is not there, although the bundle was until a moment ago.
    connect.given(&["federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b"]).await;
    let status = connect.json("federation status trust-zone-a trust-zone-b").await;
    assert_eq!(status["directions"][0]["status"], "None", "{status}");
    connect.cofidectl("federation status trust-zone-a trust-zone-a").await.refused(1, &["name two trust zones"]);
}
