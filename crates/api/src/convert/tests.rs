//! Every noun survives the wire, every bad field is named, and nothing that decodes can make a conversion panic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cofide_core::*;
use cofide_plan::PlanResource;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{plan as plan_proto, spire, types};

static AUTHORITY: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    use rcgen::PublicKeyData;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    (certificate.der().to_vec(), key.subject_public_key_info())
});

fn domain(name: &str) -> TrustDomain {
    parse_trust_domain(name).unwrap()
}

fn bundle_for(name: &str) -> Bundle {
    let (certificate, key) = AUTHORITY.clone();
    Bundle {
        x509_authorities: vec![X509Authority { der: certificate, tainted: false }],
        jwt_authorities: vec![JwtAuthority { key_id: "k1".into(), public_key: key, expires_at: 1_900_000_000, tainted: true }],
        refresh_hint: 300,
        sequence_number: 7,
        ..Bundle::empty(domain(name))
    }
}

const CREATED: Timestamp = Timestamp(1_700_000_000_123_456);
const UPDATED: Timestamp = Timestamp(1_700_000_001_000_001);

fn trust_zone() -> TrustZone {
    TrustZone {
        id: "tz-1".parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        name: "trust-zone-a".parse().unwrap(),
        trust_domain: domain("a.test"),
        bundle: Some(bundle_for("a.test")),
        bundle_endpoint: Some(BundleEndpoint { url: "https://127.0.0.1:8443/bundle".into(), profile: BundleEndpointProfile::HttpsSpiffe }),
        jwt_issuer: Some("https://issuer.a.test".into()),
        is_management_zone: false,
        created_at: CREATED,
        updated_at: UPDATED,
    }
}

fn cluster() -> Cluster {
    Cluster {
        id: "cl-1".parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        trust_zone_id: "tz-1".parse().unwrap(),
        name: "cluster-a".parse().unwrap(),
        profile: Profile::Host,
        kubernetes_context: Some("kind-a".into()),
        external_server: true,
        oidc_issuer_url: Some("https://oidc.a.test/id".into()),
        oidc_issuer_ca_cert: Some(vec![1, 2]),
        trust_provider: Some(
            types::trust_provider::TrustProvider { kind: Some("kubernetes".into()), k8s_psat_config: None }.encode_to_vec(),
        ),
        extra_helm_values: Some(prost_types::Struct::default().encode_to_vec()),
        created_at: CREATED,
        updated_at: UPDATED,
    }
}

fn federation() -> Federation {
    Federation {
        id: "fed-1".parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        trust_zone_id: "tz-1".parse().unwrap(),
        remote_trust_zone_id: "tz-2".parse().unwrap(),
        created_at: CREATED,
        updated_at: UPDATED,
    }
}

fn binding() -> AttestationPolicyBinding {
    AttestationPolicyBinding {
        id: "apb-1".parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        trust_zone_id: "tz-1".parse().unwrap(),
        policy_id: "ap-1".parse().unwrap(),
        federates_with: vec!["tz-3".parse().unwrap(), "tz-2".parse().unwrap()],
        created_at: CREATED,
        updated_at: UPDATED,
    }
}

fn kinds() -> [PolicyKind; 3] {
    [
        PolicyKind::Kubernetes(KubernetesPolicy {
            namespace_selector: Some(LabelSelector {
                match_labels: BTreeMap::from([("kubernetes.io/metadata.name".into(), "demo".into())]),
                match_expressions: vec![],
            }),
            pod_selector: Some(LabelSelector {
                match_labels: BTreeMap::new(),
                match_expressions: vec![MatchExpression { key: "app".into(), operator: "In".into(), values: vec!["server".into()] }],
            }),
            dns_name_templates: vec!["{{ .PodMeta.Name }}.a.test".into()],
            spiffe_id_path_template: Some("ns/{{ .PodMeta.Namespace }}".into()),
        }),
        PolicyKind::Static(StaticPolicy {
            spiffe_id_path: "/server".into(),
            parent_id_path: "/spire/agent/x".into(),
            selectors: vec![Selector { kind: "unix".into(), value: "uid:1000".into() }],
            dns_names: vec!["*.server.a.test".into()],
            store_svid: true,
        }),
        PolicyKind::TpmNode(TpmNodePolicy { ek_hash: Some("0123456789abcdef".repeat(4)), selector_values: vec!["x".into()] }),
    ]
}

