//! The SPIFFE bundle format: a JWK set (SPIFFE Trust Domain and Bundle, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cofide_core::{Bundle, JwtAuthority, TrustDomain, X509Authority};
use serde::{Deserialize, Serialize};

use crate::key::PublicJwk;

/// Bytes. Larger documents are refused unread; a real bundle has some kilobytes.
pub const MAX_JWKS_SIZE: usize = 1 << 20;

const USE_X509: &str = "x509-svid";
const USE_JWT: &str = "jwt-svid";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("the bundle has {0} bytes, at most {MAX_JWKS_SIZE} are accepted")]
    TooLarge(usize),
    #[error("the bundle is no JWK set: {0}")]
    Json(String),
    #[error("the bundle has no \"keys\"; one without authorities says \"keys\": []")]
    NoKeys,
    #[error("keys[{index}] of the bundle: {reason}")]
    Key { index: usize, reason: String },
}

#[derive(Serialize, Deserialize)]
struct KeySet {
    /// Read one by one: what one key is like is no reason to misread the others.
    keys: Option<Vec<serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(rename = "use")]
    purpose: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
    #[serde(flatten)]
    parameters: PublicJwk,
}

/// Reads a bundle for the trust domain that it was asked of: the document itself does not name one.
///
/// Keys of an unknown or missing use are passed over, as section 4.2.2 demands; a key of a known use that cannot be
/// read refuses the whole bundle, so that the one held before stays in force.
pub fn from_jwks(trust_domain: &TrustDomain, document: &[u8]) -> Result<Bundle, JwksError> {
    if document.len() > MAX_JWKS_SIZE {
        return Err(JwksError::TooLarge(document.len()));
    }
    let set: KeySet = serde_json::from_slice(document).map_err(|error| JwksError::Json(error.to_string()))?;
    let mut bundle = Bundle {
        refresh_hint: set.spiffe_refresh_hint.unwrap_or(0),
        sequence_number: set.spiffe_sequence.unwrap_or(0),
        ..Bundle::empty(trust_domain.clone())
    };
    for (index, value) in set.keys.ok_or(JwksError::NoKeys)?.into_iter().enumerate() {
        let refuse = |reason: String| JwksError::Key { index, reason };
        let read = |value| serde_json::from_value::<Key>(value).map_err(|error| refuse(error.to_string()));
        match value.get("use").and_then(serde_json::Value::as_str) {
            Some(USE_X509) => bundle.x509_authorities.push(x509_authority(&read(value)?).map_err(refuse)?),
            Some(USE_JWT) => bundle.jwt_authorities.push(jwt_authority(read(value)?).map_err(refuse)?),
            _ => {}
        }
    }
    Ok(bundle)
}

fn x509_authority(key: &Key) -> Result<X509Authority, String> {
    let [certificate] = key.x5c.as_deref().unwrap_or_default() else {
        return Err("an x509-svid key has exactly one certificate in \"x5c\"".into());
    };
    let der = STANDARD.decode(certificate).map_err(|error| format!("\"x5c\" is not base64: {error}"))?;
    X509Authority::from_der(der, false).map_err(|error| format!("\"x5c\" {error}"))
}

fn jwt_authority(key: Key) -> Result<JwtAuthority, String> {
    let key_id = key.kid.filter(|kid| !kid.is_empty()).ok_or("a jwt-svid key needs a \"kid\"")?;
    let public_key = key.parameters.to_spki().map_err(|error| error.to_string())?;
    Ok(JwtAuthority { key_id, public_key, expires_at: 0, tainted: false })
}

/// Writes the bundle. The format has no word for a tainted authority, so these are written like the others; an
/// authority whose key type has no place in it is left out.
pub fn to_jwks(bundle: &Bundle) -> String {
    let mut keys = Vec::new();
    let mut push = |what: &str, public_key: Result<PublicJwk, String>, key: &dyn Fn(PublicJwk) -> Key| match public_key
        .and_then(|parameters| serde_json::to_value(key(parameters)).map_err(|error| error.to_string()))
    {
        Ok(key) => keys.push(key),
        Err(error) => {
            tracing::warn!(trust_domain = bundle.trust_domain.as_str(), error, "leaving {what} out of the bundle document");
        }
    };
    for authority in &bundle.x509_authorities {
        let public_key = x509_parser::parse_x509_certificate(&authority.der)
            .map_err(|error| error.to_string())
            .and_then(|(_, certificate)| PublicJwk::from_spki(certificate.public_key().raw).map_err(|error| error.to_string()));
        push("an X.509 authority", public_key, &|parameters| Key {
            purpose: USE_X509.into(),
            kid: None,
            x5c: Some(vec![STANDARD.encode(&authority.der)]),
            parameters,
        });
    }
    for authority in &bundle.jwt_authorities {
        let public_key = PublicJwk::from_spki(&authority.public_key).map_err(|error| error.to_string());
        push("a JWT authority", public_key, &|parameters| Key {
            purpose: USE_JWT.into(),
            kid: Some(authority.key_id.clone()),
            x5c: None,
            parameters,
        });
    }
    let nonzero = |number: u64| (number != 0).then_some(number);
    let set =
        KeySet { keys: Some(keys), spiffe_sequence: nonzero(bundle.sequence_number), spiffe_refresh_hint: nonzero(bundle.refresh_hint) };
    serde_json::to_string_pretty(&set).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests;
