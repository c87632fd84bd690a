//! Files come, change, break and go.

use super::*;
use proptest::prelude::*;

fn own() -> TrustDomain {
    TrustDomain::new("a.test").unwrap()
}

fn service(name: &str, port: &str) -> String {
    format!(
        "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata:\n  name: {name}\n  namespace: demo\nspec:\n  \
         name: {name}\n  namespace: demo\n  exportedTrustDomains:\n  - b.test\n  workloadLabels:\n    app: {name}\n  tlsMode: Mtls\n  \
         port: {port}\n"
    )
}

fn workload(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: {name}\n  namespace: demo\nspec:\n  address: \
         {address}\n  labels:\n    app: {name}\n"
    )
}

fn file(name: impl Into<std::path::PathBuf>) -> Origin {
    Origin::File(name.into())
}

fn scan(files: &[(&str, &str)]) -> Scan {
    files.iter().map(|(name, text)| (file(name), Ok((*text).to_owned()))).collect()
}

/// `name` or `name:port` for each service in force, oldest first; `!` marks one whose present text is not valid.
fn services(view: &ClusterView) -> Vec<String> {
    let show = |service: &ServiceObject| {
        let port = service.spec.as_ref().map_or("none".to_owned(), |spec| spec.port.to_string());
        format!("{}:{port}{}", service.key.name, if service.problems.is_empty() { "" } else { "!" })
    };
    view.services.iter().map(show).collect()
}

#[test]
fn the_first_seen_is_the_oldest_also_after_a_restart() {
    let mut index = Index::default();
    index.update(&own(), &scan(&[("z.yaml", &service("zebra", "1"))]));
    let kept = serde_json::to_string(&index).unwrap();
    let mut index: Index = serde_json::from_str(&kept).unwrap();
    let view = index.update(&own(), &scan(&[("a.yaml", &service("ant", "1")), ("z.yaml", &service("zebra", "1"))]));
    assert_eq!(services(&view), ["zebra:1", "ant:1"]);
    let view = index.update(&own(), &scan(&[("a.yaml", &service("ant", "1")), ("moved.yaml", &service("zebra", "1"))]));
    assert_eq!(services(&view), ["zebra:1", "ant:1"], "moving a manifest to another file makes it no younger");
}

#[test]
fn a_generation_counts_changes_of_meaning() {
    let mut index = Index::default();
    let mut generation = |text: &str| index.update(&own(), &scan(&[("a.yaml", text)])).services[0].generation;
    assert_eq!(generation(&service("one", "1")), 1);
    assert_eq!(generation(&format!("# a remark\n{}", service("one", "1"))), 1);
    assert_eq!(generation(&service("one", "2")), 2);
    assert_eq!(generation(&service("one", "nonsense")), 3, "a wrong version is a version too");
    assert_eq!(generation(&service("one", "2")), 4);
}

#[test]
fn a_text_cut_anywhere_withdraws_nothing() {
    let whole = format!("{}---\n{}---\n{}", service("one", "1001"), service("two", "1002"), workload("one", "127.0.0.1"));
    for cut in 0..whole.len() {
        let mut index = Index::default();
        index.update(&own(), &scan(&[("a.yaml", &whole)]));
        let half = &whole[..cut];
        let view = index.update(&own(), &scan(&[("a.yaml", half)]));
        // What is valid as far as it goes cannot be told from an edit that ends there; everything else keeps everything.
        let results = manifest::read_manifests(half);
        let is_whole = |result: &Result<Manifest, _>| result.as_ref().is_ok_and(|manifest| check(manifest, &own()).1.is_ok());
        if results.is_empty() || !results.iter().all(is_whole) {
            let in_force = view.services.iter().filter(|service| service.spec.is_some()).count();
            assert_eq!((in_force, view.workloads.len()), (2, 1), "cut at {cut}:\n{half}");
        }
        let view = index.update(&own(), &scan(&[("a.yaml", &whole)]));
        assert_eq!(services(&view), ["one:1001", "two:1002"], "cut at {cut}, then whole again");
    }
}

#[test]
fn an_invalid_object_keeps_its_last_valid_version_and_harms_no_other() {
    let mut index = Index::default();
    let both = |port: &str| format!("{}---\n{}", service("one", port), service("two", "2"));
    index.update(&own(), &scan(&[("a.yaml", &both("1"))]));
    let view = index.update(&own(), &scan(&[("a.yaml", &both("70000"))]));
    assert_eq!(services(&view), ["one:1!", "two:2"]);
    assert!(view.services[0].problems[0].contains("spec.port"), "{:?}", view.services[0].problems);

    let kept = serde_json::to_string(&index).unwrap();
    let mut index: Index = serde_json::from_str(&kept).unwrap();
    let view = index.update(&own(), &scan(&[("a.yaml", &both("70000"))]));
    assert_eq!(services(&view), ["one:1!", "two:2"], "also after a restart");
}

#[test]
fn an_object_that_was_never_valid_is_in_the_view_without_a_specification() {
    let view = Index::default().update(&own(), &scan(&[("a.yaml", &service("one", "0"))]));
    assert_eq!(services(&view), ["one:none!"]);
}