fn policy(kind: PolicyKind) -> AttestationPolicy {
    AttestationPolicy {
        id: "ap-1".parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        name: "my-policy".parse().unwrap(),
        trust_zone_id: Some("tz-1".parse().unwrap()),
        federations: vec!["tz-2".parse().unwrap()],
        kind,
        created_at: CREATED,
        updated_at: UPDATED,
    }
}

fn gateways() -> Vec<Gateway> {
    let gateway = |kind, hostname, ip, port: i64| Gateway {
        kind,
        address: GatewayAddress::from_fields(hostname, ip).unwrap(),
        port: port.try_into().unwrap(),
    };
    vec![gateway(GatewayKind::Ingress, "gw.example.com", "", 5432), gateway(GatewayKind::EastWest, "", "1.2.3.4", 4321)]
}

fn federated_service() -> types::federated_service::FederatedService {
    FederatedService {
        id: "fs-1".parse().unwrap(),
        name: ServiceName { name: "server".parse().unwrap(), namespace: "demo".parse().unwrap() },
        trust_zone_id: "tz-1".parse().unwrap(),
        cluster_id: "cl-1".parse().unwrap(),
        cluster_name: "cluster-a".parse().unwrap(),
        trust_domain: domain("a.test"),
        hostname: "server.demo.a.test".parse().unwrap(),
        workload_labels: BTreeMap::from([("app".into(), "ping-pong-server".into())]),
        exported_trust_domains: [domain("b.test"), domain("c.test")].into(),
        port: 8443.try_into().unwrap(),
        tls_mode: TlsMode::IstioMtls,
        gateway_entries: vec![gateways().remove(0)],
        gateway_specs: gateways(),
        spiffe_id_paths: vec!["/ns/demo/sa/server".parse().unwrap()],
        created_at: CREATED,
        updated_at: UPDATED,
    }
    .into()
}

fn import() -> ImportedService {
    ImportedService {
        hostname: "server.demo.a.test".parse().unwrap(),
        port: 8443.try_into().unwrap(),
        tls_mode: TlsMode::Mtls,
        trust_domain: domain("a.test"),
        spiffe_id_paths: vec!["/server".parse().unwrap()],
        gateways: gateways().into_iter().map(|gateway| ImportedGateway { gateway, cluster_name: "cluster-a".parse().unwrap() }).collect(),
    }
}

fn trust() -> FederatedTrust {
    FederatedTrust {
        trust_domain: domain("a.test"),
        trust_zone_name: "trust-zone-a".parse().unwrap(),
        bundle: Some(bundle_for("a.test")),
        bundle_endpoint: trust_zone().bundle_endpoint,
    }
}

fn registration(kind: PolicyKind) -> WorkloadRegistration {
    WorkloadRegistration {
        binding_id: "apb-1".parse().unwrap(),
        policy_name: "my-policy".parse().unwrap(),
        kind,
        federates_with: vec![domain("b.test"), domain("c.test")],
    }
}

fn export() -> ExportedService {
    let direction = |from: &str, to: &str| Direction { trust_zone: from.parse().unwrap(), remote_trust_zone: to.parse().unwrap() };
    let target = |name: &str, refusal| ExportTarget { trust_domain: domain(name), refusal };
    ExportedService {
        service_id: "fs-1".parse().unwrap(),
        hostname: "server.demo.a.test".parse().unwrap(),
        targets: vec![
            target("b.test", None),
            target("c.test", Some(ExportRefusal::UnknownTrustDomain)),
            target("d.test", Some(ExportRefusal::FederationMissing(vec![direction("a", "d"), direction("d", "a")]))),
        ],
    }
}

fn control_plane() -> ControlPlaneTrust {
    ControlPlaneTrust {
        spiffe_id: "spiffe://management.local/ns/connect/sa/cofide-connect-api".parse().unwrap(),
        bundle: bundle_for("management.local"),
    }
}

/// Through the bytes, as it really travels.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "callers make the noun for this call")]
fn travels<N, M>(noun: N)
where
    N: Clone + PartialEq + std::fmt::Debug + TryFrom<M, Error = FieldError>,
    M: Message + Default + From<N>,
{
    let bytes = M::from(noun.clone()).encode_to_vec();
    assert_eq!(N::try_from(M::decode(bytes.as_slice()).unwrap()).unwrap(), noun);
}

