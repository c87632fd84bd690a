//! Private keys that do not leak, and public keys in the two shapes that SPIFFE uses: SubjectPublicKeyInfo and JWK.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

/// A private key as PKCS#8 DER, wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the private key is not in PKCS#8 form ({0}); convert it with `openssl pkcs8 -topk8 -nocrypt`")]
    NotPkcs8(String),
    #[error("the public key is not a SubjectPublicKeyInfo: {0}")]
    NotSubjectPublicKeyInfo(String),
    #[error("public keys of type {0} are not supported; use RSA or ECDSA on P-256, P-384 or P-521")]
    Unsupported(String),
    #[error("the key parameter {name:?} is invalid: {reason}")]
    Parameter { name: &'static str, reason: String },
}

impl PrivateKey {
    /// Takes PKCS#8 DER. That it is well formed is found out by whoever signs with it.
    pub fn from_pkcs8_der(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| KeyError::NotPkcs8(error.to_string()))?;
        Ok(Self::from_pkcs8_der(key.secret_pkcs8_der().to_vec()))
    }

    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.0))
    }

    /// The PKCS#8 DER.
    pub fn secret_der(&self) -> &[u8] {
        &self.0
    }

    /// A copy for rustls.
    pub fn clone_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// RFC 7468 with lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    text.reserve(body.len() + body.len() / 64 + label.len() + 32);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The parameters of a public key as a JSON Web Key has them (RFC 7518, section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub(crate) enum PublicJwk {
    #[serde(rename = "EC")]
    Ec { crv: Curve, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Bytes of one coordinate.
    fn coordinate_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// RFC 5480, section 2.1.1.1.
    fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    fn algorithm(self) -> rustls_pki_types::AlgorithmIdentifier {
        match self {
            Self::P256 => alg_id::ECDSA_P256,
            Self::P384 => alg_id::ECDSA_P384,
            Self::P521 => alg_id::ECDSA_P521,
        }
    }
}

impl PublicJwk {
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|error| KeyError::NotSubjectPublicKeyInfo(error.to_string()))?;
        if !rest.is_empty() {
            return Err(KeyError::NotSubjectPublicKeyInfo(format!("{} bytes follow it", rest.len())));
        }
        match spki.parsed().map_err(|error| KeyError::NotSubjectPublicKeyInfo(error.to_string()))? {
            PublicKey::EC(point) => {
                let parameters = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
                let named = parameters.map(|oid| oid.to_id_string()).unwrap_or_default();
                let curve = Curve::ALL.into_iter().find(|curve| curve.oid() == named);
                let curve = curve.ok_or_else(|| KeyError::Unsupported(format!("ECDSA on curve {named:?}")))?;
                let length = curve.coordinate_length();
                match point.data() {
                    // Uncompressed points only: RFC 5480, section 2.2, makes every other form optional.
                    [4, coordinates @ ..] if coordinates.len() == 2 * length => {
                        let (x, y) = coordinates.split_at(length);
                        Ok(Self::Ec { crv: curve, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
                    }
                    _ => Err(KeyError::NotSubjectPublicKeyInfo("the elliptic curve point is not in uncompressed form".into())),
                }
            }
            PublicKey::RSA(key) => {
                Ok(Self::Rsa { n: URL_SAFE_NO_PAD.encode(unpadded(key.modulus)), e: URL_SAFE_NO_PAD.encode(unpadded(key.exponent)) })
            }
            _ => Err(KeyError::Unsupported(spki.algorithm.algorithm.to_id_string())),
        }
    }

    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, KeyError> {
        let decode = |name: &'static str, text: &str| {
            let parameter = |reason: String| KeyError::Parameter { name, reason };
            let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| parameter(error.to_string()))?;
            if bytes.is_empty() { Err(parameter("it is empty".into())) } else { Ok(bytes) }
        };
        match self {
            Self::Ec { crv, x, y } => {
                let mut point = vec![4];
                for (name, text) in [("x", x), ("y", y)] {
                    let coordinate = decode(name, text)?;
                    if coordinate.len() != crv.coordinate_length() {
                        let reason = format!("it has {} bytes, the curve needs {}", coordinate.len(), crv.coordinate_length());
                        return Err(KeyError::Parameter { name, reason });
                    }
                    point.extend(coordinate);
                }
                Ok(rustls::sign::public_key_to_spki(&crv.algorithm(), point).to_vec())
            }
            Self::Rsa { n, e } => {
                let integers = [der_unsigned(&decode("n", n)?), der_unsigned(&decode("e", e)?)].concat();
                Ok(rustls::sign::public_key_to_spki(&alg_id::RSA_ENCRYPTION, der_value(0x30, &integers)).to_vec())
            }
        }
    }
}

fn unpadded(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros.min(integer.len().saturating_sub(1))..]
}

fn der_unsigned(integer: &[u8]) -> Vec<u8> {
    let mut content = unpadded(integer).to_vec();
    if content.first().is_some_and(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    der_value(0x02, &content)
}

/// One tag, length and value (X.690, section 8.1.3).
fn der_value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = unpadded(&length);
    let mut value = vec![tag];
    if content.len() >= 0x80 {
        // At most eight length bytes, so the cast keeps its value.
        value.push(0x80 | significant.len() as u8);
    }
    value.extend_from_slice(significant);
    value.extend_from_slice(content);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_private_key_never_shows_in_debug_output() {
        let key = PrivateKey::from_pkcs8_der(vec![0xab; 40]);
        assert_eq!(format!("{key:?} {key:#?}"), "PrivateKey(redacted) PrivateKey(redacted)");
    }

    #[test]
    fn a_private_key_survives_pem() {
        let key = rcgen::KeyPair::generate().unwrap();
        let ours = PrivateKey::from_pkcs8_der(key.serialize_der());
        assert_eq!(PrivateKey::from_pem(&ours.to_pem()).unwrap().secret_der(), ours.secret_der());
        assert_eq!(ours.to_pem().as_str(), key.serialize_pem());
    }

    #[test]
    fn a_key_that_is_not_pkcs8_is_refused_with_a_remedy() {
        let error = PrivateKey::from_pem("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n").unwrap_err();
        assert!(error.to_string().contains("openssl pkcs8"), "{error}");
    }

    #[test]
    fn public_keys_survive_the_way_through_a_jwk() {
        use rcgen::PublicKeyData;
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ECDSA_P521_SHA512, &rcgen::PKCS_RSA_SHA256]
        {
            let spki = rcgen::KeyPair::generate_for(algorithm).unwrap().subject_public_key_info();
            let jwk = PublicJwk::from_spki(&spki).unwrap();
            assert_eq!(jwk.to_spki().unwrap(), spki, "{jwk:?}");
        }
    }

    #[test]
    fn other_kinds_of_public_keys_are_named_in_the_refusal() {
        use rcgen::PublicKeyData;
        let spki = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().subject_public_key_info();
        assert_eq!(PublicJwk::from_spki(&spki), Err(KeyError::Unsupported("1.3.101.112".into())));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(PublicJwk::from_spki(&bytes).is_err());
        }

        #[test]
        fn arbitrary_parameters_never_panic(n in ".{0,40}", e in ".{0,10}") {
            if let Ok(spki) = (PublicJwk::Rsa { n, e }).to_spki() {
                let _ = PublicJwk::from_spki(&spki);
            }
        }
    }
}
