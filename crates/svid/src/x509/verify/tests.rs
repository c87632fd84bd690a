use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use super::*;
use crate::bundle::BundleSet;
use crate::testing::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn check(chain: &[CertificateDer<'_>], bundles: &BundleSet) -> Result<SpiffeId, X509SvidError> {
    verify(chain, bundles, now(), KeyUsage::Client)
}

#[test]
fn an_issued_svid_verifies_as_client_and_as_server() {
    let a = authority("a.test", now());
    let svid = svid(&a, "spiffe://a.test/client", now());
    for usage in [KeyUsage::Client, KeyUsage::Server] {
        assert_eq!(verify(&svid.certificates, &bundles([&a]), now(), usage), Ok(id("spiffe://a.test/client")));
    }
}

#[test]
fn an_authority_vouches_for_its_own_trust_domain_only() {
    let (a, b) = (authority("a.test", now()), Rogue::new("B", now()));
    let both: BundleSet = [bundle(&a), b.bundle("b.test")].into_iter().collect();
    let honest = b.sign(&leaf(&["spiffe://b.test/server"], now()));
    assert_eq!(check(&[honest], &both), Ok(id("spiffe://b.test/server")));

    let forged = b.sign(&leaf(&["spiffe://a.test/server"], now()));
    let expected = X509SvidError::UntrustedIssuer { spiffe_id: id("spiffe://a.test/server"), trust_domain: domain("a.test") };
    assert_eq!(check(&[forged], &both), Err(expected.clone()));

    let with_root = [b.sign(&leaf(&["spiffe://a.test/server"], now())), b.certificate.clone()];
    assert_eq!(check(&with_root, &both), Err(expected), "sending the foreign root along changes nothing");
}

#[test]
fn an_authority_under_the_same_name_is_still_another_one() {
    let (real, forger) = (Rogue::new("A", now()), Rogue::new("A", now()));
    let held: BundleSet = [real.bundle("a.test")].into_iter().collect();
    let forged = forger.sign(&leaf(&["spiffe://a.test/server"], now()));
    assert!(matches!(check(&[forged], &held), Err(X509SvidError::UntrustedIssuer { .. })));
}

#[test]
fn without_a_bundle_of_its_trust_domain_nobody_is_verified() {
    let (a, b) = (authority("a.test", now()), authority("b.test", now()));
    let svid = svid(&b, "spiffe://b.test/client", now());
    let error = check(&svid.certificates, &bundles([&a])).unwrap_err();
    assert!(matches!(&error, X509SvidError::UnknownTrustDomain { trust_domain, .. } if *trust_domain == domain("b.test")));
    assert!(error.to_string().contains("federate with b.test first"), "{error}");

    let emptied: BundleSet = [Bundle::empty(domain("b.test"))].into_iter().collect();
    assert!(matches!(check(&svid.certificates, &emptied), Err(X509SvidError::NoUsableAuthority { .. })));
}

/// What makes a leaf no X.509-SVID, one spoiled property at a time.
#[test]
fn a_leaf_that_breaks_a_rule_is_refused_for_that_rule() {
    type Spoil = fn(&mut CertificateParams);
    let named = "spiffe://a.test/client";
    let cases: [(&str, &[&str], Spoil, &str); 14] = [
        ("no URI", &[], |_| {}, "has 0 URI names"),
        ("only a DNS name", &[], |p| p.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())], "has 0 URI names"),
        ("two SPIFFE IDs", &[named, "spiffe://a.test/other"], |_| {}, "has 2 URI names"),
        ("a second URI of another scheme", &[named, "https://a.test/"], |_| {}, "has 2 URI names"),
        ("another scheme", &["https://a.test/client"], |_| {}, "is no SPIFFE ID"),
        ("a port", &["spiffe://a.test:8443/client"], |_| {}, "is no SPIFFE ID"),
        ("a dot segment", &["spiffe://a.test/x/../client"], |_| {}, "is no SPIFFE ID"),
        ("no path", &["spiffe://a.test"], |_| {}, "names a trust domain and no workload"),
        ("a certificate authority", &[named], |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "is a certificate authority"),
        ("keyCertSign", &[named], |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), "includes keyCertSign"),
        ("cRLSign", &[named], |p| p.key_usages.push(KeyUsagePurpose::CrlSign), "includes cRLSign"),
        ("no digitalSignature", &[named], |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], "lacks digitalSignature"),
        ("another purpose", &[named], |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning], "is not valid"),
        (
            "an unreadable key usage",
            &[named],
            |p| {
                p.key_usages.clear();
                p.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0xff])];
            },
            "key usage extension cannot be read",
        ),
    ];
    let root = Rogue::new("A", now());
    let held: BundleSet = [root.bundle("a.test")].into_iter().collect();
    for (case, uris, spoil, expected) in cases {
        let mut parameters = leaf(uris, now());
        spoil(&mut parameters);
        match check(&[root.sign(&parameters)], &held) {
            Ok(id) => panic!("{case}: accepted as {id}"),
            Err(error) => assert!(error.to_string().contains(expected), "{case}: {error}"),
        }
    }
}

