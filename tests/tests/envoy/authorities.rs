//! Certificates of authorities, before a real Envoy: one that it cannot read costs a workload the bundles of all trust domains.

use std::process::Stdio;

use cofide_core::X509Authority;
use cofide_svid::x509::certificate_pem;
use cofide_testkit::envoy::binary;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RsaKeySize, SanType,
    SignatureAlgorithm, date_time_ymd,
};
use serde_json::json;
use tokio::process::Command;

/// The certificate of an authority as SPIRE makes it, but for a change.
fn certificate_of(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("name");
    parameters.subject_alt_names = vec![SanType::URI("spiffe://a.test".try_into().unwrap())];
    parameters.serial_number = Some(vec![0x11, 0x22, 0x33, 0x44].into());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 2), date_time_ymd(2040, 1, 2));
    change(&mut parameters);
    parameters.self_signed(key).unwrap().der().to_vec()
}

fn named(name: impl Into<DnValue>) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    certificate_of(&KeyPair::generate().unwrap(), change)
}

fn with_name(name: impl Into<DnValue>) -> Vec<u8> {
    with(|parameters| parameters.distinguished_name = named(name))
}

fn with_key(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    certificate_of(&KeyPair::generate_for(algorithm).unwrap(), |_| {})
}

fn with_rsa_key(algorithm: &'static SignatureAlgorithm, size: RsaKeySize) -> Vec<u8> {
    certificate_of(&KeyPair::generate_rsa_for(algorithm, size).unwrap(), |_| {})
}

/// An extension that is not read: its content is this.
fn with_extension(oid: &[u64], content: &[u8], is_critical: bool) -> Vec<u8> {
    with(|parameters| {
        let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
        extension.set_criticality(is_critical);
        parameters.custom_extensions = vec![extension];
    })
}

/// These bytes in the place of others, wherever they are.
fn patched(mut der: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "the lengths around it stay true");
    let places: Vec<usize> = (0..=der.len() - from.len()).filter(|place| der[*place..].starts_with(from)).collect();
    assert!(!places.is_empty(), "{from:02x?} is in the certificate");
    for place in places {
        der[place..place + to.len()].copy_from_slice(to);
    }
    der
}

