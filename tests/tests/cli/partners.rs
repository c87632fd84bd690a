//! Partners outside of this Connect: brought in by a bundle, by a URL, by a signed package.

use std::time::SystemTime;

use cofide_core::TrustDomain;
use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
use cofide_svid::bundle::to_jwks;
use serde_json::json;

use crate::support::Connect;

/// The bundle of a SPIFFE server that begins.
fn jwks(trust_domain: &str) -> String {
    let domain = TrustDomain::new(trust_domain).unwrap();
    let authority = X509CertificateAuthority::create(domain, X509Settings::default(), SystemTime::now()).unwrap();
    to_jwks(&authority::bundle(&authority, None, 3))
}

#[tokio::test]
async fn a_partner_is_trusted_by_its_bundle_and_the_bundle_of_ones_own_is_written_for_it() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    connect.admin.write("partner.json", &jwks("partner.test"));
    let import = "federation import --trust-zone trust-zone-a --trust-domain partner.test --bundle-file partner.json";
    let made = connect.json(&format!("{import} --name partner")).await;
    assert_eq!((&made["trust_zone"], &made["remote_trust_zone"]), (&json!("trust-zone-a"), &json!("partner")));
    let zone = connect.json("trust-zone get partner").await;
    assert_eq!((&zone["trust_domain"], &zone["bundle"]["x509_authorities"]), (&json!("partner.test"), &json!(1)));
    let listed = connect.cofidectl("federation list").await.done();
    assert!(listed.stdout.contains("trust-zone-a | partner"), "{listed}");

    // What was exported is what was brought; again is no mistake, and brings what is new.
    let exported = connect.cofidectl("trust-zone export-bundle partner").await.done();
    let (exported, brought): (serde_json::Value, serde_json::Value) = (
        serde_json::from_str(&exported.stdout).unwrap(),
        serde_json::from_str(&std::fs::read_to_string(connect.admin.home().join("partner.json")).unwrap()).unwrap(),
    );
    assert_eq!(exported, brought);
    let again = connect.cofidectl(&format!("{import} --endpoint-url https://bundles.partner.test/bundle")).await.done();
    assert!(again.stderr.contains("its bundle is fetched from https://bundles.partner.test/bundle"), "{again}");
    let zone = connect.json("trust-zone get partner").await;
    assert_eq!(zone["bundle_endpoint_profile"], json!("https_web"));

    connect.given(&["trust-zone add trust-zone-b --trust-domain b.test", "cluster add one --trust-zone trust-zone-b --profile host"]).await;
    connect.admin.write("b.json", &jwks("b.test"));
    let base = "federation import --trust-zone trust-zone-a";
    for (code, line, holds) in [
        (2, format!("{base} --trust-domain partner.test"), &["--bundle-file, --endpoint-url and --package-file"][..]),
        (2, format!("{base} --trust-domain Partner.test --bundle-file partner.json"), &["trust domain contains 'P'"]),
        (
            2,
            format!("{base} --trust-domain partner.test --endpoint-spiffe-id spiffe://partner.test/x --bundle-file partner.json"),
            &["--endpoint-url"],
        ),
        (
            2,
            format!("{base} --trust-domain partner.test --endpoint-url https://x.test --endpoint-spiffe-id spiffe://partner.test/x"),
            &["add --bundle-file"],
        ),
        (1, format!("{base} --trust-domain other.test --bundle-file partner.json"), &["is the authority of spiffe://partner.test"]),
        (1, format!("{base} --trust-domain x.test --endpoint-url http://x.test"), &["bundle_endpoint_url", "https://"]),
        (1, format!("{base} --trust-domain b.test --bundle-file b.json"), &["trust-zone-b", "cofidectl federation add"]),
        (1, "trust-zone export-bundle trust-zone-b".to_owned(), &["has not delivered its bundle yet"]),
    ] {
        connect.cofidectl(&line).await.refused(code, holds);
    }
}

#[tokio::test]
async fn a_signed_package_is_carried_from_one_connect_to_another() {
    let (from, to) = (Connect::start().await, Connect::start().await);
    from.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    from.admin.write("bundle.json", &jwks("a.test"));
    from.given(&["trust-zone set-bundle trust-zone-a --bundle-file bundle.json"]).await;
    let export = "trust-zone export-bundle trust-zone-a --package --ttl 14d --output-file a.jws --signer-key-file a.pem";
    let exported = from.cofidectl(export).await.done();
    assert!(exported.stderr.contains("wrote a.jws: package 1 of a.test, to be imported before 20"), "{exported}");
    for file in ["a.jws", "a.pem"] {
        std::fs::copy(from.admin.home().join(file), to.admin.home().join(file)).unwrap();
    }
    to.given(&["trust-zone add trust-zone-b --trust-domain b.test"]).await;
    let import = "federation import --trust-zone trust-zone-b --package-file a.jws";
    to.cofidectl(import).await.refused(1, &["needed with the first package of a.test"]);
    let made = to.json(&format!("{import} --signer-key-file a.pem --name partner")).await;
    assert_eq!((&made["trust_zone"], &made["remote_trust_zone"]), (&json!("trust-zone-b"), &json!("partner")));
    to.cofidectl(import).await.refused(1, &["package 1 of a.test was imported already"]);
    assert_eq!(to.json("trust-zone get partner").await["trust_domain"], json!("a.test"));

    // The next one, of a signer that is known by now.
    from.given(&[export]).await;
    std::fs::copy(from.admin.home().join("a.jws"), to.admin.home().join("a.jws")).unwrap();
    to.given(&[import]).await;
    to.admin.write("words.jws", "no package");
    to.cofidectl("federation import --trust-zone trust-zone-b --package-file words.jws").await.refused(1, &["no bundle package"]);
    to.cofidectl(&format!("{import} --bundle-file a.pem")).await.refused(2, &["--bundle-file"]);
}
