use super::*;
use crate::mesh::sds::{Answer, Answers};

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn places() -> Places {
    Places { config_map: "istio-system/istio".to_owned(), istiod: "istio-system/istiod".to_owned() }
}

fn needed(admitted: &[&str]) -> Needed {
    let federated = ["b.example", "c.example"].map(domain).into();
    Needed { own: domain("a.example"), federated, admitted: admitted.iter().map(|name| domain(name)).collect(), is_whole: true }
}

fn held(domains: &[&str]) -> Answer {
    Answer::Bundles(domains.iter().map(|name| (*name).to_owned()).collect())
}

/// As SPIRE answers for its two names, where the agent's own identity has these bundles.
fn own_bundle() -> Answers {
    Answers { present: held(&["a.example"]), old: Answer::Plain, insisting: held(&["a.example"]) }
}

fn all_bundles(domains: &[&str]) -> Answers {
    Answers { present: held(domains), old: Answer::Nothing, insisting: held(domains) }
}

fn for_istio() -> Secrets {
    Secrets { root_ca: all_bundles(&["a.example"]), all: Answers::NONE }
}

fn istiod(skip: Option<&str>) -> Istiod {
    Istiod { skip_validation: Sight::Seen(skip.map(str::to_owned)), shared_mesh_config: Sight::Seen(None) }
}

fn config(text: &str) -> Sight<MeshConfig> {
    Sight::Seen(MeshConfig::read(text).unwrap())
}

fn as_it_should_be() -> Seen {
    Seen { mesh_config: config("trustDomain: a.example"), istiod: istiod(Some("true")), secrets: Sight::Seen(for_istio()) }
}

/// One line for each finding: what it is about and what was found, and for whom that matters.
fn told(needed: &Needed, seen: &Seen) -> Vec<String> {
    let found = findings(&places(), needed, seen);
    let line = |finding: &Finding| {
        let key = finding.setting();
        let value = match &finding.found {
            Found::Value(value) => format!("is {value}"),
            Found::Unknown(reason) => format!("is unknown: {reason}"),
        };
        let Concerns { exports_to, imports } = &finding.concerns;
        let mut concerns: Vec<_> = exports_to.iter().map(ToString::to_string).collect();
        concerns.extend(imports.then(|| "imports".to_owned()));
        format!("{key} {value} [{}]", concerns.join(" "))
    };
    found.0.iter().map(line).collect()
}

#[test]
fn a_mesh_that_is_as_it_should_be_has_no_finding() {
    assert_eq!(told(&needed(&["b.example"]), &as_it_should_be()), [""; 0]);
    let listed = config("{trustDomain: a.example, trustDomainAliases: [a.example], caCertificates: [{trustDomains: [b.example]}]}");
    let seen = Seen { mesh_config: listed, istiod: istiod(None), ..as_it_should_be() };
    assert_eq!(told(&needed(&["b.example"]), &seen), [""; 0], "where istiod asks, a list of trust domains does");
}