/// What an issuer may make of an authority's certificate.
fn variants() -> Vec<(&'static str, Vec<u8>)> {
    let usual = || with(|_| {});
    let domain = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    vec![
        ("as SPIRE makes it", usual()),
        ("P-384", with_key(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("P-521 with SHA-512", with_key(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("P-521 with SHA-256", with_key(&rcgen::PKCS_ECDSA_P521_SHA256)),
        ("Ed25519", with_key(&rcgen::PKCS_ED25519)),
        ("RSA 2048 with SHA-256", with_rsa_key(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)),
        ("RSA 3072 with SHA-384", with_rsa_key(&rcgen::PKCS_RSA_SHA384, RsaKeySize::_3072)),
        ("RSA 4096 with SHA-512", with_rsa_key(&rcgen::PKCS_RSA_SHA512, RsaKeySize::_4096)),
        (
            "a key on a curve that nobody knows",
            patched(usual(), &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 9]),
        ),
        (
            "a key of a kind that nobody knows",
            patched(usual(), &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 9]),
        ),
        (
            "a signature that nobody knows",
            patched(usual(), &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 9]),
        ),
        ("no subject", with(|parameters| parameters.distinguished_name = DistinguishedName::new())),
        (
            "many names",
            with(|parameters| {
                let names = [
                    DnType::CountryName,
                    DnType::OrganizationName,
                    DnType::OrganizationalUnitName,
                    DnType::LocalityName,
                    DnType::CommonName,
                ];
                for (kind, name) in names.into_iter().zip(["DE", "Example", "Unit", "Town", "name"]) {
                    parameters.distinguished_name.push(kind, name);
                }
            }),
        ),
        (
            "a name that nobody knows",
            with(|parameters| parameters.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 55555, 1]), "x")),
        ),
        ("an empty name", with_name("")),
        ("a long name", with_name("n".repeat(5000))),
        ("UTF-8", with_name("größer \u{1f600}")),
        ("a NUL in UTF-8", with_name("a\0b")),
        ("a PrintableString", with_name(DnValue::PrintableString(PrintableString::try_from("name").unwrap()))),
        ("an IA5String", with_name(DnValue::Ia5String(Ia5String::try_from("a@b.test").unwrap()))),
        ("a TeletexString", with_name(DnValue::TeletexString(TeletexString::try_from("name").unwrap()))),
        (
            "Latin-1 in a TeletexString",
            patched(with_name(DnValue::TeletexString(TeletexString::try_from("name").unwrap())), b"\x14\x04name", b"\x14\x04n\xe4me"),
        ),
        ("a BMPString", with_name(DnValue::BmpString(BmpString::try_from("näme").unwrap()))),
        ("a UniversalString", with_name(DnValue::UniversalString(UniversalString::try_from("name").unwrap()))),
        ("long expired", with(|parameters| parameters.not_after = date_time_ymd(2020, 1, 2))),
        ("not valid yet", with(|parameters| parameters.not_before = date_time_ymd(2039, 1, 2))),
        ("since 1950", with(|parameters| parameters.not_before = date_time_ymd(1950, 1, 1))),
        ("before 1950", with(|parameters| parameters.not_before = date_time_ymd(1900, 1, 1))),
        ("without an end", with(|parameters| parameters.not_after = date_time_ymd(9999, 12, 31))),
        ("no serial number to speak of", with(|parameters| parameters.serial_number = Some(vec![1].into()))),
        ("20 bytes of serial number", with(|parameters| parameters.serial_number = Some(vec![0x7f; 20].into()))),
        ("a serial number with a high bit", with(|parameters| parameters.serial_number = Some(vec![0xff; 4].into()))),
        ("no key usage", with(|parameters| parameters.key_usages.clear())),
        (
            "every key usage",
            with(|parameters| {
                use KeyUsagePurpose::*;
                parameters.key_usages =
                    vec![DigitalSignature, ContentCommitment, KeyEncipherment, DataEncipherment, KeyAgreement, KeyCertSign, CrlSign];
            }),
        ),
        (
            "an extended key usage",
            with(|parameters| {
                parameters.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 55555, 2])];
            }),
        ),
        ("a path length of zero", with(|parameters| parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
        ("a path length of 255", with(|parameters| parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(255)))),
        (
            "names that it may issue",
            with(|parameters| {
                let (permitted_subtrees, excluded_subtrees) = (
                    vec![domain("a.test"), GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]))],
                    vec![domain("b.test")],
                );
                parameters.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
            }),
        ),
        (
            "other alternative names",
            with(|parameters| {
                parameters.subject_alt_names = vec![
                    SanType::DnsName("ca.a.test".try_into().unwrap()),
                    SanType::IpAddress([127, 0, 0, 1].into()),
                    SanType::Rfc822Name("ca@a.test".try_into().unwrap()),
                    SanType::URI("https://a.test/ca".try_into().unwrap()),
                ];
            }),
        ),
        ("no alternative name", with(|parameters| parameters.subject_alt_names.clear())),
        ("an authority key identifier", with(|parameters| parameters.use_authority_key_identifier_extension = true)),
        ("a short key identifier", with(|parameters| parameters.key_identifier_method = KeyIdMethod::PreSpecified(vec![7]))),
        ("an empty key identifier", with(|parameters| parameters.key_identifier_method = KeyIdMethod::PreSpecified(vec![]))),
        (
            "a revocation list",
            with(|parameters| {
                parameters.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://a.test/crl".to_owned()] }];
            }),
        ),
        ("an unknown extension", with_extension(&[1, 3, 6, 1, 4, 1, 55555, 3], b"anything", false)),
        ("an unknown extension that is critical", with_extension(&[1, 3, 6, 1, 4, 1, 55555, 3], b"anything", true)),
        ("an unknown extension without content", with_extension(&[1, 3, 6, 1, 4, 1, 55555, 3], b"", false)),
        ("policies that are none", with_extension(&[2, 5, 29, 32], b"no DER", false)),
        ("name constraints that are none", with_extension(&[2, 5, 29, 30], b"no DER", true)),
        ("an extended key usage that is none", with_extension(&[2, 5, 29, 37], &[0x30, 0], false)),
        ("an authority key identifier that is none", with_extension(&[2, 5, 29, 35], b"no DER", false)),
        ("distribution points that are none", with_extension(&[2, 5, 29, 31], b"no DER", false)),
    ]
}

