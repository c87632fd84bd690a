use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use cofide_runtime::files::{self, Mode};
use x509_parser::extensions::ParsedExtension;

use super::*;
use crate::testing::{HOUR, authority, bundle, bundles, domain, id, svid};
use crate::x509::{KeyUsage, verify};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_authority_certificate_follows_the_specification() {
    let a = authority("a.test", now());
    let der = a.authorities().remove(0).der;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(format!("{:?}", names.general_names), "[URI(\"spiffe://a.test\")]");
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.digital_signature());
    assert!(certificate.subject().to_string().starts_with("C=US, O=SPIFFE"), "{}", certificate.subject());
    let id = &a.state()[0].id;
    let identifiers: Vec<String> = certificate
        .iter_extensions()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(hex::encode(key.0)),
            ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.as_ref().map(|key| hex::encode(key.0)),
            _ => None,
        })
        .collect();
    assert_eq!(identifiers, [id.clone(), id.clone()]);
}

#[test]
fn a_leaf_follows_the_specification() {
    let a = authority("a.test", now());
    let svid = a
        .issue(&id("spiffe://a.test/web"), &["web.a.test".into()], &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()], HOUR, now())
        .unwrap();
    assert_eq!((svid.not_before, svid.not_after), (now() - Duration::from_mins(10), now() + HOUR));
    assert_eq!(svid.certificates.len(), 1, "the authority is in the bundle, not in the chain");
    let (_, certificate) = x509_parser::parse_x509_certificate(svid.leaf()).unwrap();
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    let purpose = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && purpose.client_auth);
    assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 4);
    assert_eq!(certificate.issuer().to_string(), format!("C=US, O=SPIFFE, serialNumber={}", a.state()[0].id));
    assert!(certificate.raw_serial().len() >= 16, "a serial number that nobody guesses or meets twice");
}

#[test]
fn the_published_spiffe_library_accepts_our_svids() {
    let a = authority("a.test", now());
    let svid = svid(&a, "spiffe://a.test/web", now());
    let theirs = spiffe::X509Svid::parse_from_der(&svid.chain_der(), svid.private_key.secret_der()).unwrap();
    assert_eq!(theirs.spiffe_id(), &svid.spiffe_id);
}