#[test]
fn every_noun_survives_the_wire() {
    travels::<_, types::organization::Organization>(Organization { id: "org-1".parse().unwrap(), name: "default".parse().unwrap() });
    travels::<_, types::trust_zone::TrustZone>(trust_zone());
    travels::<_, types::cluster::Cluster>(cluster());
    travels::<_, types::federation::Federation>(federation());
    travels::<_, types::ap_binding::ApBinding>(binding());
    travels::<_, types::agent::AgentStatus>(AgentStatus {
        state: AgentState::Error,
        message: "no SVID".into(),
        updated_at: Timestamp::from_seconds(1_700_000_000),
    });
    for kind in kinds() {
        travels::<_, types::attestation_policy::AttestationPolicy>(policy(kind.clone()));
        travels::<_, plan_proto::WorkloadRegistration>(registration(kind));
    }
    travels::<_, spire::types::Bundle>(bundle_for("a.test"));
    travels::<_, plan_proto::ImportedService>(import());
    travels::<_, plan_proto::FederatedTrust>(trust());
    travels::<_, plan_proto::FederatedTrust>(FederatedTrust { bundle: None, bundle_endpoint: None, ..trust() });
    travels::<_, plan_proto::ExportedService>(export());
    travels::<_, plan_proto::ControlPlaneTrust>(control_plane());
}

#[test]
fn a_registered_service_arrives_as_it_was_sent() {
    let draft = federated_service::Draft::try_from(&federated_service()).unwrap();
    assert_eq!(draft.name.to_string(), "demo/server");
    assert_eq!(draft.exported_trust_domains, [domain("b.test"), domain("c.test")]);
    assert_eq!(draft.gateway_specs, gateways(), "in their one order");
    assert_eq!(draft.tls_mode, TlsMode::IstioMtls);
    assert_eq!(draft.trust_domain, Some(domain("a.test")));
}

#[test]
fn times_keep_their_microseconds() {
    for time in [CREATED, Timestamp(-1), Timestamp(0), Timestamp(-1_500_000)] {
        assert_eq!(from_timestamp(&timestamp(time)), time);
    }
    assert_eq!(from_timestamp(&prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX }), Timestamp(i64::MAX));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let messages = [
        format!("{:?}", crate::connect::agent_service::CreateAgentJoinTokenResponse { agent_token: Some("hush".into()) }),
        format!("{:?}", crate::connect::trust_zone_service::RegisterAgentRequest { agent_token: "hush".into(), ..Default::default() }),
        format!("{:?}", crate::workload::X509svid { x509_svid_key: b"hush".to_vec(), ..Default::default() }),
        format!("{:?}", crate::workload::Jwtsvid { svid: "hush".into(), ..Default::default() }),
        format!("{:?}", crate::workload::ValidateJwtsvidRequest { svid: "hush".into(), ..Default::default() }),
    ];
    let as_bytes = format!("{:?}", b"hush");
    for printed in messages {
        assert!(!printed.contains("hush") && !printed.contains(&as_bytes), "{printed}");
    }
}

fn plan_resources() -> [PlanResource; 5] {
    [
        PlanResource::Import(import()),
        PlanResource::Trust(trust()),
        PlanResource::Registration(registration(kinds()[0].clone())),
        PlanResource::Export(export()),
        PlanResource::ControlPlaneTrust(control_plane()),
    ]
}

#[test]
fn every_plan_resource_survives_the_wire_under_its_own_name_and_no_other() {
    for resource in plan_resources() {
        let type_url = plan_resource::type_url(&resource.key());
        let (name, body) = (plan_resource::name_of(&resource), plan_resource::encode(&resource));
        assert_eq!(plan_resource::known_type_url(type_url), Some(type_url));
        assert_eq!(plan_resource::name(&resource.key(), &control_plane().spiffe_id), name, "what is removed has the name of what was set");
        assert_eq!(plan_resource::decode(type_url, &name, &body).unwrap(), resource);
        let foreign = plan_resource::decode(type_url, "other", &body).unwrap_err().to_string();
        assert_eq!(foreign, format!("it is about {name}, not about what it is named after"));
    }
}

