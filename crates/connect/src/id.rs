//! New ids and secrets.
//!
//! An id is a prefix that says what it is of and 21 random letters and digits: 125 bits, so two never meet. The id of
//! an audit event begins with its time instead, so that events sort as they happened.

use cofide_core::{
    AgentId, AttestationPolicyBindingId, AttestationPolicyId, AuditEventId, ClusterId, FederatedServiceId, FederationId, OrganizationId,
    TrustZoneId,
};
use rand::Rng;
use rand::distr::Alphanumeric;

fn prefixed<T: std::str::FromStr<Err = cofide_core::IdError>>(prefix: &str) -> T {
    let random: String = rand::rng().sample_iter(Alphanumeric).take(21).map(char::from).collect();
    format!("{prefix}-{random}").parse().expect("letters, digits and a hyphen make an id")
}

pub(crate) fn organization() -> OrganizationId {
    prefixed("org")
}

pub(crate) fn trust_zone() -> TrustZoneId {
    prefixed("tz")
}

pub(crate) fn cluster() -> ClusterId {
    prefixed("cl")
}

pub(crate) fn agent() -> AgentId {
    prefixed("ag")
}

/// Of one run of this program: one replica.
pub(crate) fn replica() -> String {
    let random: String = rand::rng().sample_iter(Alphanumeric).take(21).map(char::from).collect();
    format!("re-{random}")
}

pub(crate) fn federation() -> FederationId {
    prefixed("fd")
}

pub(crate) fn attestation_policy() -> AttestationPolicyId {
    prefixed("ap")
}

pub(crate) fn attestation_policy_binding() -> AttestationPolicyBindingId {
    prefixed("apb")
}

pub(crate) fn federated_service() -> FederatedServiceId {
    prefixed("fs")
}

pub(crate) fn audit_event() -> AuditEventId {
    format!("ae-{}", uuid::Uuid::now_v7().simple()).parse().expect("letters, digits and a hyphen make an id")
}

/// A secret of 256 random bits; the prefix lets a scanner recognise it where it should not be.
pub(crate) fn secret(prefix: &str) -> String {
    use base64::Engine;
    let bytes: [u8; 32] = rand::random();
    format!("{prefix}-{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