#[test]
fn an_svid_survives_der_and_pem() {
    let svid = svid(&authority("a.test", now()), "spiffe://a.test/web", now());
    let from_der = crate::X509Svid::from_der(&svid.chain_der(), svid.private_key.clone()).unwrap();
    let (certificates, key) = svid.to_pem();
    let from_pem = crate::X509Svid::from_pem(&certificates, &key).unwrap();
    for other in [from_der, from_pem] {
        assert_eq!((&other.spiffe_id, &other.certificates, other.not_after), (&svid.spiffe_id, &svid.certificates, svid.not_after));
    }
    assert!(svid.renew_at() > now() && svid.renew_at() < svid.not_after);
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused() {
    let a = authority("a.test", now());
    let (one, other) = (svid(&a, "spiffe://a.test/web", now()), svid(&a, "spiffe://a.test/web", now()));
    let error = crate::X509Svid::new(one.certificates, other.private_key).unwrap_err();
    assert!(matches!(error, crate::X509SvidError::Key(_)), "{error}");
}

#[test]
fn only_names_of_the_own_trust_domain_are_issued() {
    let a = authority("a.test", now());
    let issue = |spiffe_id: &str, dns: &[&str]| {
        let dns: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        a.issue(&id(spiffe_id), &dns, &[], HOUR, now()).map(|_| ())
    };
    assert_eq!(issue("spiffe://a.test/web", &["web.a.test"]), Ok(()));
    assert!(matches!(issue("spiffe://b.test/web", &[]), Err(IssueError::ForeignTrustDomain { .. })));
    assert!(matches!(issue("spiffe://a.test", &[]), Err(IssueError::NoPath(_))));
    for name in ["", "*.a.test", "Web.a.test", "wéb.a.test", "a b"] {
        assert!(matches!(issue("spiffe://a.test/web", &[name]), Err(IssueError::DnsName { .. })), "{name}");
    }
}

#[test]
fn an_svid_never_outlives_its_authority_or_the_longest_life() {
    let a = authority("a.test", now());
    let settings = X509Settings::default();
    let issue = |at| a.issue(&id("spiffe://a.test/web"), &[], &[], 365 * DAY, at);
    assert_eq!(issue(now()).unwrap().not_after, now() + settings.max_svid_ttl);
    assert_eq!(issue(now() + settings.ttl - HOUR).unwrap().not_after, now() + settings.ttl);
    assert!(matches!(issue(now() + settings.ttl), Err(IssueError::AuthorityNotValid { .. })));
}

#[test]
fn no_handshake_fails_at_any_step_of_a_rotation() {
    let mut a = authority("a.test", now());
    let settings = X509Settings::default();
    let first = a.state()[0].id.clone();
    let (mut held, mut alive) = (vec![bundle(&a)], vec![svid(&a, "spiffe://a.test/web", now())]);
    // What a verifier holds lags one step behind what is published; everything alive must verify with both.
    type Step = fn(&mut X509CertificateAuthority, SystemTime);
    let steps: [(Step, Duration); 4] = [
        (|a, now| assert!(a.prepare(now).is_ok()), Duration::ZERO),
        (|a, now| assert!(a.activate(now).is_ok()), HOUR),
        (|a, now| assert_eq!(a.retire(now), Vec::<String>::new(), "its last SVIDs are alive"), 2 * HOUR),
        (|a, now| assert_eq!(a.retire(now).len(), 1), HOUR + settings.max_svid_ttl + Duration::from_secs(1)),
    ];
    for (step, after) in steps {
        let now = now() + after;
        step(&mut a, now);
        held.push(bundle(&a));
        alive.push(a.issue(&id("spiffe://a.test/web"), &[], &[], settings.max_svid_ttl, now).unwrap());
        for bundle in &held[held.len() - 2..] {
            let bundles: crate::BundleSet = [bundle.clone()].into_iter().collect();
            for svid in alive.iter().filter(|svid| svid.not_after >= now) {
                assert!(verify(&svid.certificates, &bundles, now, KeyUsage::Server).is_ok());
            }
        }
    }
    assert!(a.state().iter().all(|authority| authority.id != first));
    let steps: Vec<u64> = held.windows(2).map(|pair| pair[1].sequence_number - pair[0].sequence_number).collect();
    assert_eq!(steps, [1, 0, 0, 1], "it grows with each change of what is published");
}

#[test]
fn an_authority_whose_key_file_was_lost_is_followed_by_a_newer_bundle() {
    let mut lost = authority("a.test", now());
    for _ in 0..3 {
        lost.prepare(now()).unwrap();
        lost.activate(now()).unwrap();
    }
    let next = authority("a.test", now() + HOUR);
    assert_eq!(bundle(&next).may_replace(&bundle(&lost)), Ok(()));
}

#[test]
fn rotation_steps_out_of_order_are_refused() {
    let mut a = authority("a.test", now());
    let active = a.state()[0].id.clone();
    assert_eq!(a.activate(now()), Err(RotationError::NothingPrepared));
    let prepared = a.prepare(now()).unwrap();
    assert_eq!(a.prepare(now()), Err(RotationError::AlreadyPrepared(prepared.clone())));
    assert_eq!(a.taint(&prepared), Err(RotationError::NotRetired(prepared.clone(), AuthorityState::Prepared)));
    assert_eq!(a.revoke(&active), Err(RotationError::NotRetired(active.clone(), AuthorityState::Active)));
    assert_eq!(a.revoke("none"), Err(RotationError::Unknown("none".into())));
    assert_eq!(a.activate(now()), Ok(prepared));
    a.revoke(&active).unwrap();
    assert_eq!(a.state().len(), 1);
}

#[test]
fn left_alone_an_authority_rotates_by_the_clock_and_is_never_without_a_valid_certificate() {
    let mut a = authority("a.test", now());
    let mut changes = Vec::new();
    for hour in 0..24 * 30 {
        let now = now() + hour * HOUR;
        changes.extend(a.maintain(now).unwrap());
        assert!(a.issue(&id("spiffe://a.test/web"), &[], &[], HOUR, now).is_ok(), "after {hour} hours: {changes:?}");
        assert!(a.state().len() <= 3, "{:?}", a.state());
    }
    let count = |wanted: fn(&RotationChange) -> bool| changes.iter().filter(|change| wanted(change)).count();
    // The next one lives from its preparation on, so a generation lasts five sixths minus the half before it.
    assert!((5..=12).contains(&count(|change| matches!(change, RotationChange::Activated(_)))), "{changes:?}");
    assert!(count(|change| matches!(change, RotationChange::Retired(_))) >= 4, "{changes:?}");
}

#[test]
fn authorities_survive_their_key_files() {
    let folder = tempfile::tempdir().unwrap();
    let (path, jwt_path) = (folder.path().join("x509.json"), folder.path().join("jwt.json"));
    let mut a = authority("a.test", now());
    let old = a.state()[0].id.clone();
    a.prepare(now()).unwrap();
    a.activate(now()).unwrap();
    a.taint(&old).unwrap();
    a.prepare(now()).unwrap();
    a.save(&path).unwrap();
    let read = X509CertificateAuthority::load_or_create(&path, domain("a.test"), X509Settings::default(), now()).unwrap();
    assert_eq!((read.state(), read.authorities(), read.revision()), (a.state(), a.authorities(), a.revision()));
    let svid = svid(&read, "spiffe://a.test/web", now());
    assert!(verify(&svid.certificates, &bundles([&a]), now(), KeyUsage::Client).is_ok());

    let jwt = JwtSigner::load_or_create(&jwt_path, domain("a.test"), JwtSettings::default(), now()).unwrap();
    let again = JwtSigner::load_or_create(&jwt_path, domain("a.test"), JwtSettings::default(), now() + DAY).unwrap();
    assert_eq!((again.state(), again.authorities()), (jwt.state(), jwt.authorities()));
    for path in [path, jwt_path] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_file_that_does_not_fit_is_refused_and_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x509.json");
    authority("a.test", now()).save(&path).unwrap();
    let text = String::from_utf8(files::read_secret(&path).unwrap().to_vec()).unwrap();
    let load = |text: &str, name: &str| {
        files::write_atomic(&path, text.as_bytes(), Mode::Secret).unwrap();
        let error = X509CertificateAuthority::load(&path, domain(name), X509Settings::default()).unwrap_err().to_string();
        assert!(!error.contains("PRIVATE KEY") && !error.contains("MIGH"), "{error}");
        error
    };
    let other: serde_json::Value = {
        let path = folder.path().join("other.json");
        authority("a.test", now()).save(&path).unwrap();
        serde_json::from_slice(&files::read_secret(&path).unwrap()).unwrap()
    };
    let mut mixed: serde_json::Value = serde_json::from_str(&text).unwrap();
    mixed["active"]["certificate"] = other["active"]["certificate"].clone();
    for (error, expected) in [
        (load(&text, "b.test"), "belongs to trust domain a.test, expected b.test"),
        (load(&text[..text.len() / 2], "a.test"), "is not a usable key file: unexpected content at line"),
        (load(&text.replace("BEGIN PRIVATE", "BEGIN PUBLIC"), "a.test"), "is not a usable key file"),
        (load(&text.replace("\"version\": 1", "\"version\": 2"), "a.test"), "this program reads version 1"),
        (load(&mixed.to_string(), "a.test"), "the private key belongs to another certificate"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn no_key_shows_in_debug_output() {
    let a = authority("a.test", now());
    let jwt = JwtSigner::create(domain("a.test"), JwtSettings::default(), now()).unwrap();
    let svid = svid(&a, "spiffe://a.test/web", now());
    let shown = format!("{a:?} {a:#?} {jwt:?} {svid:?}");
    // The DER of every P-256 key in PKCS#8 form begins alike, in each of the forms that bytes are printed in.
    for secret in ["48, 129, 135", "MIGH", "PRIVATE KEY", "308187"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("redacted") && shown.contains("spiffe://a.test/web"));
}
