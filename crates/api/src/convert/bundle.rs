//! `spire.api.types.Bundle`

use cofide_core::{Bundle, JwtAuthority, TrustDomain, X509Authority};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::{At, FieldError, also_owned, each, trust_domain};
use crate::spire::types as proto;

impl TryFrom<proto::Bundle> for Bundle {
    type Error = FieldError;
    fn try_from(message: proto::Bundle) -> Result<Self, FieldError> {
        bundle(&message).at("bundle")
    }
}

/// The bundle of the given trust domain; one of another is an error at `trust_domain`.
pub(super) fn bundle_of(expected: &TrustDomain, message: &proto::Bundle) -> Result<Bundle, FieldError> {
    let bundle = bundle(message)?;
    if bundle.trust_domain != *expected {
        return Err(FieldError::new("trust_domain", format!("the bundle is for {}, expected {expected}", bundle.trust_domain)));
    }
    Ok(bundle)
}

pub(super) fn bundle(message: &proto::Bundle) -> Result<Bundle, FieldError> {
    Ok(Bundle {
        trust_domain: trust_domain("trust_domain", &message.trust_domain)?,
        x509_authorities: each("x509_authorities", &message.x509_authorities, x509_authority)?,
        jwt_authorities: each("jwt_authorities", &message.jwt_authorities, jwt_authority)?,
        refresh_hint: u64::try_from(message.refresh_hint).map_err(|_| FieldError::new("refresh_hint", "must not be negative"))?,
        sequence_number: message.sequence_number,
    })
}

// Authorities go on to other trust zones, so whoever delivers something else hears of it here, not their partners.
fn x509_authority(message: &proto::X509Certificate) -> Result<X509Authority, FieldError> {
    X509Authority::from_der(message.asn1.as_slice(), message.tainted).map_err(|error| FieldError::new("asn1", error))
}

fn jwt_authority(message: &proto::JwtKey) -> Result<JwtAuthority, FieldError> {
    if message.key_id.is_empty() {
        return Err(FieldError::missing("key_id"));
    }
    match SubjectPublicKeyInfo::from_der(&message.public_key) {
        Ok(([], _)) => Ok(JwtAuthority {
            key_id: message.key_id.clone(),
            public_key: message.public_key.clone(),
            expires_at: message.expires_at,
            tainted: message.tainted,
        }),
        _ => Err(FieldError::new("public_key", "is not a DER-encoded PKIX public key")),
    }
}

impl From<&Bundle> for proto::Bundle {
    fn from(bundle: &Bundle) -> Self {
        Self {
            trust_domain: bundle.trust_domain.to_string(),
            x509_authorities: bundle.x509_authorities.iter().map(Into::into).collect(),
            jwt_authorities: bundle.jwt_authorities.iter().map(Into::into).collect(),
            refresh_hint: i64::try_from(bundle.refresh_hint).unwrap_or(i64::MAX),
            sequence_number: bundle.sequence_number,
        }
    }
}

impl From<&X509Authority> for proto::X509Certificate {
    fn from(authority: &X509Authority) -> Self {
        Self { asn1: authority.der.clone(), tainted: authority.tainted }
    }
}

impl From<&JwtAuthority> for proto::JwtKey {
    fn from(authority: &JwtAuthority) -> Self {
        Self {
            public_key: authority.public_key.clone(),
            key_id: authority.key_id.clone(),
            expires_at: authority.expires_at,
            tainted: authority.tainted,
        }
    }
}

also_owned!(Bundle => proto::Bundle, X509Authority => proto::X509Certificate, JwtAuthority => proto::JwtKey);
