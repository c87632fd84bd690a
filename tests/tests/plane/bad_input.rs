//! Manifests as tired people write them: each is told what is wrong, and none harms another.

use cofide_testkit::wait::eventually;

use crate::world::{A, B, fence, imported, not_imported, service, status_says, still_imported, two_federated_zones};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_manifest_is_told_why_and_leaves_its_neighbours_alone() {
    let plane = two_federated_zones().await;
    let zone = &plane.zones[A];
    let good = service("server", &["b.test"], 15443);
    zone.write_manifest("server.yaml", &good).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    let other = service("other", &["b.test"], 15443);
    let replaced = |from: &str, to: &str| {
        let changed = other.replace(from, to);
        assert_ne!(changed, other, "{from}");
        changed
    };
    let table = [
        ("no-mode", replaced("  tlsMode: Mtls\n", ""), &["spec.tlsMode", "IstioMtls"][..]),
        ("bad-mode", replaced("tlsMode: Mtls", "tlsMode: mtls"), &["tlsMode", "mtls"]),
        ("no-name", replaced("spec:\n  name: other\n", "spec:\n"), &["spec.name"]),
        ("dots", replaced("spec:\n  name: other\n", "spec:\n  name: a.b\n"), &["spec.name"]),
        ("long", replaced("spec:\n  name: other\n", &format!("spec:\n  name: {}\n", "a".repeat(64))), &["spec.name", "63"]),
        ("no-port", replaced("  port: 8443\n", ""), &["spec.port"]),
        ("port-0", replaced("port: 8443", "port: 0"), &["spec.port", "65535"]),
        ("port-text", replaced("port: 8443", "port: https"), &["spec.port"]),
        (
            "empty-domains",
            replaced("  exportedTrustDomains:\n    - b.test\n", "  exportedTrustDomains: []\n"),
            &["exportedTrustDomains", "empty"],
        ),
        ("duplicate-domain", replaced("    - b.test\n", "    - b.test\n    - b.test\n"), &["b.test", "twice"]),
        ("own-domain", replaced("    - b.test\n", "    - a.test\n"), &["a.test", "own"]),
        ("upper-domain", replaced("    - b.test\n", "    - B.test\n"), &["exportedTrustDomains"]),
        ("no-labels", replaced("  workloadLabels:\n    app: other\n", "  workloadLabels: {}\n"), &["workloadLabels"]),
        (
            "both-addresses",
            replaced("      ip: 127.0.0.9\n", "      ip: 127.0.0.9\n      hostname: gw.test\n"),
            &["gateways[0]", "not both"],
        ),
        ("no-address", replaced("      ip: 127.0.0.9\n", ""), &["gateways[0]", "hostname or an ip"]),
        ("bad-type", replaced("istio-ingressgateway", "nginx"), &["gateways[0].type", "istio-eastwestgateway"]),
        ("bad-ip", replaced("ip: 127.0.0.9\n      port", "ip: 1.2.3\n      port"), &["gateways[0].ip"]),
        ("gateway-port", replaced("port: 15443", "port: 70000"), &["gateways[0].port"]),
        ("misspelt", replaced("exportedTrustDomains", "exportedTrustDomain"), &["exportedTrustDomain", "exportedTrustDomains"]),
        ("half", other[..other.len() / 3].to_owned(), &["document 1, line"]),
        ("not-yaml", "{[".to_owned(), &["document 1"]),
    ];
    for (name, manifest, _) in &table {
        // Objects of their own, so that each is judged by its own mistake alone.
        let manifest = manifest.replace("metadata:\n  name: other\n", &format!("metadata:\n  name: {name}\n"));
        zone.write_manifest(&format!("{name}.yaml"), &manifest).unwrap();
    }
    let untold = || async {
        let said = table.iter().map(|(name, _, words)| (*name, *words, zone.status_of(&format!("{name}.yaml"))));
        said.filter(|(_, words, status)| status.is_empty() || words.iter().any(|word| !status.contains(word))).collect::<Vec<_>>()
    };
    eventually("each is told what is wrong", untold, Vec::is_empty).await;
    fence(zone, &[&plane.zones[B]]).await;
    not_imported(&plane.zones[B], "other.demo.a.test").await;
    still_imported(&plane.zones[B], "server.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_services_with_one_hostname_the_older_wins() {
    let plane = two_federated_zones().await;
    let zone = &plane.zones[A];
    zone.write_manifest("first.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    let second = service("server", &["b.test"], 15555).replace("metadata:\n  name: server", "metadata:\n  name: usurper");
    zone.write_manifest("a-second.yaml", &second).unwrap();
    status_says(zone, "a-second.yaml", &["Conflict", "demo/server"]).await;
    fence(zone, &[&plane.zones[B]]).await;
    assert_eq!(imported(&plane.zones[B], "server.demo.a.test").await, [("127.0.0.9".to_owned(), 15443)]);

    std::fs::remove_file(zone.manifest("first.yaml")).unwrap();
    let taken_over = |found: &Option<Vec<(String, u32)>>| found.as_ref().is_some_and(|found| found == &[("127.0.0.9".to_owned(), 15555)]);
    eventually("the other takes over", || crate::world::endpoints(&plane.zones[B], "server.demo.a.test"), taken_over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_keeps_the_last_good_version() {
    let plane = two_federated_zones().await;
    let zone = &plane.zones[A];
    let good = service("server", &["b.test"], 15443);
    zone.write_manifest("server.yaml", &good).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    let cut = good.find("tlsMode").unwrap();
    zone.write_manifest("server.yaml", &good[..cut]).unwrap();
    status_says(zone, "server.yaml", &["InvalidKeptLastValid"]).await;
    fence(zone, &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], "server.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_trust_domain_is_named_and_the_known_ones_work() {
    let plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test", "nobody.test"], 15443)).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;
    status_says(&plane.zones[A], "server.yaml", &["nobody.test"]).await;
}