#[test]
fn objects_without_a_name_are_told_apart_by_their_place() {
    let nameless = service("one", "1").replacen("  name: one\n", "", 1);
    let view = Index::default().update(&own(), &scan(&[("a.yaml", &nameless), ("b.yaml", &nameless)]));
    assert_eq!(services(&view), [""; 0]);
    for name in ["a.yaml", "b.yaml"] {
        let problem = &view.problems[&file(name)][0];
        assert!(problem.starts_with("document 1: metadata.name"), "{problem}");
    }
}

#[test]
fn a_deleted_object_is_gone_but_not_while_its_file_is_in_doubt() {
    let mut index = Index::default();
    let both = format!("{}---\n{}", service("one", "1"), service("two", "2"));
    index.update(&own(), &scan(&[("a.yaml", &both)]));
    let view = index.update(&own(), &scan(&[("a.yaml", &format!("{}---\nkind: [half", service("one", "1")))]));
    assert_eq!(services(&view), ["one:1", "two:2!"]);
    assert!(view.problems[&file("a.yaml")][0].starts_with("document 2"), "{:?}", view.problems);
    let view = index.update(&own(), &scan(&[("a.yaml", "")]));
    assert_eq!(services(&view), ["one:1!", "two:2!"], "an emptied file is about to be written");
    let view = index.update(&own(), &Scan::from([(file("a.yaml"), Err("permission denied".to_owned()))]));
    assert_eq!(services(&view), ["one:1!", "two:2!"]);
    let view = index.update(&own(), &scan(&[("a.yaml", &service("one", "1"))]));
    assert_eq!(services(&view), ["one:1"]);
    let view = index.update(&own(), &Scan::new());
    assert_eq!(services(&view), [""; 0]);
    assert_eq!(index.objects, [], "what is gone is forgotten");
}

#[test]
fn after_a_loss_of_memory_the_view_is_incomplete_until_everything_has_been_valid_once() {
    let whole = format!("{}---\n{}", service("one", "1"), service("two", "2"));
    let half = [("a.yaml", service("one", "0")), ("a.yaml", "{".to_owned()), ("a.yaml", String::new())];
    for (name, text) in half {
        let mut index = Index::without_memory();
        assert!(index.update(&own(), &scan(&[(name, &text)])).incomplete, "{text:?}");
        let kept = serde_json::to_string(&index).unwrap();
        let mut index: Index = serde_json::from_str(&kept).unwrap();
        assert!(index.update(&own(), &scan(&[(name, &text)])).incomplete, "also after another restart: {text:?}");
        assert!(!index.update(&own(), &scan(&[(name, &whole)])).incomplete);
        assert!(!index.update(&own(), &scan(&[(name, &text)])).incomplete, "what breaks from now on has a last valid version");
    }
    assert!(!Index::without_memory().update(&own(), &scan(&[("a.yaml", &whole)])).incomplete);
    assert!(!Index::default().update(&own(), &scan(&[("a.yaml", "{")])).incomplete, "a first start has nothing to lose");
}

#[test]
fn an_object_that_is_described_twice_stays_where_it_was_first() {
    let mut index = Index::default();
    index.update(&own(), &scan(&[("b.yaml", &service("one", "1"))]));
    let view = index.update(&own(), &scan(&[("a.yaml", &service("one", "2")), ("b.yaml", &service("one", "1"))]));
    assert_eq!(services(&view), ["one:1"]);
    let problem = &view.problems[&file("a.yaml")][0];
    assert!(problem.contains("demo/one") && problem.contains("b.yaml"), "{problem}");
}

#[test]
fn a_bad_workload_is_told_in_its_file_and_a_foreign_kind_casts_no_doubt() {
    let mut index = Index::default();
    let foreign = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    let text = format!("{}---\n{foreign}---\n{}", workload("one", "unix:///run/x.sock"), service("one", "1"));
    let view = index.update(&own(), &scan(&[("a.yaml", &text)]));
    let problems = &view.problems[&file("a.yaml")];
    assert!(problems.iter().any(|problem| problem.contains("demo/one") && problem.contains("spec.address")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("ConfigMap") && problem.contains("ignored")), "{problems:?}");
    assert_eq!(services(&view), ["one:1"]);
    let view = index.update(&own(), &scan(&[("a.yaml", foreign)]));
    assert_eq!(services(&view), [""; 0]);
}

proptest! {
    #[test]
    fn reading_the_same_files_again_changes_nothing(
        steps in proptest::collection::vec(proptest::collection::btree_map("[ab]\\.yaml", 0..7u8, 0..3), 1..5),
    ) {
        let text = |kind: &u8| match kind {
            0 => service("one", "1"),
            1 => service("one", "2"),
            2 => service("two", "x"),
            3 => format!("{}---\n{}", service("two", "2"), workload("two", "127.0.0.1")),
            4 => workload("two", "nowhere at all"),
            5 => String::new(),
            _ => "{".to_owned(),
        };
        let mut index = Index::default();
        for step in steps {
            let scan: Scan = step.iter().map(|(name, kind)| (file(name), Ok(text(kind)))).collect();
            let view = index.update(&own(), &scan);
            let before = index.clone();
            prop_assert_eq!(index.update(&own(), &scan), view);
            prop_assert_eq!(&index, &before);
        }
    }
}
