//! Signed bundles, for partners whom no connection reaches: carried by hand, by mail, through a repository.
//!
//! A package is a JSON Web Signature in compact form (RFC 7515) with ES256:
//!
//! ```text
//!  header   {"alg": "ES256", "typ": "spiffe-bundle-package", "kid": <SHA-256 of the signer's key>}
//!  claims   {"iss": <who signed, for people>, "sub": "spiffe://<trust domain>", "seq": 7, "iat": .., "exp": ..,
//!            "bundle": <SPIFFE bundle document>}
//! ```
//!
//! The receiver knows the signer's key from elsewhere, as from a phone call, and takes no other. `seq` grows with each
//! package of a signer for a trust domain, so that an older one cannot take the place of a newer one, whatever the bundle's
//! own number says; `exp` bounds for how long somebody can hold a package back.

use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, TrustDomain, parse_trust_domain};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{JwksError, MAX_JWKS_SIZE, from_jwks, to_jwks};
use crate::key::{Curve, PrivateKey, PublicJwk, pem};

const TYPE: &str = "spiffe-bundle-package";
/// Bytes: a bundle in base64, and a little.
pub const MAX_PACKAGE_SIZE: usize = MAX_JWKS_SIZE * 2;
/// Two clocks may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What a package says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundlePackage {
    /// Who signed it, for people to read: the key decides.
    pub issuer: String,
    pub bundle: Bundle,
    pub sequence: u64,
    pub issued_at: SystemTime,
    pub expires_at: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    #[error("the package has {0} bytes, at most {MAX_PACKAGE_SIZE} are accepted")]
    TooLong(usize),
    #[error("this is no bundle package: {0}")]
    Malformed(String),
    #[error("the package is signed by key {found}, expected {expected}")]
    OtherSigner { expected: String, found: String },
    #[error("the signature of the package is wrong: it was changed on the way, or signed by another key")]
    Signature,
    #[error("the package expired at {}; ask for a new one", crate::display_time(*expired_at))]
    Expired { expired_at: SystemTime },
    #[error("the package is of {}, which is in the future; are the clocks in step?", crate::display_time(*issued_at))]
    NotYetValid { issued_at: SystemTime },
    #[error("the package is for {0:?}, which is no trust domain: {1}")]
    Subject(String, String),
    #[error("in the package: {0}")]
    Bundle(#[from] JwksError),
    #[error("the package cannot be signed: {0}")]
    Sign(String),
    #[error("the signer's key is not a public key in PEM on the curve P-256: {0}")]
    Key(String),
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    seq: u64,
    iat: u64,
    exp: u64,
    bundle: serde_json::Value,
}

/// Signs packages; the private key is wiped when dropped and never printed.
#[derive(Debug)]
pub struct PackageSigner {
    key: PrivateKey,
    public: SignerKey,
}

/// Recognises a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerKey {
    /// DER of the SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

impl PackageSigner {
    pub fn create() -> Result<Self, PackageError> {
        let pair = KeyPair::generate().map_err(|error| PackageError::Sign(error.to_string()))?;
        Ok(Self { public: SignerKey { spki: pair.subject_public_key_info() }, key: PrivateKey::from_pkcs8_der(pair.serialize_der()) })
    }

    pub fn from_pem(text: &str) -> Result<Self, PackageError> {
        let key = PrivateKey::from_pem(text).map_err(|error| PackageError::Sign(error.to_string()))?;
        let pair = KeyPair::try_from(key.secret_der()).map_err(|error| PackageError::Sign(error.to_string()))?;
        Ok(Self { public: SignerKey { spki: pair.subject_public_key_info() }, key })
    }

    pub fn to_pem(&self) -> zeroize::Zeroizing<String> {
        self.key.to_pem()
    }

    pub fn public_key(&self) -> &SignerKey {
        &self.public
    }