#[test]
fn a_plan_resource_of_no_known_type_and_one_that_is_no_message_are_refused() {
    let type_url = plan::IMPORTED_SERVICE.replace("Imported", "Rented");
    assert_eq!(plan_resource::known_type_url(&type_url), None);
    let refusal = |type_url: &str, body: &[u8]| plan_resource::decode(type_url, "x", body).unwrap_err().to_string();
    assert_eq!(refusal(&type_url, b""), format!("resources of type {type_url} are not known to this version"));
    let garbage = refusal(plan::IMPORTED_SERVICE, b"garbage");
    assert!(garbage.starts_with(&format!("not a {}: ", plan::IMPORTED_SERVICE)), "{garbage}");
}

#[test]
fn equal_plan_resources_have_equal_bytes() {
    let mut shuffled = import();
    shuffled.gateways.reverse();
    let through_the_wire = ImportedService::try_from(plan_proto::ImportedService::from(shuffled)).unwrap();
    assert_eq!(
        plan_proto::ImportedService::from(through_the_wire).encode_to_vec(),
        plan_proto::ImportedService::from(import()).encode_to_vec()
    );
}

/// Spoils a good message in one way and gives what the conversion says.
#[track_caller]
fn refusal<M, N>(good: impl Into<M>, convert: impl Fn(&M) -> Result<N, FieldError>, spoil: impl Fn(&mut M)) -> String {
    let mut message = good.into();
    assert!(convert(&message).is_ok(), "the message must be good before it is spoiled");
    spoil(&mut message);
    match convert(&message) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

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
        ("spiffe_id_paths", 128, |service, length| lengthened(&mut service.spiffe_id_paths, length)),
        ("exported_trust_domains", 128, |service, length| lengthened(&mut service.exported_trust_domains, length)),
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
    draft(&|service| service.gateway_specs[1].ip = "127.0.0.1".into()).expect("everything may be on one machine");
}

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
            "trust_zone.bundle.x509_authorities[0].asn1: is not one DER-encoded X.509 certificate",
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

    let binding_error =
        |spoil: fn(&mut types::ap_binding::ApBinding)| refusal(binding(), |message| ap_binding::Draft::try_from(message), spoil);
    assert_eq!(
        binding_error(|binding| binding.federations[1].trust_zone_id = None),
        "ap_binding.federations[1].trust_zone_id: must be set"
    );
}

#[test]
fn a_bad_policy_is_told_which_field() {
    use types::attestation_policy::{AttestationPolicy as Wire, attestation_policy::Policy};
    let [kubernetes, unix, tpm] = kinds();
    let error = |kind: &PolicyKind, spoil: fn(&mut Policy)| {
        refusal(
            policy(kind.clone()),
            |message| attestation_policy::Draft::try_from(message),
            |message: &mut Wire| spoil(message.policy.as_mut().unwrap()),
        )
    };
    macro_rules! spoil {
        ($variant:ident, $field:ident => $change:expr) => {
            |policy| {
                let Policy::$variant($field) = policy else { unreachable!() };
                $change
            }
        };
    }
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.selectors.clear())),
        "attestation_policy.static.selectors: must not be empty: the policy would match every process"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.parent_id_path = None)),
        "attestation_policy.static.parent_id_path: must be set"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.selectors[0].value.clear())),
        "attestation_policy.static.selectors[0].value: must not be empty"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.dns_names[0] = "a..b".into())),
        "attestation_policy.static.dns_names[0]: contains an empty label (two dots in a row, or a dot at an end)"
    );
    assert_eq!(
        error(&kubernetes, spoil!(Kubernetes, policy => policy.pod_selector.as_mut().unwrap().match_expressions[0].operator = "Is".into())),
        "attestation_policy.kubernetes.pod_selector.match_expressions[0].operator: unknown operator \"Is\"; use In, NotIn, Exists or DoesNotExist"
    );
    assert_eq!(
        error(&kubernetes, spoil!(Kubernetes, policy => policy.pod_selector.as_mut().unwrap().match_expressions[0].values.clear())),
        "attestation_policy.kubernetes.pod_selector.match_expressions[0].values: In needs at least one"
    );
    assert_eq!(
        error(&tpm, spoil!(TpmNode, policy => policy.attestation.as_mut().unwrap().ek_hash = Some("AB".into()))),
        "attestation_policy.tpm_node.attestation.ek_hash: must be 64 lower-case hexadecimal digits, the SHA-256 of the endorsement key"
    );
    assert_eq!(
        refusal(policy(unix), |message| attestation_policy::Draft::try_from(message), |message: &mut Wire| message.policy = None),
        "attestation_policy.policy: one of kubernetes, static and tpm_node must be set"
    );
}

