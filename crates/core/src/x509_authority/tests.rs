use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::*;

const COMMON_NAME: &[u8] = b"\x0c\x04name";
const SERIAL_NUMBER: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "name");
    parameters.serial_number = Some(SERIAL_NUMBER.to_vec().into());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = date_time_ymd(2020, 1, 2);
    parameters.not_after = date_time_ymd(2030, 1, 2);
    change(&mut parameters);
    parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// The good certificate with these bytes in the place of others, wherever they are.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut der = certificate(|_| {});
    assert_eq!(from.len(), to.len(), "the lengths around it stay true");
    let places: Vec<usize> = (0..=der.len() - from.len()).filter(|place| der[*place..].starts_with(from)).collect();
    assert!(!places.is_empty(), "{from:02x?} is in the certificate");
    for place in places {
        der[place..place + to.len()].copy_from_slice(to);
    }
    der
}

fn named(value: &[u8]) -> Vec<u8> {
    patched(COMMON_NAME, value)
}

fn refusal(der: Vec<u8>) -> String {
    X509Authority::from_der(der, false).expect_err("it is refused").to_string()
}

#[test]
fn the_certificate_of_an_authority_is_taken_in_all_its_common_forms() {
    let good = certificate(|_| {});
    assert_eq!(X509Authority::from_der(good.clone(), true), Ok(X509Authority { der: good, tainted: true }));
    for (what, der) in [
        ("no key usage", certificate(|parameters| parameters.key_usages.clear())),
        ("no subject", certificate(|parameters| parameters.distinguished_name = DistinguishedName::new())),
        ("a path length", certificate(|parameters| parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)))),
        ("a time after 2049", certificate(|parameters| parameters.not_after = date_time_ymd(9999, 12, 31))),
        ("long expired", certificate(|parameters| parameters.not_after = date_time_ymd(2020, 1, 2))),
        ("20 bytes of serial number", certificate(|parameters| parameters.serial_number = Some(vec![0x7f; 20].into()))),
        ("a serial number with a high bit", certificate(|parameters| parameters.serial_number = Some(vec![0xff; 4].into()))),
        ("a PrintableString", named(b"\x13\x04name")),
        ("an IA5String", named(b"\x16\x04a@bc")),
        ("a BMPString", named(b"\x1e\x04\x00n\x00m")),
        ("a UniversalString", named(b"\x1c\x04\x00\x00\x00n")),
        ("Latin-1 in a TeletexString", named(b"\x14\x04n\xe4me")),
        ("UTF-8", named("\x0c\u{4}n\u{e4}m".as_bytes())),
    ] {
        assert_eq!(X509Authority::from_der(der, false).err(), None, "{what}");
    }
}

