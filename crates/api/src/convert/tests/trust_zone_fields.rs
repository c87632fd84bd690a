use super::*;

#[test]
fn a_bad_trust_zone_is_told_which_field() {
    use types::trust_zone::TrustZone as Wire;
    type Case = (fn(&mut Wire), &'static str);
    let cases: [Case; 9] = [
        (|zone| zone.name = "a b".into(), "trust_zone.name: contains ' '; allowed are ASCII letters, digits, '.', '_' and '-'"),
        (|zone| zone.trust_domain = String::new(), "trust_zone.trust_domain: must not be empty"),
        (|zone| zone.trust_domain = "b.test".into(), "trust_zone.bundle.trust_domain: the bundle is for a.test, expected b.test"),
        (
            |zone| zone.bundle_endpoint_url = Some("http://a.test".into()),
            "trust_zone.bundle_endpoint_url: must be a URL that begins with https:// and names a host",
        ),
        (|zone| zone.bundle_endpoint_profile = None, "trust_zone.bundle_endpoint_profile: must be set"),
        (|zone| zone.bundle_endpoint_profile = Some(3), "trust_zone.bundle_endpoint_profile: 3 is not a known value"),
        (|zone| zone.bundle.as_mut().unwrap().refresh_hint = -1, "trust_zone.bundle.refresh_hint: must not be negative"),
        (
            |zone| zone.bundle.as_mut().unwrap().x509_authorities[0].asn1.push(0),
            "trust_zone.bundle.x509_authorities[0].asn1: is not one DER-encoded X.509 certificate: 1 bytes follow it",
        ),
        (
            |zone| zone.bundle.as_mut().unwrap().jwt_authorities[0].key_id.clear(),
            "trust_zone.bundle.jwt_authorities[0].key_id: must be set",
        ),
    ];
    for (spoil, expected) in cases {
        assert_eq!(refusal(trust_zone(), |message| trust_zone::Draft::try_from(message), spoil), expected);
    }
}

#[test]
fn a_bad_cluster_federation_or_binding_is_told_which_field() {
    let cluster_error = |spoil: fn(&mut types::cluster::Cluster)| refusal(cluster(), |message| cluster::Draft::try_from(message), spoil);
    assert_eq!(cluster_error(|cluster| cluster.trust_zone_id = None), "cluster.trust_zone_id: must be set");
    assert_eq!(cluster_error(|cluster| cluster.name = Some(String::new())), "cluster.name: must be set");
    assert_eq!(
        cluster_error(|cluster| cluster.profile = Some("vm".into())),
        "cluster.profile: unknown profile \"vm\"; use istio, kubernetes or host"
    );
    assert_eq!(
        cluster_error(|cluster| cluster.oidc_issuer_url = Some("https://a.test/?q".into())),
        "cluster.oidc_issuer_url: must have neither a query nor a fragment"
    );

    let federation_error =
        |spoil: fn(&mut types::federation::Federation)| refusal(federation(), |message| federation::Draft::try_from(message), spoil);
    assert_eq!(federation_error(|federation| federation.remote_trust_zone_id = None), "federation.remote_trust_zone_id: must be set");

    let binding_error = |spoil: fn(&mut types::ap_binding::ApBinding)| {
        refusal(binding(), |message| attestation_policy_binding::Draft::try_from(message), spoil)
    };
    assert_eq!(
        binding_error(|binding| binding.federations[1].trust_zone_id = None),
        "ap_binding.federations[1].trust_zone_id: must be set"
    );
}