    pub fn sign(&self, package: &BundlePackage) -> Result<String, PackageError> {
        let sign = |error: &dyn std::fmt::Display| PackageError::Sign(error.to_string());
        let header = Header { typ: Some(TYPE.into()), kid: Some(self.public.fingerprint()), ..Header::new(Algorithm::ES256) };
        let claims = Claims {
            iss: package.issuer.clone(),
            sub: format!("spiffe://{}", package.bundle.trust_domain),
            seq: package.sequence,
            iat: crate::seconds_since_epoch(package.issued_at),
            exp: crate::seconds_since_epoch(package.expires_at),
            bundle: serde_json::from_str(&to_jwks(&package.bundle)).map_err(|error| sign(&error))?,
        };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(self.key.secret_der())).map_err(|error| sign(&error))
    }
}

impl SignerKey {
    pub fn from_pem(text: &str) -> Result<Self, PackageError> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|error| PackageError::Key(error.to_string()))?;
        Self::from_spki(spki.to_vec())
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn from_spki(spki: Vec<u8>) -> Result<Self, PackageError> {
        match PublicJwk::from_spki(&spki).map_err(|error| PackageError::Key(error.to_string()))? {
            PublicJwk::Ec { crv: Curve::P256, .. } => Ok(Self { spki }),
            PublicJwk::Ec { .. } | PublicJwk::Rsa { .. } => Err(PackageError::Key("it is of another type".into())),
        }
    }

    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// SHA-256 of the key, in hexadecimal: what two people compare.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.spki))
    }

    /// Opens a package of this signer. Whether its sequence number is higher than the last one is for the caller, who
    /// knows that.
    ///
    /// # Errors
    ///
    /// It is signed by another key or by none, has expired, or holds no bundle of the trust domain that it names.
    pub fn open(&self, package: &str, now: SystemTime) -> Result<BundlePackage, PackageError> {
        let package = package.trim();
        if package.len() > MAX_PACKAGE_SIZE {
            return Err(PackageError::TooLong(package.len()));
        }
        let malformed = |error: &dyn std::fmt::Display| PackageError::Malformed(error.to_string());
        let header = jsonwebtoken::decode_header(package).map_err(|error| malformed(&error))?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(PackageError::Malformed(format!("its type is {:?}, expected {TYPE:?}", header.typ.unwrap_or_default())));
        }
        let (expected, found) = (self.fingerprint(), header.kid.unwrap_or_default());
        if found != expected {
            return Err(PackageError::OtherSigner { expected, found });
        }
        let PublicJwk::Ec { x, y, .. } = PublicJwk::from_spki(&self.spki).map_err(|error| PackageError::Key(error.to_string()))? else {
            return Err(PackageError::Key("it is of another type".into()));
        };
        let key = DecodingKey::from_ec_components(&x, &y).map_err(|error| PackageError::Key(error.to_string()))?;
        // The times are looked at below, with errors of our own.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(package, &key, &validation);
        let claims = claims.map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature | jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => {
                PackageError::Signature
            }
            _ => malformed(&error),
        })?;
        read(claims.claims, now)
    }
}

/// The trust domain that a package names, unverified: to find out whose key it has to be signed with.
pub fn claimed_trust_domain(package: &str) -> Result<TrustDomain, PackageError> {
    let package = package.trim();
    if package.len() > MAX_PACKAGE_SIZE {
        return Err(PackageError::TooLong(package.len()));
    }
    let claims: Claims =
        jsonwebtoken::dangerous::insecure_decode_claims(package).map_err(|error| PackageError::Malformed(error.to_string()))?;
    trust_domain(&claims.sub)
}

fn trust_domain(subject: &str) -> Result<TrustDomain, PackageError> {
    let refused = |reason: String| PackageError::Subject(subject.to_owned(), reason);
    let name = subject.strip_prefix("spiffe://").ok_or_else(|| refused("it does not begin with spiffe://".into()))?;
    parse_trust_domain(name).map_err(|error| refused(error.to_string()))
}