/// What Envoy says where it does not take a validation context in which each of these certificates is the bundle of a trust
/// domain.
async fn refusal(authorities: &[&[u8]]) -> Option<String> {
    let trust_domain = |(number, der): (usize, &&[u8])| json!({ "name": format!("z{number}.test"), "trust_bundle": { "inline_string": certificate_pem(der) } });
    let trust_domains: Vec<_> = authorities.iter().enumerate().map(trust_domain).collect();
    let validator = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
        "trust_domains": trust_domains,
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": { "validation_context": { "custom_validator_config": { "name": "envoy.tls.cert_validator.spiffe", "typed_config": validator } } },
    });
    let cluster = json!({ "name": "server", "type": "STATIC", "connect_timeout": "1s", "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls } });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, json!({ "static_resources": { "clusters": [cluster] } }).to_string()).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["--mode", "validate", "--log-level", "critical", "--config-path"]).arg(&file).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() || said.contains("trusted CA"), "Envoy complains about something else: {said}");
    (!output.status.success()).then_some(said)
}

/// Asserts that Envoy takes all of these, or names those that it does not take.
async fn all_are_taken(authorities: &[(String, Vec<u8>)]) {
    let all: Vec<&[u8]> = authorities.iter().map(|(_, der)| der.as_slice()).collect();
    let Some(said) = refusal(&all).await else { return };
    let mut refused = Vec::new();
    for (what, der) in authorities {
        if refusal(&[der]).await.is_some() {
            refused.push(what);
        }
    }
    panic!("Envoy refuses {refused:#?}: {said}");
}

#[tokio::test]
async fn whatever_the_strict_check_takes_for_an_authority_envoy_takes_too() {
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (what, der) in variants() {
        match X509Authority::from_der(der.clone(), false) {
            Ok(_) => taken.push((what.to_owned(), der)),
            Err(error) => left.push((what, der, error)),
        }
    }
    assert!(taken.len() >= 40, "most of what issuers make is taken: {left:#?}");
    all_are_taken(&taken).await;

    // What is left out has a reason: with it, Envoy takes none of the others either.
    for (what, der, error) in left {
        let with_it: Vec<&[u8]> = taken.iter().map(|(_, der)| der.as_slice()).chain([der.as_slice()]).collect();
        assert!(refusal(&with_it).await.is_some(), "Envoy takes {what}, which {error}");
    }
}

#[tokio::test]
async fn no_damage_gets_past_the_strict_check_that_envoy_stumbles_on() {
    let whole = with(|_| {});
    let mut damaged = Vec::new();
    for place in 0..whole.len() {
        for changed in [0x00, 0x01, 0x0c, 0x30, 0x80, 0xff, whole[place] ^ 0x01, whole[place] ^ 0x80] {
            let mut der = whole.clone();
            der[place] = changed;
            if X509Authority::from_der(der.clone(), false).is_ok() {
                damaged.push((format!("byte {place} is {changed:#04x}"), der));
            }
        }
    }
    // What the check is for: one of these among them, and Envoy takes none.
    let unreadable = patched(with_name("name"), b"\x0c\x04name", b"\x0c\x04na\xff\xfe");
    assert!(X509Authority::from_der(unreadable.clone(), false).is_err());
    assert!(refusal(&[&whole, &unreadable]).await.is_some());

    assert!(damaged.len() > 200, "in keys, signatures and names there is much that nobody checks: {}", damaged.len());
    all_are_taken(&damaged).await;
}
