//! JWT-SVIDs: a SPIFFE ID in a signed token (SPIFFE JWT-SVID).

use std::time::SystemTime;

use cofide_core::{SpiffeId, TrustDomain};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::authority::IssueError;
use crate::bundle::BundleSource;
use crate::key::{PrivateKey, PublicJwk};

/// Bytes. A token travels in a header; what is longer is no token.
const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// A token, as issued. Whoever holds it can pass for the workload, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSvid {
    pub spiffe_id: SpiffeId,
    pub audience: Vec<String>,
    pub token: String,
    pub issued_at: SystemTime,
    pub expires_at: SystemTime,
}

impl std::fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSvid")
            .field("spiffe_id", &self.spiffe_id.to_string())
            .field("audience", &self.audience)
            .field("token", &"redacted")
            .field("expires_at", &crate::display_time(self.expires_at))
            .finish()
    }
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtClaims {
    pub spiffe_id: SpiffeId,
    pub audience: Vec<String>,
    pub expires_at: SystemTime,
    /// Every claim, the registered ones too.
    pub all: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    #[error("the token has {0} bytes, at most {MAX_TOKEN_LENGTH} are accepted")]
    TooLong(usize),
    #[error("the token is malformed: {0}")]
    Malformed(String),
    #[error("the token is of type {0:?}; a JWT-SVID is of type JWT or JOSE, or says nothing")]
    Type(String),
    #[error("the token names no key (\"kid\")")]
    NoKeyId,
    #[error("the algorithm {0} is not allowed for a JWT-SVID with this key")]
    Algorithm(String),
    #[error("the subject {subject:?} is no SPIFFE ID: {reason}")]
    Subject { subject: String, reason: String },
    #[error("no bundle of trust domain {trust_domain} is held, so {spiffe_id} cannot be verified; federate with {trust_domain} first")]
    UnknownTrustDomain { spiffe_id: SpiffeId, trust_domain: TrustDomain },
    #[error("trust domain {trust_domain} has no JWT authority {key_id:?} that may be used, so {spiffe_id} cannot be verified")]
    UnknownKey { spiffe_id: SpiffeId, trust_domain: TrustDomain, key_id: String },
    #[error("the signature of the token of {0} is wrong")]
    Signature(SpiffeId),
    #[error("the token of {spiffe_id} is for {found:?}, expected {expected:?}")]
    Audience { spiffe_id: SpiffeId, expected: String, found: Vec<String> },
    #[error("the token of {spiffe_id} expired at {}", crate::display_time(*expired_at))]
    Expired { spiffe_id: SpiffeId, expired_at: SystemTime },
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    sub: String,
    aud: &'a [String],
    exp: u64,
    iat: u64,
}

/// Signs with ES256. `key` is ECDSA on P-256.
pub fn sign(
    key: &PrivateKey,
    key_id: &str,
    spiffe_id: &SpiffeId,
    audience: &[String],
    issued_at: SystemTime,
    expires_at: SystemTime,
) -> Result<JwtSvid, IssueError> {
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        return Err(IssueError::NoAudience);
    }
    if spiffe_id.path().is_empty() {
        return Err(IssueError::NoPath(spiffe_id.clone()));
    }
    let header = Header { typ: Some("JWT".into()), kid: Some(key_id.into()), ..Header::new(Algorithm::ES256) };
    let claims = IssuedClaims {
        sub: spiffe_id.to_string(),
        aud: audience,
        exp: crate::seconds_since_epoch(expires_at),
        iat: crate::seconds_since_epoch(issued_at),
    };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(key.secret_der()))
        .map_err(|error| IssueError::Crypto { id: spiffe_id.clone(), reason: error.to_string() })?;
    Ok(JwtSvid { spiffe_id: spiffe_id.clone(), audience: audience.to_vec(), token, issued_at, expires_at })
}

#[derive(Deserialize)]
struct RegisteredClaims {
    sub: String,
    aud: OneOrMany,
    exp: f64,
}

