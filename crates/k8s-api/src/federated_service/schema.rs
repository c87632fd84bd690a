//! What the API server checks before an object is stored: the rules of the schema, and the words in which it refuses.
//!
//! They are a part of what [`super::check`] demands: enough that nearly every mistake is refused by `kubectl apply`,
//! while the agent still checks all of it, because the CRD of a cluster can be older than its agent. Rules in CEL have
//! a message of their own; plain limits are kept for where the API server's own words say enough.
//!
//! Every list and text has a bound, without which the API server cannot bound the cost of a rule and refuses the CRD.

use cofide_core::{GatewayKind, MAX_SPIFFE_ID_PATH, TlsMode};
use serde_json::{Value, json};

/// RFC 1123.
pub(super) const MAX_LABEL: u32 = 63;
pub(super) const MAX_HOSTNAME: u32 = 253;
/// An IPv6 address, written as it may be at its longest.
pub(super) const MAX_IP: u32 = 45;
/// SPIFFE ID, section 2.1: a trust domain's name has at most 255 bytes.
const MAX_TRUST_DOMAIN: u32 = 255;

/// One rule in CEL.
fn rule(rule: &str, message: &str) -> Value {
    json!([{ "rule": rule, "message": message }])
}

/// A rule that a text as a whole has a form. In CEL, `matches` finds a part unless it is anchored.
///
/// The API server does not repeat a text that breaks a rule, so the message does; `requirement` is a literal of CEL, and
/// has no `'` in it. The plain message is for texts that no message can hold, as those with line ends.
fn form(pattern: &str, requirement: &str) -> Value {
    json!([{
        "rule": format!("self.matches('^{pattern}$')"),
        "message": requirement,
        "messageExpression": format!("'\"' + self + '\" {requirement}'"),
    }])
}

const DNS_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

pub(super) fn dns_label() -> Value {
    form(DNS_LABEL, "must be a DNS label: lower-case letters, digits and -, beginning and ending with a letter or digit")
}

pub(super) fn hostname() -> Value {
    let label = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
    form(&format!("{label}([.]{label})*"), "must be a DNS name: labels of at most 63 lower-case letters, digits and -, separated by dots")
}

pub(super) fn ip() -> Value {
    rule("isIP(self)", "must be an IPv4 or IPv6 address")
}

pub(super) fn one_address() -> Value {
    rule("has(self.hostname) != has(self.ip)", "a gateway has a hostname or an ip: exactly one of them")
}

/// SPIFFE ID, section 2.1.
pub(super) fn trust_domain() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TRUST_DOMAIN,
        "x-kubernetes-validations":
            form("[a-z0-9._-]+", "must be the name of a trust domain, as in other.example: lower-case letters, digits, dots, - and _"),
    })
}

/// SPIFFE ID, section 2.2.
pub(super) fn spiffe_id_path() -> Value {
    let segments = form(
        "/?[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*",
        "must be the path of a SPIFFE ID: segments of letters, digits, dots, - and _, separated by single slashes",
    );
    let dots = rule("!self.matches('(^|/)[.][.]?(/|$)')", "must not contain a segment . or ..");
    let rules: Vec<Value> = [segments, dots].iter().filter_map(Value::as_array).flatten().cloned().collect();
    json!({ "type": "string", "minLength": 1, "maxLength": MAX_SPIFFE_ID_PATH, "x-kubernetes-validations": rules })
}

/// The keys of a map have no bound that a schema could state, so a rule about them would exceed every cost limit; the
/// agent checks them.
pub(super) fn label_value() -> Value {
    let message = "must be the value of a label: letters, digits, dots, - and _, beginning and ending with a letter or digit";
    let rules = form("([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?", message);
    json!({ "type": "string", "maxLength": MAX_LABEL, "x-kubernetes-validations": rules })
}

pub(super) fn tls_modes() -> [&'static str; 2] {
    [TlsMode::Mtls, TlsMode::IstioMtls].map(TlsMode::as_str)
}

pub(super) fn gateway_types() -> [&'static str; 2] {
    [GatewayKind::Ingress, GatewayKind::EastWest].map(GatewayKind::as_str)
}