#[test]
fn each_key_of_the_mesh_configuration_is_told_with_what_it_is() {
    let cases: [(&str, &[&str]); 7] = [
        ("trustDomain: cluster.local", &["trustDomain is cluster.local [b.example]"]),
        ("rootNamespace: istio-system", &["trustDomain is not set, which is cluster.local [b.example]"]),
        ("", &["trustDomain is not set, which is cluster.local [b.example]"]),
        // An alias of no partner merges nobody whom the mesh could verify, and is told all the same.
        ("{trustDomain: a.example, trustDomainAliases: [old.example]}", &["trustDomainAliases is old.example []"]),
        (
            "{trustDomain: a.example, trustDomainAliases: [c.example, b.example, a.example]}",
            &["trustDomainAliases is b.example, c.example [b.example]"],
        ),
        ("{trustDomain: a.example, trustDomainAliases: [c.example]}", &["trustDomainAliases is c.example [b.example]"]),
        (
            "{trustDomain: b.example, trustDomainAliases: [cluster.local]}",
            &["trustDomain is b.example [b.example]", "trustDomainAliases is cluster.local []"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(told(&needed(&["b.example"]), &Seen { mesh_config: config(text), ..as_it_should_be() }), expected, "{text}");
    }
}

#[test]
fn whom_sidecars_refuse_at_the_handshake_is_told_by_name() {
    let with = |skip, text| Seen { mesh_config: config(text), istiod: istiod(skip), ..as_it_should_be() };
    let both = needed(&["b.example", "c.example"]);
    let validating = with(None, "trustDomain: a.example");
    assert_eq!(told(&both, &validating), ["PILOT_SKIP_VALIDATE_TRUST_DOMAIN is not set [b.example c.example]"]);
    assert_eq!(told(&needed(&[]), &validating), [""; 0], "no service asks for it");
    let listed = "{trustDomain: a.example, caCertificates: [{pem: X, trustDomains: [c.example]}, {trustDomains: [d.example]}]}";
    assert_eq!(told(&both, &with(Some("false"), listed)), ["PILOT_SKIP_VALIDATE_TRUST_DOMAIN is false [b.example]"]);
    assert_eq!(
        told(&both, &with(Some("yes"), listed)),
        ["PILOT_SKIP_VALIDATE_TRUST_DOMAIN is yes [b.example]"],
        "istiod reads that as false"
    );
    let found = findings(&places(), &both, &with(None, listed));
    let text = found.0.first().unwrap().to_string();
    assert!(text.contains("Deployment istio-system/istiod") && text.contains("list b.example in caCertificates[].trustDomains"), "{text}");
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_concerns_nobody() {
    let some = needed(&["b.example"]);
    let gone = "there is no ConfigMap istio-system/istio";
    let no_config = Seen { mesh_config: Sight::Unknown(gone.to_owned()), ..as_it_should_be() };
    assert_eq!(told(&some, &no_config), [format!("trustDomain is unknown: {gone} []")]);
    let no_istiod = Seen { istiod: Istiod::unknown("no right"), ..as_it_should_be() };
    assert_eq!(told(&some, &no_istiod), ["PILOT_SKIP_VALIDATE_TRUST_DOMAIN is unknown: no right []"]);
    let listed = config("{trustDomain: a.example, caCertificates: [{trustDomains: [b.example]}]}");
    assert_eq!(told(&some, &Seen { mesh_config: listed, ..no_istiod }), [""; 0], "whatever istiod says");
    // What istiod refuses is known, and what it may accept elsewhere is not.
    let neither = Seen { istiod: istiod(None), ..no_config };
    let lines = told(&some, &neither);
    assert!(lines[0].starts_with("PILOT_SKIP_VALIDATE_TRUST_DOMAIN is unknown: it is not, but caCertificates[].trustDomains"), "{lines:?}");
    let no_sds = Seen { secrets: Sight::Unknown("nobody there".to_owned()), ..as_it_should_be() };
    assert_eq!(told(&some, &no_sds), ["the is unknown: nobody there []"]);
}

#[test]
fn a_second_config_map_of_istiod_may_say_what_the_first_does_not() {
    let shared = Istiod { shared_mesh_config: Sight::Seen(Some("company".to_owned())), ..istiod(None) };
    let seen = Seen { mesh_config: config("rootNamespace: x"), istiod: shared.clone(), ..as_it_should_be() };
    let lines = told(&needed(&["b.example"]), &seen);
    assert!(lines.iter().all(|line| line.contains("unknown") && line.contains("company") && line.ends_with("[]")), "{lines:?}");
    assert_eq!(lines.len(), 2);
    // What the first one says counts.
    let seen = Seen { mesh_config: config("trustDomain: cluster.local"), istiod: shared, ..as_it_should_be() };
    assert_eq!(told(&needed(&[]), &seen), ["trustDomain is cluster.local []"]);
}

#[test]
fn the_names_of_secrets_are_told_apart_by_what_they_hold_and_by_how_an_old_envoy_is_answered() {
    let usual = Secrets { root_ca: own_bundle(), all: all_bundles(&["a.example"]) };
    let seeing = Secrets { root_ca: own_bundle(), all: all_bundles(&["a.example", "b.example"]) };
    let elsewhere = Secrets { root_ca: own_bundle(), all: Answers::NONE };
    let unserved = Secrets { root_ca: Answers::NONE, all: all_bundles(&["a.example"]) };
    let nothing = Secrets { root_ca: Answers::NONE, all: Answers::NONE };
    let lists = Answers { present: Answer::Plain, old: Answer::Plain, insisting: held(&["a.example"]) };
    let insisting = Answers { present: Answer::Nothing, old: Answer::Nothing, insisting: held(&["a.example"]) };
    let bundle = "default_bundle_name is ROOTCA [b.example imports]";
    let all = "default_all_bundles_name is ALL [b.example imports]";
    let neither = "default_all_bundles_name is neither that nor ALL [b.example imports]";
    let disabled = "disable_spiffe_cert_validation is true [b.example imports]";
    let cases: [(&str, Secrets, &[&str]); 9] = [
        ("for Istio", for_istio(), &[]),
        ("for Istio, with a partner", Secrets { root_ca: all_bundles(&["a.example", "b.example"]), all: Answers::NONE }, &[]),
        ("SPIRE's own names", usual, &[all, bundle]),
        ("SPIRE's own names, with a partner", seeing, &[all, bundle]),
        ("both are ROOTCA, or the other one is called something else", elsewhere, &[bundle]),
        ("only the first name was changed", unserved, &[all]),
        ("other names", nothing, &[neither]),
        ("without the validator", Secrets { root_ca: insisting, all: Answers::NONE }, &[disabled]),
        ("SPIRE's own names, without the validator", Secrets { root_ca: lists, all: Answers::NONE }, &[bundle, disabled]),
    ];
    for (name, secrets, expected) in cases {
        let seen = Seen { secrets: Sight::Seen(secrets), ..as_it_should_be() };
        assert_eq!(told(&needed(&["b.example"]), &seen), expected, "{name}");
    }
}

#[test]
fn a_server_that_makes_no_difference_between_envoys_is_told_by_its_bundles_or_not_at_all() {
    let same = |domains: &[&str]| Answers { present: held(domains), old: held(domains), insisting: held(domains) };
    let of = |root_ca: Answers, all: Answers| {
        let seen = Seen { secrets: Sight::Seen(Secrets { root_ca, all }), ..as_it_should_be() };
        told(&needed(&[]), &seen)
    };
    assert_eq!(of(same(&["a.example", "b.example"]), same(&["a.example"])), [""; 0]);
    assert_eq!(
        of(same(&["a.example"]), same(&["a.example", "b.example"])),
        ["default_all_bundles_name is ALL [imports]", "default_bundle_name is ROOTCA [imports]",]
    );
    let alike = of(same(&["a.example"]), same(&["a.example"]));
    assert!(matches!(alike.as_slice(), [line] if line.contains("is unknown") && line.ends_with("[]")), "{alike:?}");
}
