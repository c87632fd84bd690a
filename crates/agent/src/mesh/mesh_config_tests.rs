use super::*;

/// As Istio's chart writes it, and an operator goes on.
const CHART: &str = "\
# The trust domain corresponds to the trust root of a system.
trustDomain: \"cluster.local\" # the chart's own
rootNamespace: istio-system

defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  proxyMetadata:
    ISTIO_META_DNS_CAPTURE: \"true\"
caCertificates:
- pem: |
    -----BEGIN CERTIFICATE-----
    MIIB
    -----END CERTIFICATE-----

  trustDomains:
  - c.example

# What follows stays.
enablePrometheusMerge: yes
outboundTrafficPolicy: {mode: ALLOW_ANY}";

fn managed(accepted: &[&str], added_before: &[&str]) -> Managed {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let accepted = accepted.iter().map(|text| TrustDomain::new(text).unwrap()).collect();
    Managed { trust_domain: TrustDomain::new("a.example").unwrap(), accepted: Some(accepted), added_before: texts(added_before) }
}

fn texts(set: &BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

fn accepted(text: &str) -> Vec<String> {
    MeshConfig::read(text).unwrap().accepted.into_iter().collect()
}

#[test]
fn what_is_needed_is_written_and_everything_else_stays_as_it_was() {
    let edited = edit(CHART, &managed(&["b.example", "c.example"], &[])).unwrap().unwrap();
    let (before, mut after) = (parse(CHART).unwrap(), parse(&edited.text).unwrap());
    assert_eq!(after[TRUST_DOMAIN], "a.example");
    assert_eq!(after[CA_CERTIFICATES][0], before[CA_CERTIFICATES][0], "the certificate is the same");
    assert_eq!(after[CA_CERTIFICATES][1], json!({ "trustDomains": ["b.example"] }), "c.example is accepted already");
    for key in [TRUST_DOMAIN, CA_CERTIFICATES] {
        after[key] = before[key].clone();
    }
    assert_eq!(after, before);
    for comment in ["# The trust domain corresponds to", "# What follows stays.\nenablePrometheusMerge: yes\n"] {
        assert!(edited.text.contains(comment), "{}", edited.text);
    }
    assert_eq!(texts(&edited.added), ["b.example"]);
    assert!(edited.changes[0].contains("cluster.local") && edited.changes[0].contains("a.example"), "{:?}", edited.changes);
    assert!(!edited.changes[1].contains("MIIB"), "{:?}", edited.changes);
    assert!(!edited.text.contains(ALIASES));
}

#[test]
fn what_is_as_it_should_be_is_not_written_again() {
    let edited = edit(CHART, &managed(&["b.example"], &[])).unwrap().unwrap();
    assert_eq!(edit(&edited.text, &managed(&["b.example"], &["b.example"])).unwrap(), None);
}

#[test]
fn what_is_wanted_no_more_goes_and_what_others_wrote_beside_it_stays() {
    let ours = "trustDomain: a.example\ncaCertificates:\n- trustDomains: [b.example, d.example]\n";
    let after = edit(ours, &managed(&[], &["b.example"])).unwrap().unwrap();
    assert_eq!(accepted(&after.text), ["d.example"]);
    assert_eq!(texts(&after.added), [""; 0]);
    let gone = edit(&after.text, &managed(&[], &["d.example"])).unwrap().unwrap();
    assert_eq!(gone.text, "trustDomain: a.example\n");
    // One that somebody else wants too is not ours to take away later.
    assert_eq!(edit(ours, &managed(&["b.example", "d.example"], &[])).unwrap(), None);
}

#[test]
fn the_list_is_left_alone_where_it_is_not_to_be_managed() {
    let managed = Managed { accepted: None, ..managed(&[], &["b.example"]) };
    let text = "caCertificates:\n- trustDomains: [b.example]\ntrustDomain: old.example\n";
    let edited = edit(text, &managed).unwrap().unwrap();
    assert_eq!(edited.text, "caCertificates:\n- trustDomains: [b.example]\ntrustDomain: \"a.example\"\n");
    assert_eq!(texts(&edited.added), ["b.example"]);
}

#[test]
fn every_form_of_yaml_keeps_its_meaning() {
    let forms = [
        "",
        "{}",
        "---\ntrustDomain: x\n",
        "trustDomain: x",
        "\"trustDomain\": x\nother: [1, 2]\n",
        "trustDomain:\n  x\nother: 1.5\n",
        "{\"trustDomain\": \"x\", \"defaultConfig\": {\"trustDomain\": \"inner\", \"concurrency\": 0}}",
        "defaultConfig:\n  trustDomain: inner\n  text: |\n    trustDomain: text\n",
        "base: &base {a: b}\nother: *base\ntrustDomainAliases: []\n",
        "trustDomain : x\n",
        "key: >-\n  folded\n  text\n\n\n# the end\n",
    ];
    for text in forms {
        let before = parse(text).unwrap();
        let edited = edit(text, &managed(&["b.example"], &[])).unwrap().unwrap();
        let mut after = parse(&edited.text).unwrap_or_else(|error| panic!("{text:?} became {:?}: {error}", edited.text));
        assert_eq!(after.remove(TRUST_DOMAIN).unwrap(), "a.example", "{text:?}");
        assert_eq!(after.remove(CA_CERTIFICATES).unwrap(), json!([{ "trustDomains": ["b.example"] }]), "{text:?}");
        let mut rest = before.clone();
        rest.remove(TRUST_DOMAIN);
        assert_eq!(after, rest, "{text:?}");
    }
}

#[test]
fn what_is_not_a_map_is_an_error_and_what_is_of_another_type_counts_as_missing() {
    for text in ["- a\n", "text", "a: b: c", "a: [", "a: 1\na: 2\n"] {
        assert!(MeshConfig::read(text).is_err(), "{text:?}");
        assert!(edit(text, &managed(&[], &[])).is_err(), "{text:?}");
    }
    let odd = MeshConfig::read("trustDomain: 7\ntrustDomainAliases: a\ncaCertificates: {trustDomains: [x]}\n").unwrap();
    assert_eq!(odd, MeshConfig::default());
    assert_eq!(accepted(CHART), ["c.example"]);
}

#[test]
fn what_would_have_to_be_written_anew_and_might_mean_something_else_then_is_left_alone() {
    for text in ["{trustDomain: x, enablePrometheusMerge: yes}", "? trustDomain\n: x\nenablePrometheusMerge: yes\n"] {
        assert!(matches!(edit(text, &managed(&[], &[])), Err(Unusable::NotEditable(key)) if key == TRUST_DOMAIN), "{text:?}");
    }
}
