//! Small builders: valid objects that say only what a test is about.

use std::collections::BTreeMap;

use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, Bundle, BundleEndpoint, BundleEndpointProfile, Cluster, FederatedService, Federation,
    Gateway, GatewayAddress, GatewayKind, PolicyKind, Port, Profile, Selector, ServiceName, StaticPolicy, Timestamp, TlsMode, TrustDomain,
    TrustZone, X509Authority,
};

/// Parses what is known to be valid.
pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// A zone `name` with the trust domain `name.test` and a bundle.
pub(crate) fn zone(name: &str) -> TrustZone {
    TrustZone {
        id: id(name),
        organization_id: id("org"),
        name: id(name),
        trust_domain: domain(&format!("{name}.test")),
        bundle: Some(bundle(&format!("{name}.test"), 1)),
        bundle_endpoint: Some(BundleEndpoint { url: format!("https://{name}.example:8443"), profile: BundleEndpointProfile::HttpsSpiffe }),
        jwt_issuer: None,
        is_management_zone: false,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub(crate) fn bundle(trust_domain: &str, serial: u8) -> Bundle {
    Bundle { x509_authorities: vec![X509Authority { der: vec![serial], tainted: false }], ..Bundle::empty(domain(trust_domain)) }
}

pub(crate) fn cluster(name: &str, zone: &str) -> Cluster {
    Cluster {
        id: id(name),
        organization_id: id("org"),
        trust_zone_id: id(zone),
        name: id(name),
        profile: Profile::Host,
        kubernetes_context: None,
        external_server: false,
        oidc_issuer_url: None,
        oidc_issuer_ca_cert: None,
        trust_provider: None,
        extra_helm_values: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// `from` trusts `to`.
pub(crate) fn federation(from: &str, to: &str) -> Federation {
    Federation {
        id: id(&format!("{from}-{to}")),
        organization_id: id("org"),
        trust_zone_id: id(from),
        remote_trust_zone_id: id(to),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub(crate) fn policy(name: &str) -> AttestationPolicy {
    let kind = StaticPolicy {
        spiffe_id_path: format!("/ns/demo/sa/{name}"),
        parent_id_path: "/agent".to_owned(),
        selectors: vec![Selector { kind: "unix".to_owned(), value: "uid:1000".to_owned() }],
        dns_names: Vec::new(),
        store_svid: false,
    };
    AttestationPolicy {
        id: id(name),
        organization_id: id("org"),
        name: id(name),
        trust_zone_id: None,
        federations: Vec::new(),
        kind: PolicyKind::Static(kind),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub(crate) fn binding(zone: &str, policy: &str, federates_with: &[&str]) -> AttestationPolicyBinding {
    AttestationPolicyBinding {
        id: id(&format!("{zone}-{policy}")),
        organization_id: id("org"),
        trust_zone_id: id(zone),
        policy_id: id(policy),
        federates_with: federates_with.iter().map(|zone| id(zone)).collect(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// Service `demo/name` of a cluster, on port 8443 in mode Mtls with one ingress gateway.
pub(crate) fn service(name: &str, cluster: &Cluster, exported: &[&str]) -> FederatedService {
    let zone = cluster.trust_zone_id.as_str();
    let trust_domain = domain(&format!("{zone}.test"));
    let service_name = ServiceName { name: id(name), namespace: id("demo") };
    FederatedService {
        id: id(&format!("{}-{name}", cluster.id)),
        hostname: service_name.hostname(&trust_domain).unwrap(),
        name: service_name,
        trust_zone_id: cluster.trust_zone_id.clone(),
        cluster_id: cluster.id.clone(),
        cluster_name: cluster.name.clone(),
        trust_domain,
        workload_labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        exported_trust_domains: exported.iter().map(|name| domain(name)).collect(),
        port: port(8443),
        tls_mode: TlsMode::Mtls,
        gateway_entries: vec![gateway(GatewayKind::Ingress, "192.0.2.1", 443)],
        gateway_specs: Vec::new(),
        spiffe_id_paths: Vec::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub(crate) fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

pub(crate) fn gateway(kind: GatewayKind, ip: &str, number: i64) -> Gateway {
    Gateway { kind, address: GatewayAddress::Ip(ip.parse().unwrap()), port: port(number) }
}
