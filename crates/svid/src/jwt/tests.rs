use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cofide_core::Bundle;
use proptest::prelude::*;
use rcgen::PublicKeyData;
use serde_json::json;

use super::*;
use crate::authority::{JwtSettings, JwtSigner};
use crate::bundle::BundleSet;
use crate::testing::{domain, id};

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn signer(name: &str) -> JwtSigner {
    JwtSigner::create(domain(name), JwtSettings::default(), now()).unwrap()
}

fn bundles<'a>(signers: impl IntoIterator<Item = &'a JwtSigner>) -> BundleSet {
    let bundle = |signer: &JwtSigner| Bundle { jwt_authorities: signer.authorities(), ..Bundle::empty(signer.trust_domain().clone()) };
    signers.into_iter().map(bundle).collect()
}

fn token(signer: &JwtSigner) -> JwtSvid {
    let client = id(&format!("{}/client", signer.trust_domain().id_string()));
    signer.sign(&client, &["server".into(), "other".into()], MINUTE, now()).unwrap()
}

#[test]
fn a_token_verifies_for_each_of_its_audiences_until_it_expires() {
    let a = signer("a.test");
    let svid = token(&a);
    for audience in ["server", "other"] {
        let claims = verify(&svid.token, audience, &bundles([&a]), now()).unwrap();
        assert_eq!((claims.spiffe_id, claims.expires_at), (id("spiffe://a.test/client"), now() + MINUTE));
        assert_eq!(claims.all["sub"], "spiffe://a.test/client");
    }
    let stranger = verify(&svid.token, "stranger", &bundles([&a]), now());
    assert!(matches!(stranger, Err(JwtSvidError::Audience { .. })), "{stranger:?}");
    let late = verify(&svid.token, "server", &bundles([&a]), now() + MINUTE);
    assert!(matches!(late, Err(JwtSvidError::Expired { .. })), "{late:?}");
}

#[test]
fn the_published_spiffe_library_accepts_our_tokens() {
    let now = SystemTime::now();
    let a = JwtSigner::create(domain("a.test"), JwtSettings::default(), now).unwrap();
    let svid = a.sign(&id("spiffe://a.test/client"), &["server".into()], MINUTE, now).unwrap();
    let document = crate::bundle::to_jwks(&Bundle { jwt_authorities: a.authorities(), ..Bundle::empty(domain("a.test")) });
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut theirs = spiffe::JwtBundle::new(domain("a.test"));
    theirs.add_jwk_authority_json(&serde_json::to_vec(&document["keys"][0]).unwrap()).unwrap();
    let mut set = spiffe::JwtBundleSet::new();
    set.add_bundle(theirs);
    let verified = spiffe::JwtSvid::parse_and_validate(&svid.token, &set, &["server"]).unwrap();
    assert_eq!(verified.spiffe_id(), &id("spiffe://a.test/client"));
}

#[test]
fn a_key_vouches_for_its_own_trust_domain_only() {
    let (a, b) = (signer("a.test"), signer("b.test"));
    let key = rcgen::KeyPair::generate().unwrap();
    let private = PrivateKey::from_pkcs8_der(key.serialize_der());
    // Under the key id of a's real key, and under one that only b has.
    let real = a.authorities()[0].key_id.clone();
    let forge = |kid: &str| sign(&private, kid, &id("spiffe://a.test/client"), &["server".into()], now(), now() + MINUTE).unwrap().token;
    let mut b_bundle = Bundle { jwt_authorities: b.authorities(), ..Bundle::empty(domain("b.test")) };
    b_bundle.jwt_authorities[0].key_id = "of-b".into();
    b_bundle.jwt_authorities[0].public_key = key.subject_public_key_info();
    let held = bundles([&a]);
    held.set(b_bundle);
    assert_eq!(verify(&forge(&real), "server", &held, now()), Err(JwtSvidError::Signature(id("spiffe://a.test/client"))));
    assert!(matches!(verify(&forge("of-b"), "server", &held, now()), Err(JwtSvidError::UnknownKey { .. })));
    assert!(matches!(verify(&token(&b).token, "server", &bundles([&a]), now()), Err(JwtSvidError::UnknownTrustDomain { .. })));
}

#[test]
fn keys_that_are_tainted_or_expired_are_not_used() {
    let a = signer("a.test");
    let svid = token(&a);
    let with = |change: fn(&mut cofide_core::JwtAuthority)| {
        let mut bundle = Bundle { jwt_authorities: a.authorities(), ..Bundle::empty(domain("a.test")) };
        change(&mut bundle.jwt_authorities[0]);
        verify(&svid.token, "server", &[bundle].into_iter().collect::<BundleSet>(), now())
    };
    assert!(with(|_| {}).is_ok());
    assert!(with(|key| key.expires_at = 0).is_ok(), "0 means that the key does not expire");
    assert!(matches!(with(|key| key.tainted = true), Err(JwtSvidError::UnknownKey { .. })));
    assert!(matches!(with(|key| key.expires_at = 1_799_999_999), Err(JwtSvidError::UnknownKey { .. })));
}

