//! Trust zones and their clusters.

use std::time::SystemTime;

use cofide_core::TrustDomain;
use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
use cofide_svid::bundle::to_jwks;

use crate::support::{Connect, assert_transcript};

#[tokio::test]
async fn trust_zones_come_are_shown_and_go() {
    let connect = Connect::start().await;
    let mut transcript = connect.transcript();
    transcript.note("At first there is the control plane's own zone alone.");
    transcript.run("trust-zone list").await;
    transcript.run("trust-zone add trust-zone-a --trust-domain a.test").await.done();
    let with_endpoint = "trust-zone add trust-zone-b --trust-domain b.test --jwt-issuer https://issuer.b.test --bundle-endpoint-url \
                         https://bundle.b.test:8443 --bundle-endpoint-profile https_web";
    transcript.run(with_endpoint).await.done();
    transcript.run("trust-zone list").await;
    transcript.run("trust-zone get trust-zone-a").await;
    transcript.run("trust-zone get trust-zone-b --output yaml").await;
    transcript.note("A name and a trust domain are used once; the zone that has them stays as it is.");
    transcript.run("trust-zone add trust-zone-a --trust-domain other.test").await;
    transcript.run("trust-zone add trust-zone-c --trust-domain a.test").await;
    transcript.note("What is no name, no trust domain, no URL.");
    transcript
        .run_all(&[
            "trust-zone add 'trust zone' --trust-domain c.test",
            "trust-zone add trust-zone-c --trust-domain C.test",
            "trust-zone add trust-zone-c --trust-domain spiffe://c.test",
            "trust-zone add trust-zone-c",
            "trust-zone add trust-zone-c --trust-domain c.test --bundle-endpoint-url http://bundle.c.test",
            "trust-zone add trust-zone-c --trust-domain c.test --bundle-endpoint-profile https",
        ])
        .await;
    transcript.note("Nothing about a zone changes later but what its agent delivers.");
    transcript.run("trust-zone update trust-zone-a --trust-domain other.test").await;
    transcript.note("Not there, and a name that comes close.");
    transcript.run("trust-zone get trustzone-a").await;
    transcript.run("trust-zone del nowhere").await;
    transcript.run("trust-zone del trust-zone-b").await.done();
    transcript.run("trust-zone get trust-zone-b").await.refused(1, &["trust-zone-b"]);
    transcript.run("trust-zone list").await;
    assert_transcript!(transcript);
}

#[tokio::test]
async fn clusters_come_are_shown_and_go() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test", "trust-zone add trust-zone-b --trust-domain b.test"]).await;
    connect.admin.write("issuer.pem", "-----BEGIN CERTIFICATE-----\n");
    let mut transcript = connect.transcript();
    transcript.run("cluster list").await;
    transcript.run("cluster list --output yaml").await;
    transcript.run("cluster add east --trust-zone trust-zone-b --profile host").await.done();
    transcript.run("cluster add east --trust-zone trust-zone-a").await.done();
    let istio = "cluster add west --trust-zone trust-zone-a --profile istio --kubernetes-context kind-west --kubernetes-oidc-issuer \
                 https://issuer.west.test --kubernetes-ca-cert issuer.pem --external-server";
    transcript.run(istio).await.done();
    transcript.note("By name, then by zone: a name is unique within its zone only.");
    transcript.run("cluster list").await;
    transcript.run("cluster list --trust-zone trust-zone-a").await;
    transcript.run("cluster get west --trust-zone trust-zone-a").await;
    transcript.run("cluster get east --trust-zone trust-zone-b --output yaml").await;
    transcript.run("trust-zone list").await;
    transcript.note("A cluster keeps its zone and its profile: adding it again with others is refused.");
    transcript.run("cluster add east --trust-zone trust-zone-b --profile istio").await;
    transcript.note("Profile, issuer, certificate and zone that are none.");
    transcript
        .run_all(&[
            "cluster add south --trust-zone trust-zone-a --profile vm",
            "cluster add south --trust-zone trust-zone-a --kubernetes-oidc-issuer http://issuer.test",
            "cluster add south --trust-zone trust-zone-a --kubernetes-ca-cert missing.pem",
            "cluster add south --trust-zone trust-zone-x",
            "cluster add south --trust-zone management",
            "cluster add south",
        ])
        .await;
    transcript.note("The zone of a cluster is always named: there may be another of its name.");
    transcript.run("cluster get west --trust-zone trust-zone-b").await;
    transcript.run("cluster del west").await;
    transcript.run("cluster del east --trust-zone trust-zone-b --force").await.done();
    transcript.run("cluster del east --trust-zone trust-zone-b").await;
    transcript.run("cluster list").await;
    transcript.note("With --force a zone takes its clusters with it.");
    transcript.run("trust-zone del trust-zone-a").await.refused(1, &["east, west"]);
    transcript.run("trust-zone del trust-zone-a --force").await.done();
    transcript.run("cluster list").await;
    assert_transcript!(transcript);
}