fn read(claims: Claims, now: SystemTime) -> Result<BundlePackage, PackageError> {
    let time = |seconds: u64| crate::from_seconds_since_epoch(i64::try_from(seconds).unwrap_or(i64::MAX));
    let (issued_at, expires_at) = (time(claims.iat), time(claims.exp));
    if now >= expires_at {
        return Err(PackageError::Expired { expired_at: expires_at });
    }
    if issued_at > now + CLOCK_SKEW {
        return Err(PackageError::NotYetValid { issued_at });
    }
    let trust_domain = trust_domain(&claims.sub)?;
    let bundle = from_jwks(&trust_domain, claims.bundle.to_string().as_bytes())?;
    Ok(BundlePackage { issuer: claims.iss, bundle, sequence: claims.seq, issued_at, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{self, X509CertificateAuthority, X509Settings};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn package() -> BundlePackage {
        let domain = TrustDomain::new("a.test").unwrap();
        let authority = X509CertificateAuthority::create(domain, X509Settings::default(), now()).unwrap();
        BundlePackage {
            issuer: "spiffe://management.local/x".into(),
            bundle: Bundle { sequence_number: 3, ..authority::bundle(&authority, None, 0) },
            sequence: 7,
            issued_at: now(),
            expires_at: now() + Duration::from_secs(60),
        }
    }

    #[test]
    fn what_is_signed_is_what_is_opened() {
        let signer = PackageSigner::create().unwrap();
        let signed = signer.sign(&package()).unwrap();
        let restored = PackageSigner::from_pem(&signer.to_pem()).unwrap();
        assert_eq!(restored.public_key(), signer.public_key());
        let known = SignerKey::from_pem(&restored.public_key().to_pem()).unwrap();
        assert_eq!(known.open(&format!("{signed}\n"), now()).unwrap(), package_of(&signed, &known));
        assert_eq!(known.open(&signed, now()).unwrap().sequence, 7);
        assert_eq!(known.fingerprint().len(), 64);
    }

    fn package_of(signed: &str, key: &SignerKey) -> BundlePackage {
        let opened = key.open(signed, now()).unwrap();
        assert_eq!((opened.bundle.sequence_number, opened.issuer.as_str()), (3, "spiffe://management.local/x"));
        opened
    }

    #[test]
    fn a_package_is_refused_when_it_expired_is_signed_by_another_or_was_changed() {
        let (signer, other) = (PackageSigner::create().unwrap(), PackageSigner::create().unwrap());
        let key = signer.public_key();
        let signed = signer.sign(&package()).unwrap();
        let at = |seconds: u64| key.open(&signed, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds));
        assert!(at(59).is_ok());
        assert!(matches!(at(60), Err(PackageError::Expired { .. })));
        assert!(matches!(key.open(&signed, now() - Duration::from_secs(301)), Err(PackageError::NotYetValid { .. })));
        assert!(matches!(key.open(&other.sign(&package()).unwrap(), now()), Err(PackageError::OtherSigner { .. })));

        // Another key under the name of the one that is known.
        let [header, claims, signature]: [&str; 3] = signed.split('.').collect::<Vec<_>>().try_into().unwrap();
        let foreign = other.sign(&package()).unwrap();
        let foreign = foreign.rsplit_once('.').unwrap().1;
        assert_eq!(key.open(&format!("{header}.{claims}.{foreign}"), now()), Err(PackageError::Signature));
        let mut changed = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let digit = changed.iter().position(|byte| *byte == b'7').unwrap();
        changed[digit] = b'9';
        assert_eq!(key.open(&format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(changed)), now()), Err(PackageError::Signature));
        for nothing in ["", "a.b.c", &format!("{header}.{claims}."), &signed[..signed.len() - 4]] {
            assert!(key.open(nothing, now()).is_err(), "{nothing}");
        }
        let long = "x".repeat(MAX_PACKAGE_SIZE + 1);
        assert_eq!(key.open(&long, now()), Err(PackageError::TooLong(long.len())));
    }

    #[test]
    fn no_other_algorithm_and_no_other_kind_of_token_is_taken() {
        let signer = PackageSigner::create().unwrap();
        let signed = signer.sign(&package()).unwrap();
        let (_, rest) = signed.split_once('.').unwrap();
        let kid = signer.public_key().fingerprint();
        for header in [
            format!(r#"{{"alg":"none","typ":"{TYPE}","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"HS256","typ":"{TYPE}","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#),
        ] {
            let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert!(signer.public_key().open(&token, now()).is_err());
        }
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().subject_public_key_info();
        assert!(matches!(SignerKey::from_spki(p384), Err(PackageError::Key(_))));
    }
}