#[test]
fn a_leaf_needs_no_key_usage_and_no_purpose_at_all() {
    let root = Rogue::new("A", now());
    let mut parameters = leaf(&["spiffe://a.test/client"], now());
    parameters.key_usages.clear();
    parameters.extended_key_usages.clear();
    parameters.is_ca = IsCa::NoCa;
    let held: BundleSet = [root.bundle("a.test")].into_iter().collect();
    assert!(check(&[root.sign(&parameters)], &held).is_ok());
}

#[test]
fn a_leaf_is_valid_from_its_first_second_to_its_last() {
    let a = authority("a.test", now());
    let svid = svid(&a, "spiffe://a.test/client", now());
    let held = bundles([&a]);
    let at = |time| verify(&svid.certificates, &held, time, KeyUsage::Client);
    let second = Duration::from_secs(1);
    assert!(at(svid.not_before).is_ok());
    assert!(at(svid.not_after).is_ok());
    assert!(matches!(at(svid.not_after + second), Err(X509SvidError::Expired { .. })));

    // The authority was backdated as far as its first leaf, so its own validity is not the one in question here.
    let later = a.issue(&id("spiffe://a.test/client"), &[], &[], HOUR, now() + HOUR).unwrap();
    let early = verify(&later.certificates, &held, later.not_before - second, KeyUsage::Client);
    assert!(matches!(early, Err(X509SvidError::NotYetValid { .. })), "{early:?}");
}

#[test]
fn an_expired_authority_vouches_for_nobody() {
    let old = Rogue::new("A", now() - 2 * HOUR);
    let held: BundleSet = [old.bundle("a.test")].into_iter().collect();
    let leaf = old.sign(&leaf(&["spiffe://a.test/client"], now()));
    assert!(matches!(check(&[leaf], &held), Err(X509SvidError::NoUsableAuthority { .. })));
}

#[test]
fn a_tainted_authority_is_not_used_and_the_refusal_says_so() {
    let mut a = authority("a.test", now());
    let old = svid(&a, "spiffe://a.test/old", now());
    let tainted = a.state()[0].id.clone();
    a.prepare(now()).unwrap();
    a.activate(now()).unwrap();
    let new = svid(&a, "spiffe://a.test/new", now());
    assert!(check(&old.certificates, &bundles([&a])).is_ok());
    a.taint(&tainted).unwrap();
    assert!(matches!(check(&old.certificates, &bundles([&a])), Err(X509SvidError::TaintedAuthority { .. })));
    assert!(check(&new.certificates, &bundles([&a])).is_ok());
}

