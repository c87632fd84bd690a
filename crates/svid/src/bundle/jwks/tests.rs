use std::time::SystemTime;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::authority::{JwtSettings, JwtSigner, bundle};
use crate::testing::{authority, domain};

fn published() -> Bundle {
    let now = SystemTime::now();
    let mut x509 = authority("a.test", now);
    x509.prepare(now).unwrap();
    let jwt = JwtSigner::create(domain("a.test"), JwtSettings::default(), now).unwrap();
    bundle(&x509, Some(&jwt), 300)
}

fn read(document: &serde_json::Value) -> Result<Bundle, JwksError> {
    from_jwks(&domain("a.test"), document.to_string().as_bytes())
}

#[test]
fn a_bundle_survives_the_format() {
    let bundle = published();
    let mut read = from_jwks(&domain("a.test"), to_jwks(&bundle).as_bytes()).unwrap();
    // The format has no expiry for keys.
    read.jwt_authorities[0].expires_at = bundle.jwt_authorities[0].expires_at;
    assert_eq!(read, bundle);
}

#[test]
fn the_published_spiffe_library_reads_what_we_write() {
    let bundle = published();
    let document: serde_json::Value = serde_json::from_str(&to_jwks(&bundle)).unwrap();
    let uses: Vec<_> = document["keys"].as_array().unwrap().iter().map(|key| key["use"].as_str().unwrap()).collect();
    assert_eq!(uses, ["x509-svid", "x509-svid", "jwt-svid"]);
    assert_eq!(document["spiffe_refresh_hint"], 300);

    let key = serde_json::to_vec(&document["keys"][2]).unwrap();
    let theirs = spiffe::bundle::jwt::JwtAuthority::from_jwk_json(&key).unwrap();
    assert_eq!(theirs.key_id(), bundle.jwt_authorities[0].key_id);
    let der: Vec<u8> = bundle.x509_authorities.iter().flat_map(|authority| authority.der.clone()).collect();
    assert_eq!(spiffe::X509Bundle::parse_from_der(domain("a.test"), &der).unwrap().authorities().len(), 2);
}

#[test]
fn keys_of_other_uses_are_passed_over() {
    let document = json!({"keys": [
        {"use": "sig", "kty": "unheard-of"},
        {"kty": "EC"},
        {"use": 5},
        "not even an object",
    ], "spiffe_sequence": 7, "unknown": true});
    let bundle = read(&document).unwrap();
    assert_eq!(bundle, Bundle { sequence_number: 7, ..Bundle::empty(domain("a.test")) });
}

#[test]
fn an_empty_list_of_keys_is_a_statement_and_a_missing_one_is_not() {
    assert_eq!(read(&json!({"keys": []})), Ok(Bundle::empty(domain("a.test"))));
    assert_eq!(read(&json!({})), Err(JwksError::NoKeys));
    assert_eq!(read(&json!({"keys": null})), Err(JwksError::NoKeys));
}

#[test]
fn a_key_that_cannot_be_read_is_named_by_its_place() {
    let good: serde_json::Value = serde_json::from_str(&to_jwks(&published())).unwrap();
    let spoiled = |index: usize, field: &str, value: serde_json::Value| {
        let mut document = good.clone();
        document["keys"][index][field] = value;
        read(&document).unwrap_err().to_string()
    };
    let twice = json!([good["keys"][0]["x5c"][0], good["keys"][0]["x5c"][0]]);
    for (error, expected) in [
        (spoiled(1, "x5c", json!(null)), "keys[1] of the bundle: an x509-svid key has exactly one certificate"),
        (spoiled(0, "x5c", json!([])), "keys[0] of the bundle: an x509-svid key has exactly one certificate"),
        (spoiled(0, "x5c", twice), "exactly one certificate"),
        (spoiled(0, "x5c", json!(["!"])), "is not base64"),
        (spoiled(0, "x5c", json!(["AAAA"])), "\"x5c\" is not one DER-encoded X.509 certificate"),
        (spoiled(2, "kid", json!(null)), "keys[2] of the bundle: a jwt-svid key needs a \"kid\""),
        (spoiled(2, "kid", json!("")), "needs a \"kid\""),
        (spoiled(2, "x", json!("AAAA")), "the curve needs 32"),
        (spoiled(2, "kty", json!("oct")), "keys[2]"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn documents_that_are_too_large_are_refused_unread() {
    let error = from_jwks(&domain("a.test"), &vec![b' '; MAX_JWKS_SIZE + 1]).unwrap_err();
    assert_eq!(error, JwksError::TooLarge(MAX_JWKS_SIZE + 1));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(document in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = from_jwks(&domain("a.test"), &document);
    }

    #[test]
    fn arbitrary_keys_never_panic(purpose in "(x509|jwt)-svid", kty in "(EC|RSA)", crv in "P-(256|384|521)", a in ".{0,60}", b in ".{0,60}") {
        let key = json!({"use": purpose, "kty": kty, "crv": crv, "kid": a, "x": a, "y": b, "n": a, "e": b, "x5c": [b]});
        let _ = read(&json!({"keys": [key]}));
    }
}