#[test]
#[allow(deprecated)]
fn the_older_form_of_a_static_policy_is_read() {
    let mut message = types::attestation_policy::AttestationPolicy::from(policy(kinds()[1].clone()));
    let Some(types::attestation_policy::attestation_policy::Policy::Static(policy)) = &mut message.policy else { unreachable!() };
    policy.spiffe_id_path = None;
    policy.spiffe_id = Some("spiffe://a.test/ns/demo/sa/server".into());
    policy.parent_id_path = Some("spire/agent/x".into());
    let draft = attestation_policy::Draft::try_from(&message).unwrap();
    let PolicyKind::Static(policy) = draft.kind else { unreachable!() };
    assert_eq!((policy.spiffe_id_path.as_str(), policy.parent_id_path.as_str()), ("/ns/demo/sa/server", "/spire/agent/x"));
}

#[test]
fn a_plan_resource_holds_one_trust_domain_only() {
    let foreign = |error: Result<(), FieldError>| error.unwrap_err().to_string();
    let mut message = plan_proto::FederatedTrust::from(trust());
    message.bundle = Some(bundle_for("b.test").into());
    assert_eq!(
        foreign(FederatedTrust::try_from(message).map(drop)),
        "federated_trust.bundle.trust_domain: the bundle is for b.test, expected a.test"
    );
    let mut message = plan_proto::ControlPlaneTrust::from(control_plane());
    message.bundle = Some(bundle_for("a.test").into());
    assert_eq!(
        foreign(ControlPlaneTrust::try_from(message).map(drop)),
        "control_plane_trust.bundle.trust_domain: the bundle is for a.test, expected management.local"
    );
}

/// Decodes a damaged encoding; what decodes is converted, and what converts stays what it is when it goes round again.
fn survives<N, M>(good: N, damage: &[(usize, u8)]) -> Result<(), TestCaseError>
where
    N: PartialEq + std::fmt::Debug + TryFrom<M, Error = FieldError> + Clone,
    M: Message + Default + From<N>,
{
    let mut bytes = M::from(good).encode_to_vec();
    for (place, byte) in damage {
        let place = place % bytes.len();
        bytes[place] = *byte;
    }
    let Ok(message) = M::decode(bytes.as_slice()) else { return Ok(()) };
    let Ok(noun) = N::try_from(message) else { return Ok(()) };
    prop_assert_eq!(N::try_from(M::from(noun.clone())), Ok(noun));
    Ok(())
}

proptest! {
    #[test]
    fn damaged_messages_never_panic(damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6), kind in 0..3_usize) {
        survives::<_, types::trust_zone::TrustZone>(trust_zone(), &damage)?;
        survives::<_, types::cluster::Cluster>(cluster(), &damage)?;
        survives::<_, types::federation::Federation>(federation(), &damage)?;
        survives::<_, types::ap_binding::ApBinding>(binding(), &damage)?;
        survives::<_, types::attestation_policy::AttestationPolicy>(policy(kinds()[kind].clone()), &damage)?;
        survives::<_, spire::types::Bundle>(bundle_for("a.test"), &damage)?;
        survives::<_, plan_proto::ImportedService>(import(), &damage)?;
        survives::<_, plan_proto::FederatedTrust>(trust(), &damage)?;
        survives::<_, plan_proto::WorkloadRegistration>(registration(kinds()[kind].clone()), &damage)?;
        survives::<_, plan_proto::ExportedService>(export(), &damage)?;
        survives::<_, plan_proto::ControlPlaneTrust>(control_plane(), &damage)?;

        let mut bytes = federated_service().encode_to_vec();
        for (place, byte) in &damage {
            let place = place % bytes.len();
            bytes[place] = *byte;
        }
        if let Ok(message) = types::federated_service::FederatedService::decode(bytes.as_slice()) {
            let _ = federated_service::Draft::try_from(&message);
        }
    }

    #[test]
    fn any_time_is_a_time(seconds in any::<i64>(), nanos in any::<i32>(), micros in any::<i64>()) {
        from_timestamp(&prost_types::Timestamp { seconds, nanos });
        prop_assert_eq!(from_timestamp(&timestamp(Timestamp(micros))), Timestamp(micros));
    }
}
