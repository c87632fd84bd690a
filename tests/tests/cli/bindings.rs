//! Bindings of attestation policies, and the lists of zones that they federate with.

use serde_json::json;

use crate::support::{Connect, assert_transcript};

/// Zone a trusts b and c, and there is a policy to bind.
async fn federated() -> Connect {
    let connect = Connect::start().await;
    connect
        .given(&[
            "trust-zone add trust-zone-a --trust-domain a.test",
            "trust-zone add trust-zone-b --trust-domain b.test",
            "trust-zone add trust-zone-c --trust-domain c.test",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-c",
            "attestation-policy add kubernetes --name my-policy --namespace demo",
        ])
        .await;
    connect
}

const OF_MY_POLICY: &str = "--trust-zone trust-zone-a --attestation-policy my-policy";

#[tokio::test]
async fn repeated_and_comma_separated_zones_mean_the_same() {
    let connect = federated().await;
    for zones in [
        "--federates-with trust-zone-b --federates-with trust-zone-c",
        "--federates-with trust-zone-b,trust-zone-c",
        "--federates-with=trust-zone-b,trust-zone-c --federates-with trust-zone-b",
    ] {
        let bound = connect.json(&format!("attestation-policy-binding add {OF_MY_POLICY} {zones}")).await;
        assert_eq!(bound["federates_with"], json!(["trust-zone-b", "trust-zone-c"]), "{zones}");
        connect.given(&[&format!("attestation-policy-binding del {OF_MY_POLICY}")]).await;
    }
}

#[tokio::test]
async fn an_update_replaces_the_zones_and_keeps_the_binding() {
    let connect = federated().await;
    let bound = connect.json(&format!("apbinding add {OF_MY_POLICY} --federates-with trust-zone-b")).await;
    let mut transcript = connect.transcript();
    transcript.note("Replaced, not added to.");
    transcript.run(&format!("apbinding update {OF_MY_POLICY} --federates-with trust-zone-c")).await.done();
    transcript.run("apbinding list").await;
    transcript.note("Neither flag: nothing to do, and no mistake. Both: a mistake.");
    transcript.run(&format!("apbinding update {OF_MY_POLICY}")).await.done();
    transcript.run(&format!("apbinding update {OF_MY_POLICY} --federates-with trust-zone-b --clear-federations")).await;
    transcript.note("Back to the workloads' own trust domain.");
    transcript.run(&format!("apbinding update {OF_MY_POLICY} --clear-federations")).await.done();
    transcript.run("apbinding list").await;
    assert_transcript!(transcript);
    let listed = connect.json("attestation-policy-binding list").await;
    assert_eq!((&listed[0]["id"], &listed[0]["created_at"]), (&bound["id"], &bound["created_at"]));
    assert_ne!(listed[0]["last_updated_at"], bound["last_updated_at"]);
}

#[tokio::test]
async fn a_binding_that_cannot_be_is_refused_with_the_reason() {
    let connect = federated().await;
    let mut transcript = connect.transcript();
    transcript.note("To a zone, of a policy, with a zone that is not there.");
    transcript
        .run_all(&[
            "apbinding add --trust-zone trust-zone-x --attestation-policy my-policy",
            "apbinding add --trust-zone trust-zone-a --attestation-policy policy",
            &format!("apbinding add {OF_MY_POLICY} --federates-with trust-zone-b,elsewhere"),
        ])
        .await;
    transcript.note("With the zone itself, whose bundle comes anyway.");
    transcript.run(&format!("apbinding add {OF_MY_POLICY} --federates-with trust-zone-a")).await;
    transcript.note("Twice.");
    transcript.run(&format!("apbinding add {OF_MY_POLICY}")).await.done();
    transcript.run(&format!("apbinding add {OF_MY_POLICY} --federates-with trust-zone-b")).await;
    transcript.note("What was not bound is neither updated nor removed, and filters find what they name.");
    transcript
        .run_all(&[
            "apbinding update --trust-zone trust-zone-b --attestation-policy my-policy --clear-federations",
            "apbinding del --trust-zone trust-zone-b --attestation-policy my-policy",
            "apbinding list --trust-zone trust-zone-b",
            "apbinding list --trust-zone trust-zone-a --attestation-policy my-policy",
            "apbinding list --attestation-policy nothing",
        ])
        .await;
    assert_transcript!(transcript);
}

#[tokio::test]
async fn a_pattern_stands_for_the_zones_that_it_matches_and_is_shown_with_them() {
    let connect = federated().await;
    let bound = connect.json(&format!("apbinding add {OF_MY_POLICY} --federates-with 'trust-zone-*'")).await;
    assert_eq!(bound["federates_with"], json!(["trust-zone-b", "trust-zone-c"]));
    assert_eq!(bound["federates_with_patterns"], json!(["trust-zone-*"]));
    connect
        .given(&[
            "trust-zone add trust-zone-d --trust-domain d.test",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-d",
            "federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
        ])
        .await;
    let mut transcript = connect.transcript();
    transcript.note("As federations are now, and for which bundles the workloads wait.");
    transcript.run("apbinding list").await;
    transcript.note("By name and by pattern, and no pattern that matches nothing yet.");
    transcript.run(&format!("apbinding update {OF_MY_POLICY} --federates-with trust-zone-c,'prod-*'")).await.done();
    transcript.run("apbinding list").await;
    transcript.note("What can match no name.");
    transcript.run(&format!("apbinding update {OF_MY_POLICY} --federates-with 'trust zone-*'")).await.refused(2, &["cannot match"]);
    assert_transcript!(transcript);

    let one = connect.json(&format!("apbinding get {OF_MY_POLICY}")).await;
    assert_eq!((&one["status"], &one["partners"][0]["trust_zone"]), (&json!("Waiting"), &json!("trust-zone-c")));
    assert!(
        one["partners"][0]["since"].is_string() && one["partners"][0]["reason"].as_str().unwrap().contains("has not delivered"),
        "{one}"
    );
    let get = connect.cofidectl(&format!("apbinding get {OF_MY_POLICY}")).await.done();
    assert!(get.stdout.contains("Waiting for trust-zone-c since 20") && get.stdout.contains("has not delivered its bundle yet"), "{get}");
    let events = connect.json("audit list --type attestation_policy_binding_update").await.to_string();
    assert!(events.contains("federates with trust-zone-d by its pattern trust-zone-*"), "{events}");
    assert!(events.contains("no longer federates with trust-zone-b by its pattern trust-zone-*"), "{events}");
}
