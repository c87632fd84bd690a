use super::*;

#[test]
fn a_bad_federated_service_is_told_which_field() {
    use types::federated_service::FederatedService as Wire;
    type Case = (fn(&mut Wire), &'static str);
    let cases: [Case; 22] = [
        (|service| service.name = String::new(), "federated_service.name: must not be empty"),
        (|service| service.name = "a.b".into(), "federated_service.name: contains '.'; allowed are lower-case letters, digits and '-'"),
        (
            |service| service.namespace = "Demo".into(),
            "federated_service.namespace: contains 'D'; allowed are lower-case letters, digits and '-'",
        ),
        (
            |service| service.id = "a/b".into(),
            "federated_service.id: an id holds only ASCII letters, digits, '.', '_', '-' and ':', not '/'",
        ),
        (
            |service| service.trust_domain = "A.test".into(),
            "federated_service.trust_domain: contains 'A'; allowed are lower-case letters, digits, '.', '-' and '_'",
        ),
        (|service| service.workload_labels.clear(), "federated_service.workload_labels: the workload labels must not be empty"),
        (
            |service| service.exported_trust_domains[1] = "spiffe://c".into(),
            "federated_service.exported_trust_domains[1]: contains ':'; allowed are lower-case letters, digits, '.', '-' and '_'",
        ),
        (|service| service.port = 0, "federated_service.port: a port is a number from 1 to 65535"),
        (|service| service.port = 65536, "federated_service.port: a port is a number from 1 to 65535"),
        (|service| service.tls_mode = 0, "federated_service.tls_mode: must be TLS_MODE_MTLS or TLS_MODE_ISTIO_MTLS"),
        (|service| service.tls_mode = 9, "federated_service.tls_mode: 9 is not a known value"),
        (|service| service.gateway_specs[1].ip = "1.2.3".into(), "federated_service.gateway_specs[1].ip: \"1.2.3\" is not an IP address"),
        (
            |service| service.gateway_specs[1].hostname = "x".into(),
            "federated_service.gateway_specs[1].hostname: a gateway has a hostname or an ip, not both",
        ),
        (
            |service| service.gateway_specs[1].ip = String::new(),
            "federated_service.gateway_specs[1].hostname: a gateway needs a hostname or an ip",
        ),
        (|service| service.gateway_entries[0].port = -1, "federated_service.gateway_entries[0].port: a port is a number from 1 to 65535"),
        (
            |service| service.gateway_entries[0].r#type = "nodeport".into(),
            "federated_service.gateway_entries[0].type: unknown gateway type \"nodeport\"; use istio-ingressgateway or istio-eastwestgateway",
        ),
        (
            |service| service.gateway_specs[1].ip = "0.0.0.0".into(),
            "federated_service.gateway_specs[1].ip: 0.0.0.0 is the unspecified address; use one at which other clusters reach the gateway",
        ),
        (
            |service| service.gateway_specs[1].ip = "224.0.0.1".into(),
            "federated_service.gateway_specs[1].ip: 224.0.0.1 is a multicast address; use one at which other clusters reach the gateway",
        ),
        (
            |service| service.gateway_specs[1].ip = "169.254.169.254".into(),
            "federated_service.gateway_specs[1].ip: 169.254.169.254 is a link-local address; use one at which other clusters reach the gateway",
        ),
        (
            |service| service.gateway_specs[1].ip = "fe80::1".into(),
            "federated_service.gateway_specs[1].ip: fe80::1 is a link-local address; use one at which other clusters reach the gateway",
        ),
        (
            |service| service.gateway_specs[1].ip = "::ffff:169.254.169.254".into(),
            "federated_service.gateway_specs[1].ip: ::ffff:169.254.169.254 is a link-local address; use one at which other clusters reach the \
             gateway",
        ),
        (|service| service.cluster_name = "-".into(), "federated_service.cluster_name: must begin and end with a letter or a digit"),
    ];
    for (spoil, expected) in cases {
        assert_eq!(refusal(federated_service(), |message| federated_service::Draft::try_from(message), spoil), expected);
    }
    let path = refusal(
        federated_service(),
        |message| federated_service::Draft::try_from(message),
        |service| service.spiffe_id_paths.push("a b".into()),
    );
    assert!(path.starts_with("federated_service.spiffe_id_paths[1]: "), "{path}");
}

#[test]
fn a_federated_service_has_bounded_lists_and_texts() {
    fn lengthened<T: Clone>(list: &mut Vec<T>, length: usize) {
        let first = list[0].clone();
        list.resize(length, first);
    }
    let labels = |count: usize| (0..count).map(|number| (format!("label-{number}"), "value".to_owned())).collect();
    let draft = |change: &dyn Fn(&mut types::federated_service::FederatedService)| {
        let mut message = federated_service();
        change(&mut message);
        federated_service::Draft::try_from(&message).map_err(|error| error.to_string())
    };
    type Lengthen = fn(&mut types::federated_service::FederatedService, usize);
    let lists: [(&str, usize, Lengthen); 4] = [
        ("gateway_entries", 64, |service, length| lengthened(&mut service.gateway_entries, length)),
        ("gateway_specs", 64, |service, length| lengthened(&mut service.gateway_specs, length)),
        ("spiffe_id_paths", 64, |service, length| lengthened(&mut service.spiffe_id_paths, length)),
        ("exported_trust_domains", 1024, |service, length| lengthened(&mut service.exported_trust_domains, length)),
    ];
    for (field, most, lengthen) in lists {
        draft(&|service| lengthen(service, most)).unwrap_or_else(|error| panic!("{field}: {error}"));
        let error = draft(&|service| lengthen(service, most + 1)).unwrap_err();
        assert!(error.starts_with(&format!("federated_service.{field}: has {} entries, at most {most}", most + 1)), "{error}");
    }
    draft(&|service| service.workload_labels = labels(64)).unwrap();
    let error = draft(&|service| service.workload_labels = labels(65)).unwrap_err();
    assert!(error.starts_with("federated_service.workload_labels: has 65 entries, at most 64"), "{error}");
    let error = draft(&|service| service.workload_labels = [("app".to_owned(), "x".repeat(2049))].into()).unwrap_err();
    assert!(error.starts_with("federated_service.workload_labels: has a text of 2049 bytes"), "{error}");
    let error = draft(&|service| service.spiffe_id_paths.push("x".repeat(2048))).unwrap_err();
    assert!(error.starts_with("federated_service.spiffe_id_paths[1]: a SPIFFE ID path has at most 2048 bytes"), "{error}");
    draft(&|service| service.gateway_specs[1].ip = "127.0.0.1".into()).expect("everything may be on one machine");
}
