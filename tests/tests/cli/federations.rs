//! Federations and the opt-in of bindings: the page about them, with the mistakes that people make on the way.

use crate::support::{Connect, assert_transcript};

const POLICY: &str = "attestation-policy add static --name my-policy --spiffe-id-path ns/demo/sa/client --parent-id-path spire/agent \
                      --selectors unix:uid:1000";

/// Zones a, b and c, and a policy.
const THREE_ZONES: [&str; 4] = [
    "trust-zone add trust-zone-a --trust-domain a.test",
    "trust-zone add trust-zone-b --trust-domain b.test",
    "trust-zone add trust-zone-c --trust-domain c.test",
    POLICY,
];

#[tokio::test]
async fn the_page_about_federation_is_followed_command_by_command() {
    let connect = Connect::start().await;
    let mut transcript = connect.transcript();
    transcript.note("Nothing is there yet: a table without rows is no output at all, a list without elements is one.");
    transcript.run("federation list").await;
    transcript.run("federation list --output json").await;
    transcript.run("attestation-policy-binding list").await;
    transcript.note("Three trust zones, and a policy for their workloads.");
    transcript.run_all(&THREE_ZONES).await;

    transcript.note("The third step first: refused, with the command that is missing.");
    let refused = "attestation-policy-binding add --trust-zone trust-zone-a --attestation-policy my-policy --federates-with trust-zone-b";
    let remedy = transcript.run(refused).await.refused(1, &["ap_binding.federations[0].trust_zone_id"]).remedy();

    transcript.note("The first step, as the error said it. A federation has a direction.");
    assert_eq!(remedy, "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b");
    transcript.run(&remedy).await.done();
    transcript.run("federation list").await;
    transcript.note("The other direction is a federation of its own; so far it is missing.");
    let other_way = "attestation-policy-binding add --trust-zone trust-zone-b --attestation-policy my-policy --federates-with trust-zone-a";
    transcript.run(other_way).await.refused(1, &["trust-zone-b -> trust-zone-a"]);
    transcript.note("The second step.");
    transcript.run("federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a").await.done();
    transcript.run("federation list").await;

    transcript.note("The third step: the binding opts in.");
    transcript.run(refused).await.done();
    transcript.note("It is repeated for several zones, each of which needs its federation.");
    transcript.run("attestation-policy-binding del --trust-zone trust-zone-a --attestation-policy my-policy").await.done();
    let several = format!("{refused} --federates-with trust-zone-c");
    transcript.run(&several).await.refused(1, &["ap_binding.federations[1].trust_zone_id"]);
    transcript.run("federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-c").await.done();
    transcript.run(&several).await.done();
    transcript.note("The forgotten third step: nothing is wrong with it, and it says what it means.");
    transcript.run("attestation-policy-binding add --trust-zone trust-zone-b --attestation-policy my-policy").await.done();
    transcript.run("attestation-policy-binding list").await;
    transcript.note("Made up for later.");
    let update = "attestation-policy-binding update --trust-zone trust-zone-b --attestation-policy my-policy --federates-with trust-zone-a";
    transcript.run(update).await.done();
    transcript.run("attestation-policy-binding list").await;
    assert_transcript!(transcript);
}

#[tokio::test]
async fn what_cannot_be_federated_is_named() {
    let connect = Connect::start().await;
    connect.given(&THREE_ZONES).await;
    let mut transcript = connect.transcript();
    transcript.note("Twice.");
    transcript.run("federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b").await.done();
    transcript.run("federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b").await;
    transcript.note("With itself.");
    transcript.run("federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-a").await;
    transcript.note("With nobody: mistyped, unknown, empty, forgotten.");
    transcript.run("federation add --trust-zone trust-zone-a --remote-trust-zone trustzone-b").await;
    transcript.run("federation add --trust-zone nowhere --remote-trust-zone trust-zone-b").await;
    transcript.run("federation add --trust-zone= --remote-trust-zone trust-zone-b").await;
    transcript.run("federation add --trust-zone trust-zone-a").await;
    transcript.note("Removing the direction that is not there.");
    transcript.run("federation del --trust-zone trust-zone-b --remote-trust-zone trust-zone-a").await;
    transcript.run("federation list --trust-zone nowhere").await;
    transcript.note("A typo in a flag, and in a word.");
    transcript.run("federation add --trust-zone trust-zone-a --remote-trustzone trust-zone-b").await;
    transcript.run("federation ad --trust-zone trust-zone-a --remote-trust-zone trust-zone-b").await;
    transcript.note("None of it changed anything.");
    transcript.run("federation list").await;
    assert_transcript!(transcript);
}

