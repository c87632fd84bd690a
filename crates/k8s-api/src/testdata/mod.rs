//! Objects on both sides of every rule, for the tests of this crate and for those against real API servers.

mod istio;
mod spire;

use serde_json::{Value, json};

use crate::federated_service::{API_VERSION, KIND};

pub use istio::istio_objects;
pub use spire::spire_objects;

/// The definition of FederatedService as some clusters still have it: fewer rules, fewer fields, and SPIFFE ID paths required.
pub const OLDER_CRD: &str = include_str!("older-crd.yaml");

/// An object, and who refuses it with which words.
#[derive(Clone, Debug)]
pub struct Case {
    /// A sentence.
    pub name: &'static str,
    pub object: Value,
    /// A part of what the API server says; nothing: it accepts the object.
    pub api_server: Option<&'static str>,
    /// A part of what the agent says in a cluster of the trust domain [`TRUST_DOMAIN`]; nothing: it accepts the object.
    pub agent: Option<&'static str>,
}

/// The trust domain of the cluster in which the cases are tried.
pub const TRUST_DOMAIN: &str = "local.domain";

/// An object that everybody accepts, in the namespace `demo`.
pub fn federated_service() -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": "ping-pong", "namespace": "demo" },
        "spec": {
            "name": "server",
            "namespace": "demo",
            "exportedTrustDomains": ["other1.domain", "other2.domain"],
            "workloadLabels": { "app": "ping-pong-server" },
            "port": 8443,
            "tlsMode": "Mtls",
        },
    })
}

/// [`federated_service`] with other values for some fields of its specification; `null` takes a field out.
fn with(change: Value) -> Value {
    let mut object = federated_service();
    if let (Some(spec), Value::Object(change)) = (object["spec"].as_object_mut(), change) {
        for (field, value) in change {
            if value.is_null() {
                spec.remove(&field);
            } else {
                spec.insert(field, value);
            }
        }
    }
    object
}

fn gateway(gateway: &Value) -> Value {
    with(json!({ "gateways": [gateway] }))
}

