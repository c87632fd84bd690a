//! Small builders: valid nouns that say only what a test is about. For the tests of several crates.
//!
//! What is named `a` has the id `a`, a trust zone `a` has the trust domain `a.test`, and times are zero.
#![allow(clippy::unwrap_used, reason = "what tests are made of may stop at the first surprise, as tests may")]

use std::collections::BTreeMap;

use cofide_core::{
    AttestationPolicy, AttestationPolicyBinding, Bundle, BundleEndpoint, BundleEndpointProfile, Cluster, FederatedService, Federation,
    Gateway, GatewayAddress, GatewayKind, ImportedGateway, ImportedService, NamePattern, PolicyKind, Port, Profile, Selector, ServiceName,
    StaticPolicy, Timestamp, TlsMode, TrustDomain, TrustZone, X509Authority,
};

/// Parses what is known to be valid.
pub fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// A zone `name` with the trust domain `name.test` and a bundle.
pub fn zone(name: &str) -> TrustZone {
    TrustZone {
        id: id(name),
        organization_id: id("org"),
        name: id(name),
        trust_domain: domain(&format!("{name}.test")),
        bundle: Some(bundle(&format!("{name}.test"), 1)),
        bundle_endpoint: Some(BundleEndpoint {
            url: format!("https://{name}.example:8443"),
            profile: BundleEndpointProfile::HttpsSpiffe,
            spiffe_id: None,
        }),
        jwt_issuer: None,
        is_management_zone: false,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub fn bundle(trust_domain: &str, serial: u8) -> Bundle {
    Bundle { x509_authorities: vec![X509Authority { der: vec![serial], tainted: false }], ..Bundle::empty(domain(trust_domain)) }
}

pub fn cluster(name: &str, zone: &str) -> Cluster {
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
pub fn federation(from: &str, to: &str) -> Federation {
    Federation {
        id: id(&format!("{from}-{to}")),
        organization_id: id("org"),
        trust_zone_id: id(from),
        remote_trust_zone_id: id(to),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub fn policy(name: &str) -> AttestationPolicy {
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

/// `federates_with` are names and patterns.
pub fn binding(zone: &str, policy: &str, federates_with: &[&str]) -> AttestationPolicyBinding {
    AttestationPolicyBinding {
        id: id(&format!("{zone}-{policy}")),
        organization_id: id("org"),
        trust_zone_id: id(zone),
        policy_id: id(policy),
        federates_with: federates_with.iter().filter(|name| !NamePattern::is_meant(name)).map(|zone| id(zone)).collect(),
        federates_with_patterns: federates_with.iter().filter(|name| NamePattern::is_meant(name)).map(|pattern| id(pattern)).collect(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// Service `demo/name` of a cluster, on port 8443 in mode Mtls with one ingress gateway.
pub fn service(name: &str, cluster: &Cluster, exported: &[&str]) -> FederatedService {
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

pub fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

/// `address` is an IP address or a host name.
pub fn gateway(kind: GatewayKind, address: &str, number: i64) -> Gateway {
    let address = address.parse().map_or_else(|_| GatewayAddress::Hostname(address.parse().unwrap()), GatewayAddress::Ip);
    Gateway { kind, address, port: port(number) }
}

/// A service of `a.test` on port 8443 in mode Mtls, behind these gateways of cluster `one`, each on port 15443.
pub fn imported_service(hostname: &str, gateways: &[(GatewayKind, &str)]) -> ImportedService {
    let of_one =
        |&(kind, address): &(GatewayKind, &str)| ImportedGateway { gateway: gateway(kind, address, 15443), cluster_name: id("one") };
    ImportedService {
        hostname: id(hostname),
        port: port(8443),
        tls_mode: TlsMode::Mtls,
        trust_domain: domain("a.test"),
        spiffe_id_paths: Vec::new(),
        gateways: gateways.iter().map(of_one).collect(),
    }
}