#[tokio::test]
async fn the_older_flags_say_the_same_and_neither_is_given_twice() {
    let connect = Connect::start().await;
    connect.given(&THREE_ZONES).await;
    let created = connect.json("federation add --from trust-zone-a --to trust-zone-b").await;
    assert_eq!((&created["trust_zone"], &created["remote_trust_zone"]), (&"trust-zone-a".into(), &"trust-zone-b".into()));
    connect.given(&["federation add --from trust-zone-b --remote-trust-zone trust-zone-a"]).await;
    let both = connect.cofidectl("federation add --trust-zone trust-zone-b --from trust-zone-a --to trust-zone-c").await;
    both.refused(2, &["--trust-zone", "cannot be used multiple times"]);
    connect.given(&["federation del --from trust-zone-b --to trust-zone-a"]).await;
    let left = connect.json("federation list").await;
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["id"], created["id"]);
}

#[tokio::test]
async fn a_zone_is_known_by_its_id_as_well() {
    let connect = Connect::start().await;
    connect.given(&THREE_ZONES).await;
    let (a, b) = (connect.id("trust-zone get trust-zone-a").await, connect.id("trust-zone get trust-zone-b").await);
    connect.given(&[&format!("federation add --trust-zone {a} --remote-trust-zone {b}")]).await;
    let listed = connect.json(&format!("federation list --trust-zone {a}")).await;
    assert_eq!((&listed[0]["trust_zone"], &listed[0]["remote_trust_zone"]), (&"trust-zone-a".into(), &"trust-zone-b".into()));
    assert_eq!(connect.json(&format!("federation list --trust-zone {b}")).await, serde_json::json!([]));
}

#[tokio::test]
async fn things_are_taken_down_in_their_order_and_each_refusal_names_what_comes_first() {
    let connect = Connect::start().await;
    connect.given(&THREE_ZONES).await;
    connect
        .given(&[
            "cluster add cluster-a --trust-zone trust-zone-a --profile host",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
            "federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a",
            "attestation-policy-binding add --trust-zone trust-zone-a --attestation-policy my-policy --federates-with trust-zone-b",
        ])
        .await;
    let mut transcript = connect.transcript();
    transcript.note("A policy that is bound, and a zone with a cluster, stay. The remedies are followed.");
    let unbind = transcript.run("attestation-policy del my-policy").await.refused(1, &["trust-zone-a"]).remedy();
    let remove_cluster = transcript.run("trust-zone del trust-zone-a").await.refused(1, &["cluster-a"]).remedy();
    transcript.note("A federation goes although a binding relies on it; the binding waits for its return.");
    transcript.run("federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b").await.done();
    transcript.run("federation list").await;
    transcript.run("attestation-policy-binding list").await;
    transcript.run(&unbind).await.done();
    transcript.run("attestation-policy del my-policy").await.done();
    transcript.run(&remove_cluster).await.done();
    transcript.note("A zone takes its federations on either side with it.");
    transcript.run("trust-zone del trust-zone-a").await.done();
    transcript.run("federation list").await;
    transcript.note("Gone is gone.");
    transcript
        .run_all(&[
            &unbind,
            "attestation-policy del my-policy",
            &remove_cluster,
            "trust-zone del trust-zone-a",
            "federation del --trust-zone trust-zone-b --remote-trust-zone trust-zone-a",
        ])
        .await;
    transcript.note("The control plane's own zone is nobody's to remove.");
    transcript.run("trust-zone del management").await;
    transcript.run("trust-zone list").await;
    assert_transcript!(transcript);
}