/// RFC 7519, section 4.1.3.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Verifies a token for an audience after SPIFFE JWT-SVID, sections 3 and 4. As with certificates, the subject's own
/// trust domain is the only one whose keys count.
pub fn verify(token: &str, audience: &str, bundles: &dyn BundleSource, now: SystemTime) -> Result<JwtClaims, JwtSvidError> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(JwtSvidError::TooLong(token.len()));
    }
    let malformed = |error: &dyn std::fmt::Display| JwtSvidError::Malformed(error.to_string());
    let header = jsonwebtoken::decode_header(token).map_err(|error| malformed(&error))?;
    if let Some(kind) = header.typ.filter(|kind| kind != "JWT" && kind != "JOSE") {
        return Err(JwtSvidError::Type(kind));
    }
    let key_id = header.kid.filter(|kid| !kid.is_empty()).ok_or(JwtSvidError::NoKeyId)?;

    // Unverified so far: read to know whom to ask for the key.
    let all: serde_json::Map<String, serde_json::Value> =
        jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|error| malformed(&error))?;
    let claims: RegisteredClaims = serde_json::from_value(serde_json::Value::Object(all.clone())).map_err(|error| malformed(&error))?;
    let spiffe_id =
        SpiffeId::new(&claims.sub).map_err(|error| JwtSvidError::Subject { subject: claims.sub.clone(), reason: error.to_string() })?;
    if spiffe_id.path().is_empty() {
        return Err(JwtSvidError::Subject { subject: claims.sub, reason: "it has no path".into() });
    }

    let trust_domain = spiffe_id.trust_domain().clone();
    let Some(bundle) = bundles.bundle(&trust_domain) else {
        return Err(JwtSvidError::UnknownTrustDomain { spiffe_id, trust_domain });
    };
    let now_seconds = crate::seconds_since_epoch(now);
    let is_usable = |expires_at: i64| expires_at == 0 || u64::try_from(expires_at).is_ok_and(|expires_at| now_seconds <= expires_at);
    let mut authorities = bundle.jwt_authorities.iter();
    let authority = authorities.find(|authority| authority.key_id == key_id && !authority.tainted && is_usable(authority.expires_at));
    let Some(authority) = authority else {
        return Err(JwtSvidError::UnknownKey { spiffe_id, trust_domain, key_id });
    };

    let jwk = PublicJwk::from_spki(&authority.public_key).map_err(|error| malformed(&error))?;
    if !allowed_algorithms(&jwk).contains(&header.alg) {
        return Err(JwtSvidError::Algorithm(format!("{:?}", header.alg)));
    }
    // Times and audience are checked below, against the time that was given and with errors of our own.
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = decoding_key(&jwk).map_err(|error| malformed(&error))?;
    jsonwebtoken::decode::<serde::de::IgnoredAny>(token, &key, &validation).map_err(|_| JwtSvidError::Signature(spiffe_id.clone()))?;

    let found = match claims.aud {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    if !found.iter().any(|one| one == audience) {
        return Err(JwtSvidError::Audience { spiffe_id, expected: audience.into(), found });
    }
    // The cast saturates.
    let expires_at = crate::from_seconds_since_epoch(claims.exp as i64);
    if now >= expires_at {
        return Err(JwtSvidError::Expired { spiffe_id, expired_at: expires_at });
    }
    Ok(JwtClaims { spiffe_id, audience: found, expires_at, all })
}

/// SPIFFE JWT-SVID, section 2.1, of which the library has no ES512.
fn allowed_algorithms(key: &PublicJwk) -> &'static [Algorithm] {
    use crate::key::Curve;
    match key {
        PublicJwk::Ec { crv: Curve::P256, .. } => &[Algorithm::ES256],
        PublicJwk::Ec { crv: Curve::P384, .. } => &[Algorithm::ES384],
        PublicJwk::Ec { crv: Curve::P521, .. } => &[],
        PublicJwk::Rsa { .. } => {
            &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]
        }
    }
}

fn decoding_key(key: &PublicJwk) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    match key {
        PublicJwk::Ec { x, y, .. } => DecodingKey::from_ec_components(x, y),
        PublicJwk::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
    }
}

#[cfg(test)]
mod tests;