/// Every rule of the definition, from both sides, and what only the agent can check.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, object, api_server, agent| cases.push(Case { name, object, api_server, agent });

    case("the documented example", federated_service(), None, None);
    case(
        "no specification",
        json!({ "apiVersion": API_VERSION, "kind": KIND, "metadata": { "name": "a", "namespace": "demo" } }),
        Some("spec: Required value"),
        Some("spec.name: must be set"),
    );

    case("a name of 63 characters", with(json!({ "name": "a".repeat(63) })), None, None);
    case(
        "a name of 64 characters",
        with(json!({ "name": "a".repeat(64) })),
        Some("spec.name: Too long"),
        Some("spec.name: has 64 characters"),
    );
    case("an empty name", with(json!({ "name": "" })), Some("spec.name"), Some("spec.name: must be set"));
    case("no name", with(json!({ "name": null })), Some("spec.name: Required value"), Some("spec.name: must be set"));
    case(
        "a name with capitals",
        with(json!({ "name": "Server" })),
        Some("\"Server\" must be a DNS label"),
        Some("spec.name: contains 'S'"),
    );
    case("a name with a dot", with(json!({ "name": "a.b" })), Some("must be a DNS label"), Some("spec.name: contains '.'"));
    case("a name that ends with a dash", with(json!({ "name": "a-" })), Some("must be a DNS label"), Some("spec.name: must begin and end"));
    case("a name of one digit", with(json!({ "name": "1" })), None, None);
    case("a name with a line end", with(json!({ "name": "server\n" })), Some("must be a DNS label"), Some("spec.name: contains"));

    case("a namespace of 63 characters", with(json!({ "namespace": "n".repeat(63) })), None, None);
    case(
        "a namespace of 64 characters",
        with(json!({ "namespace": "n".repeat(64) })),
        Some("spec.namespace: Too long"),
        Some("spec.namespace: has 64"),
    );
    case(
        "a namespace with an underscore",
        with(json!({ "namespace": "a_b" })),
        Some("must be a DNS label"),
        Some("spec.namespace: contains '_'"),
    );
    case("no namespace", with(json!({ "namespace": null })), Some("spec.namespace: Required value"), Some("spec.namespace: must be set"));

    let domains = |count: usize| (0..count).map(|number| format!("trust-domain-{number}.example")).collect::<Vec<_>>();
    case("300 trust domains", with(json!({ "exportedTrustDomains": domains(300) })), None, None);
    case("1024 trust domains", with(json!({ "exportedTrustDomains": domains(1024) })), None, None);
    case("1025 trust domains", with(json!({ "exportedTrustDomains": domains(1025) })), Some("Too many"), Some("names 1025 trust domains"));
    case("one trust domain with every character that SPIFFE allows", with(json!({ "exportedTrustDomains": ["a-b_c.0"] })), None, None);
    case(
        "no list of trust domains",
        with(json!({ "exportedTrustDomains": null })),
        Some("spec.exportedTrustDomains: Required value"),
        Some("spec.exportedTrustDomains: must name at least one"),
    );
    case(
        "an empty list of trust domains",
        with(json!({ "exportedTrustDomains": [] })),
        Some("should have at least 1 items"),
        Some("must name at least one"),
    );
    case(
        "an empty trust domain",
        with(json!({ "exportedTrustDomains": ["a.test", ""] })),
        Some("spec.exportedTrustDomains[1]"),
        Some("spec.exportedTrustDomains[1]"),
    );
    case(
        "a trust domain twice",
        with(json!({ "exportedTrustDomains": ["a.test", "a.test"] })),
        Some("Duplicate value: \"a.test\""),
        Some("a.test is listed twice"),
    );
    case(
        "a trust domain with capitals",
        with(json!({ "exportedTrustDomains": ["A.test"] })),
        Some("must be the name of a trust domain"),
        Some("contains 'A'"),
    );
    case(
        "a trust domain written as an ID",
        with(json!({ "exportedTrustDomains": ["spiffe://a.test"] })),
        Some("must be the name of a trust domain"),
        Some("spec.exportedTrustDomains[0]"),
    );
    case("a trust domain of 255 characters", with(json!({ "exportedTrustDomains": ["a".repeat(255)] })), None, None);
    case(
        "a trust domain of 256 characters",
        with(json!({ "exportedTrustDomains": ["a".repeat(256)] })),
        Some("spec.exportedTrustDomains[0]: Too long"),
        Some("spec.exportedTrustDomains[0]"),
    );
    case(
        "the cluster's own trust domain",
        with(json!({ "exportedTrustDomains": [TRUST_DOMAIN] })),
        None,
        Some("is the service's own trust domain"),
    );

    case(
        "no labels",
        with(json!({ "workloadLabels": null })),
        Some("spec.workloadLabels: Required value"),
        Some("spec.workloadLabels: must name at least one"),
    );
    case(
        "an empty map of labels",
        with(json!({ "workloadLabels": {} })),
        Some("spec.workloadLabels"),
        Some("spec.workloadLabels: must name at least one"),
    );
    case("a label without a value", with(json!({ "workloadLabels": { "app": "" } })), None, None);
    case(
        "a label's value with a space",
        with(json!({ "workloadLabels": { "app": "a b" } })),
        Some("must be the value of a label"),
        Some("a label's value has at most"),
    );
    case(
        "a label's value of 64 characters",
        with(json!({ "workloadLabels": { "app": "v".repeat(64) } })),
        Some("Too long"),
        Some("a label's value has at most"),
    );
    case("a label's key with a prefix", with(json!({ "workloadLabels": { "app.kubernetes.io/name": "server" } })), None, None);
    case("a label's key with a space", with(json!({ "workloadLabels": { "a b": "c" } })), None, Some("a label's key has at most"));

    for (name, port) in [("port 0", 0), ("port 65536", 65536), ("a negative port", -1)] {
        case(name, with(json!({ "port": port })), Some("spec.port: Invalid value"), Some("spec.port: a port is a number from 1 to 65535"));
    }
    case("port 1", with(json!({ "port": 1 })), None, None);
    case("port 65535", with(json!({ "port": 65535 })), None, None);
    case("no port", with(json!({ "port": null })), Some("spec.port: Required value"), Some("spec.port: must be set"));
    case("a port as text", with(json!({ "port": "8443" })), Some("spec.port: Invalid value"), Some("spec.port: must be a number"));

    case("the other TLS mode", with(json!({ "tlsMode": "IstioMtls" })), None, None);
    case(
        "no TLS mode",
        with(json!({ "tlsMode": null })),
        Some("spec.tlsMode: Required value"),
        Some("spec.tlsMode: must be set, there is no default"),
    );
    case("an unknown TLS mode", with(json!({ "tlsMode": "mtls" })), Some("spec.tlsMode: Unsupported value"), Some("did you mean Mtls?"));

    case(
        "SPIFFE ID paths with and without a slash",
        with(json!({ "spiffeIDPaths": ["/ns/demo/sa/server", "ns/demo/sa/other"] })),
        None,
        None,
    );
    case("no SPIFFE ID path in the list", with(json!({ "spiffeIDPaths": [] })), None, None);
    case(
        "a SPIFFE ID path of one dot",
        with(json!({ "spiffeIDPaths": ["/a/./b"] })),
        Some("must not contain a segment"),
        Some("spec.spiffeIDPaths[0]"),
    );
    case(
        "a SPIFFE ID path that begins with two dots",
        with(json!({ "spiffeIDPaths": ["../a"] })),
        Some("must not contain a segment"),
        Some("spec.spiffeIDPaths[0]"),
    );
    case("a SPIFFE ID path with three dots", with(json!({ "spiffeIDPaths": ["/a/..."] })), None, None);
    case(
        "a SPIFFE ID path with an empty segment",
        with(json!({ "spiffeIDPaths": ["/a//b"] })),
        Some("must be the path of a SPIFFE ID"),
        Some("spec.spiffeIDPaths[0]"),
    );
    case(
        "a SPIFFE ID path that is only a slash",
        with(json!({ "spiffeIDPaths": ["/"] })),
        Some("must be the path of a SPIFFE ID"),
        Some("spec.spiffeIDPaths[0]"),
    );
    case(
        "65 SPIFFE ID paths",
        with(json!({ "spiffeIDPaths": (0..65).map(|n| format!("/a/{n}")).collect::<Vec<_>>() })),
        Some("Too many"),
        Some("spec.spiffeIDPaths: has 65"),
    );

    let ingress = "istio-ingressgateway";
    case("a gateway by hostname", gateway(&json!({ "type": ingress, "port": 5432, "hostname": "gw.example.com" })), None, None);
    case("a gateway by IPv4 address", gateway(&json!({ "type": "istio-eastwestgateway", "port": 4321, "ip": "1.2.3.4" })), None, None);
    case("a gateway by IPv6 address", gateway(&json!({ "type": ingress, "port": 1, "ip": "2001:db8::1" })), None, None);
    case(
        "a gateway with hostname and ip",
        gateway(&json!({ "type": ingress, "port": 443, "ip": "1.2.3.4", "hostname": "a.test" })),
        Some("a gateway has a hostname or an ip: exactly one"),
        Some("a gateway has a hostname or an ip, not both"),
    );
    case(
        "a gateway with neither hostname nor ip",
        gateway(&json!({ "type": ingress, "port": 443 })),
        Some("a gateway has a hostname or an ip: exactly one"),
        Some("a gateway needs a hostname or an ip"),
    );
    case(
        "a gateway of an unknown type",
        gateway(&json!({ "type": "ingress", "port": 443, "ip": "1.2.3.4" })),
        Some("spec.gateways[0].type: Unsupported value"),
        Some("unknown gateway type \"ingress\""),
    );
    case(
        "a gateway without a type",
        gateway(&json!({ "port": 443, "ip": "1.2.3.4" })),
        Some("spec.gateways[0].type: Required value"),
        Some("spec.gateways[0].type: must be set"),
    );
    case(
        "a gateway without a port",
        gateway(&json!({ "type": ingress, "ip": "1.2.3.4" })),
        Some("spec.gateways[0].port: Required value"),
        Some("spec.gateways[0].port: must be set"),
    );
    case(
        "a gateway with port 0",
        gateway(&json!({ "type": ingress, "port": 0, "ip": "1.2.3.4" })),
        Some("spec.gateways[0].port: Invalid value"),
        Some("spec.gateways[0].port: a port is"),
    );
    case(
        "a gateway with port 65536",
        gateway(&json!({ "type": ingress, "port": 65536, "ip": "1.2.3.4" })),
        Some("spec.gateways[0].port: Invalid value"),
        Some("spec.gateways[0].port: a port is"),
    );
    case(
        "a gateway with half an address",
        gateway(&json!({ "type": ingress, "port": 443, "ip": "1.2.3" })),
        Some("must be an IPv4 or IPv6 address"),
        Some("\"1.2.3\" is not an IP address"),
    );
    case(
        "a gateway with a name for an ip",
        gateway(&json!({ "type": ingress, "port": 443, "ip": "gw.example.com" })),
        Some("must be an IPv4 or IPv6 address"),
        Some("is not an IP address"),
    );
    let long = [63, 63, 63, 61].map(|length| "h".repeat(length)).join(".");
    case("a gateway with a hostname of 253 characters", gateway(&json!({ "type": ingress, "port": 443, "hostname": long })), None, None);
    case(
        "a gateway with a hostname of 254 characters",
        gateway(&json!({ "type": ingress, "port": 443, "hostname": format!("{long}h") })),
        Some("spec.gateways[0].hostname: Too long"),
        Some("spec.gateways[0].hostname"),
    );
    case(
        "a gateway with a label of 64 characters",
        gateway(&json!({ "type": ingress, "port": 443, "hostname": format!("{}.test", "h".repeat(64)) })),
        Some("must be a DNS name"),
        Some("spec.gateways[0].hostname"),
    );
    case(
        "a gateway with a wildcard",
        gateway(&json!({ "type": ingress, "port": 443, "hostname": "*.example.com" })),
        Some("must be a DNS name"),
        Some("spec.gateways[0].hostname"),
    );
    case(
        "65 gateways",
        with(json!({ "gateways": vec![json!({ "type": ingress, "port": 443, "ip": "1.2.3.4" }); 65] })),
        Some("Too many"),
        Some("spec.gateways: has 65"),
    );
    cases
}