/// Signs whatever header and claims it is given with the signer's own key id; the signature itself is left empty.
fn unsigned(header: serde_json::Value, claims: serde_json::Value) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}

#[test]
fn tokens_that_break_a_rule_are_refused_for_that_rule() {
    let a = signer("a.test");
    let kid = &a.authorities()[0].key_id;
    let header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"});
    let claims = json!({"sub": "spiffe://a.test/client", "aud": ["server"], "exp": 1_900_000_000});
    let changed = |base: &serde_json::Value, field: &str, value: serde_json::Value| {
        let mut changed = base.clone();
        changed[field] = value;
        changed
    };
    let cases = [
        (unsigned(header.clone(), claims.clone()), "signature"),
        (unsigned(changed(&header, "alg", json!("none")), claims.clone()), "malformed"),
        (unsigned(changed(&header, "alg", json!("HS256")), claims.clone()), "algorithm HS256 is not allowed"),
        (unsigned(changed(&header, "alg", json!("RS256")), claims.clone()), "algorithm RS256 is not allowed"),
        (unsigned(changed(&header, "typ", json!("at+jwt")), claims.clone()), "of type \"at+jwt\""),
        (unsigned(changed(&header, "kid", json!(null)), claims.clone()), "names no key"),
        (unsigned(changed(&header, "kid", json!("other")), claims.clone()), "no JWT authority \"other\""),
        (unsigned(header.clone(), changed(&claims, "sub", json!("alice"))), "is no SPIFFE ID"),
        (unsigned(header.clone(), changed(&claims, "sub", json!("spiffe://a.test"))), "it has no path"),
        (unsigned(header.clone(), changed(&claims, "sub", json!(null))), "malformed"),
        (unsigned(header.clone(), changed(&claims, "aud", json!(null))), "malformed"),
        (unsigned(header.clone(), changed(&claims, "exp", json!(null))), "malformed"),
        ("".into(), "malformed"),
        ("a.b.c".into(), "malformed"),
        ("x".repeat(MAX_TOKEN_LENGTH + 1), "at most 16384 are accepted"),
    ];
    for (token, expected) in cases {
        let error = verify(&token, "server", &bundles([&a]), now()).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?} for {token:.200}");
    }
}

#[test]
fn a_token_needs_an_audience_and_a_workload_of_the_signers_trust_domain() {
    let a = signer("a.test");
    let client = id("spiffe://a.test/client");
    assert_eq!(a.sign(&client, &[], MINUTE, now()), Err(IssueError::NoAudience));
    assert_eq!(a.sign(&client, &["".into()], MINUTE, now()), Err(IssueError::NoAudience));
    assert!(matches!(a.sign(&id("spiffe://b.test/client"), &["x".into()], MINUTE, now()), Err(IssueError::ForeignTrustDomain { .. })));
    assert!(matches!(a.sign(&id("spiffe://a.test"), &["x".into()], MINUTE, now()), Err(IssueError::NoPath(_))));
}

#[test]
fn a_token_never_outlives_its_key_or_the_longest_life() {
    let a = signer("a.test");
    let client = id("spiffe://a.test/client");
    let longest = JwtSettings::default();
    let sign = |at| a.sign(&client, &["server".into()], Duration::from_secs(10_000_000), at).unwrap().expires_at;
    assert_eq!(sign(now()), now() + longest.max_svid_ttl);
    assert_eq!(sign(now() + longest.ttl - MINUTE), now() + longest.ttl);
}

#[test]
fn a_token_never_shows_in_debug_output() {
    let svid = token(&signer("a.test"));
    assert!(!format!("{svid:?}").contains(&svid.token));
}

#[test]
fn keys_rotate_without_a_token_being_refused() {
    let mut a = signer("a.test");
    let old = token(&a);
    a.prepare(now()).unwrap();
    let verifier_holds = bundles([&a]);
    a.activate(now()).unwrap();
    let new = token(&a);
    for token in [&old.token, &new.token] {
        assert!(verify(token, "server", &verifier_holds, now()).is_ok());
        assert!(verify(token, "server", &bundles([&a]), now()).is_ok());
    }
    assert!(a.retire(now()).is_empty(), "the old token still lives");
    assert_eq!(a.retire(now() + Duration::from_secs(3601)).len(), 1);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(token in "[ -~]{0,200}") {
        prop_assert!(verify(&token, "server", &BundleSet::new(), now()).is_err());
    }

    #[test]
    fn arbitrary_claims_never_panic(sub in ".{0,40}", exp in any::<f64>()) {
        let token = unsigned(json!({"alg": "ES256", "kid": "k"}), json!({"sub": sub, "aud": "server", "exp": exp}));
        prop_assert!(verify(&token, "server", &BundleSet::new(), now()).is_err());
    }
}