// Envoy refuses most of these, and with one of them the bundles of all other trust domains.
#[test]
fn whatever_another_reader_may_stumble_on_is_refused_with_its_reason() {
    let version = |number| patched(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, number]);
    let serial_number = |to: [u8; 4]| patched(&[&[2, 4], &SERIAL_NUMBER[..]].concat(), &[&[2, 4], &to[..]].concat());
    let good = certificate(|_| {});
    for (what, der, reason) in [
        ("nothing", vec![], "is not one DER-encoded X.509 certificate: it ends early"),
        ("half a certificate", good[..good.len() / 2].to_vec(), "it ends early"),
        ("two certificates", good.repeat(2), "bytes follow it"),
        ("a trailing byte", [&good[..], &[0]].concat(), "1 bytes follow it"),
        ("invalid UTF-8", named(b"\x0c\x04na\xff\xfe"), "tag 0x0c is no well-formed UTF8String"),
        ("no character", named(b"\x0c\x04n\xef\xbf\xbf"), "no well-formed UTF8String"),
        ("half a surrogate pair", named(b"\x1e\x04\x00n\xd8\x00"), "no well-formed BMPString"),
        ("an odd BMPString", named(b"\x1e\x03\x00n\x00\x05"), "DER"),
        ("beyond Unicode", named(b"\x1c\x04\x00\x11\x00\x00"), "no well-formed UniversalString"),
        ("Latin-1 in a PrintableString", named(b"\x13\x04n\xe4me"), "string of ASCII characters"),
        ("Latin-1 in an IA5String", named(b"\x16\x04n\xe4me"), "string of ASCII characters"),
        ("a number for a name", named(b"\x02\x04name"), "the issuer has not the elements"),
        ("bytes for a name", named(b"\x04\x04name"), "the issuer has not the elements"),
        ("a long form of a short length", named(b"\x0c\x81\x03ame"), "more bytes than it needs"),
        ("an indefinite length", named(b"\x0c\x80me\x00\x00"), "indefinite"),
        ("a second value", named(b"\x0c\x00\x0c\x02me"), "the issuer has not the elements"),
        ("a type that no certificate has", named(b"\x1b\x04name"), "no well-formed element of a kind"),
        ("a string in pieces", named(b"\x2c\x04\x0c\x02me"), "no well-formed element of a kind"),
        ("version 8", version(7), "X.509 version 8"),
        ("version 1", version(0), "X.509 version 1"),
        ("version 2", version(1), "X.509 version 2"),
        ("a negative serial number", serial_number([0x91, 0x22, 0x33, 0x44]), "has a serial number that is not positive"),
        ("a padded serial number", serial_number([0x00, 0x22, 0x33, 0x44]), "no well-formed INTEGER"),
        ("a padded negative serial number", serial_number([0xff, 0xa2, 0x33, 0x44]), "no well-formed INTEGER"),
        ("21 bytes of serial number", certificate(|parameters| parameters.serial_number = Some(vec![0x7f; 21].into())), "20 bytes"),
        ("serial number zero", certificate(|parameters| parameters.serial_number = Some(vec![0].into())), "not positive"),
        ("month 13", patched(b"300102000000Z", b"301302000000Z"), "is not one DER-encoded"),
        ("no month", patched(b"300102000000Z", b"30xx02000000Z"), "no well-formed UTCTime"),
        ("a time zone", patched(b"300102000000Z", b"3001020000+01"), "no well-formed UTCTime"),
        ("an end before the start", patched(b"300102000000Z", b"190102000000Z"), "is valid until before it is valid from"),
        ("a BOOLEAN of 1", patched(&[0x30, 3, 1, 1, 0xff], &[0x30, 3, 1, 1, 1]), "the list of extensions"),
        ("the same extension twice", patched(&[0x55, 0x1d, 0x0e], &[0x55, 0x1d, 0x0f]), "the same extension twice"),
        ("CA: FALSE", certificate(|parameters| parameters.is_ca = IsCa::ExplicitNoCa), "basic constraints do not say CA"),
        ("no basic constraints", certificate(|parameters| parameters.is_ca = IsCa::NoCa), "basic constraints do not say CA"),
        (
            "a key that signs no certificates",
            certificate(|parameters| parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
            "key usage does not include keyCertSign",
        ),
    ] {
        let message = refusal(der);
        assert!(message.contains(reason), "{what}: {message}");
    }
}

#[test]
fn a_certificate_that_is_cut_anywhere_is_refused_and_one_with_any_changed_byte_does_no_harm() {
    let good = certificate(|_| {});
    for place in 0..good.len() {
        assert!(refusal(good[..place].to_vec()).contains("it ends early"), "cut at byte {place}");
        for changed in [0x00, 0x01, 0x1f, 0x30, 0x7f, 0x80, 0x84, 0xff] {
            let mut der = good.clone();
            der[place] = changed;
            let read = X509Authority::from_der(der.clone(), false);
            assert!(read.is_err() || X509Certificate::from_der(&der).is_ok(), "byte {place} is {changed:#04x}");
        }
    }
}