#[test]
fn an_unreadable_authority_harms_only_itself() {
    let a = authority("a.test", now());
    let mut bundle = bundle(&a);
    bundle.x509_authorities.insert(0, X509Authority { der: b"garbage".to_vec(), tainted: false });
    let held: BundleSet = [bundle].into_iter().collect();
    assert!(check(&svid(&a, "spiffe://a.test/client", now()).certificates, &held).is_ok());
}

#[test]
fn a_chain_may_lead_through_intermediates() {
    let root = Rogue::new("root", now());
    let first = root.intermediate("first", now(), |_| {});
    let second = first.intermediate("second", now(), |_| {});
    let held: BundleSet = [root.bundle("a.test")].into_iter().collect();
    let leaf = second.sign(&leaf(&["spiffe://a.test/client"], now()));
    let chain = [leaf, second.certificate.clone(), first.certificate.clone()];
    assert_eq!(check(&chain, &held), Ok(id("spiffe://a.test/client")));
    assert!(matches!(check(&chain[..2], &held), Err(X509SvidError::UntrustedIssuer { .. })), "a link is missing");
}

#[test]
fn a_certificate_that_may_not_sign_is_no_intermediate() {
    let root = Rogue::new("root", now());
    let held: BundleSet = [root.bundle("a.test")].into_iter().collect();
    type Spoil = fn(&mut CertificateParams);
    let cases: [(Spoil, &str); 2] = [
        (|p| p.is_ca = IsCa::ExplicitNoCa, "it is no certificate authority"),
        (|p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature], "lacks keyCertSign"),
    ];
    for (spoil, expected) in cases {
        let below = root.intermediate("below", now(), spoil);
        let chain = [below.sign(&leaf(&["spiffe://a.test/client"], now())), below.certificate.clone()];
        let error = check(&chain, &held).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_svid_signs_no_other_svid() {
    let root = Rogue::new("root", now());
    let held: BundleSet = [root.bundle("a.test")].into_iter().collect();
    let workload = root.intermediate("workload", now(), |p| {
        *p = leaf(&["spiffe://a.test/workload"], now());
    });
    let chain = [workload.sign(&leaf(&["spiffe://a.test/admin"], now())), workload.certificate.clone()];
    assert!(matches!(check(&chain, &held), Err(X509SvidError::Intermediate { .. })));
}

#[test]
fn chains_that_are_no_chains_are_refused() {
    let a = authority("a.test", now());
    let held = bundles([&a]);
    assert_eq!(check(&[], &held), Err(X509SvidError::EmptyChain));

    let leaf = svid(&a, "spiffe://a.test/client", now()).certificates.remove(0);
    let long = vec![leaf.clone(); MAX_CHAIN_LENGTH + 1];
    assert_eq!(check(&long, &held), Err(X509SvidError::ChainTooLong(MAX_CHAIN_LENGTH + 1)));

    let mut trailing = leaf.to_vec();
    trailing.push(0);
    assert!(matches!(check(&[trailing.into()], &held), Err(X509SvidError::Malformed { position: 0, .. })));
    let garbage = CertificateDer::from(b"garbage".to_vec());
    assert!(matches!(check(std::slice::from_ref(&garbage), &held), Err(X509SvidError::Malformed { position: 0, .. })));
    assert!(matches!(check(&[leaf, garbage], &held), Err(X509SvidError::Malformed { position: 1, .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        prop_assert!(check(&chain, &BundleSet::new()).is_err());
        for certificate in chain {
            prop_assert!(crate::x509::split_der(&certificate).map_or(true, |list| list.is_empty()));
        }
    }

    /// A single changed byte either breaks the signature or what is read from under it.
    #[test]
    fn a_changed_certificate_is_never_accepted(position in any::<proptest::sample::Index>(), flip in 1u8..) {
        let a = authority("a.test", now());
        let mut der = svid(&a, "spiffe://a.test/client", now()).leaf().to_vec();
        let position = position.index(der.len());
        der[position] ^= flip;
        prop_assert!(check(&[der.into()], &bundles([&a])).is_err());
    }
}