/// The bundle of a SPIFFE server that begins.
fn jwks(trust_domain: &str) -> String {
    let domain = TrustDomain::new(trust_domain).unwrap();
    let authority = X509CertificateAuthority::create(domain, X509Settings::default(), SystemTime::now()).unwrap();
    to_jwks(&authority::bundle(&authority, None, 0))
}

#[tokio::test]
async fn an_administrator_replaces_the_bundle_of_a_zone_and_the_log_has_its_authorities() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    connect.admin.write("bundle.json", &jwks("a.test"));
    let outcome = connect.cofidectl("trust-zone set-bundle trust-zone-a --bundle-file bundle.json").await.done();
    assert!(outcome.stderr.contains("trust zone trust-zone-a has a new bundle with 1 X.509 authority"), "{}", outcome.stderr);
    let events = connect.json("audit list --type trust_zone_update").await;
    let text = events.to_string();
    assert!(text.contains("authorities_before") && text.contains("authorities_after"), "{text}");

    // A document in the SPIFFE format does not name its trust domain; its authorities do.
    connect.admin.write("rebuilt.json", &jwks("a.test"));
    connect.admin.write("other.json", &jwks("b.test"));
    let before = connect.json("trust-zone get trust-zone-a").await;
    let other = "trust-zone set-bundle trust-zone-a --bundle-file other.json";
    connect.cofidectl(other).await.refused(1, &["other.json has no X.509 authority that trust zone trust-zone-a has already"]);
    connect.cofidectl(&format!("{other} --force")).await.refused(1, &["is the authority of spiffe://b.test", "a.test"]);
    let replace = "trust-zone set-bundle trust-zone-a --bundle-file rebuilt.json";
    connect.cofidectl(replace).await.refused(1, &["every present identity of the zone would be refused", "nothing was changed", "--force"]);
    assert_eq!(connect.json("trust-zone get trust-zone-a").await, before);
    connect.cofidectl(&format!("{replace} --force")).await.done();
    connect.cofidectl(replace).await.done();

    connect.admin.write("empty.json", r#"{"keys":[]}"#);
    connect.admin.write("words.json", "no bundle");
    for (line, holds) in [
        ("trust-zone set-bundle trust-zone-a --bundle-file empty.json", &["empty.json", "a.test", "x509-svid"][..]),
        ("trust-zone set-bundle trust-zone-a --bundle-file words.json", &["words.json", "bundle show -format spiffe"]),
        ("trust-zone set-bundle trust-zone-a --bundle-file missing.json", &["missing.json", "No such file"]),
        ("trust-zone set-bundle trust-zone-a --bundle-file /dev/null", &["/dev/null"]),
        ("trust-zone set-bundle nowhere --bundle-file bundle.json", &["nowhere"]),
        ("trust-zone set-bundle management --bundle-file bundle.json", &["management"]),
    ] {
        connect.cofidectl(line).await.refused(1, holds);
    }
}

#[tokio::test]
async fn a_profile_that_nobody_chose_is_told_with_the_way_to_another() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    let chosen = connect.cofidectl("cluster add one --trust-zone trust-zone-a --profile kubernetes").await.done();
    assert!(!chosen.stderr.contains("note:"), "{chosen}");
    let taken = connect.cofidectl("cluster add two --trust-zone trust-zone-a").await.done();
    for part in ["created cluster two in trust zone trust-zone-a with profile kubernetes", "note: no --profile was given", "--profile host"]
    {
        assert!(taken.stderr.contains(part), "{taken}");
    }
    let endpoint = connect.cofidectl("trust-zone add trust-zone-b --trust-domain b.test --bundle-endpoint-url https://b.test").await.done();
    assert!(endpoint.stderr.contains("bundle endpoint https://b.test (https_spiffe)"), "{endpoint}");
}
