//! docs/conformance.md names the tests that prove a demand; this looks whether they exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::checkout;

const NOT_YET: &str = "not yet";

/// The names of all functions of the Rust files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let signatures = text.lines().filter_map(|line| line.split_once("fn ")).filter(|(before, _)| !before.contains("//"));
            found.extend(signatures.filter_map(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_demand_names_tests_that_exist_or_says_that_there_is_none_yet() {
    let mut known = BTreeSet::new();
    for folder in ["crates", "tests", "examples"] {
        functions(&checkout().join(folder), &mut known);
    }
    let page = std::fs::read_to_string(checkout().join("docs/conformance.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| demand"));
    let mut demands = 0;
    for row in rows {
        let (demand, proof) = row.trim_matches(['|', ' ']).rsplit_once(" | ").unwrap_or_else(|| panic!("no second column: {row}"));
        let named: Vec<_> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || proof.starts_with(NOT_YET), "neither a test nor \"{NOT_YET}\": {row}");
        for name in named {
            // A demand is also proven by a demonstration that fails where it is not met.
            let exists = known.contains(name) || (name.contains('/') && checkout().join(name).exists());
            assert!(exists, "{demand}: there is no {name}");
        }
        demands += 1;
    }
    assert!(demands > 40, "the page has lost its rows: {demands}");
}
