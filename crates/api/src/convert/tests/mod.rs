//! Every noun survives the wire, every bad field is named, and nothing that decodes can make a conversion panic.
//!
//! Here are the nouns of the tests; the tests themselves are beside this, by what they are about.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cofide_core::*;
use cofide_plan::PlanResource;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{plan as plan_proto, spire, types};

mod attestation_policy_fields;
mod federated_service_fields;
mod plan_resources;
mod trust_zone_fields;
mod wire;

static AUTHORITY: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    use rcgen::PublicKeyData;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
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
        bundle_endpoint: Some(BundleEndpoint {
            url: "https://127.0.0.1:8443/bundle".into(),
            profile: BundleEndpointProfile::HttpsSpiffe,
            spiffe_id: Some(SpiffeId::new("spiffe://a.test/bundle/server").unwrap()),
        }),
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
        federates_with_patterns: vec!["trust-zone-*".parse().unwrap(), "*".parse().unwrap()],
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
