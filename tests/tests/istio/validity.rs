//! What Istio's own tools say about the goldens of the renderer.

use std::path::{Path, PathBuf};
use std::process::Command;

use cofide_testkit::lab::install;

/// The goldens as files that can be applied, one for each.
fn goldens() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/agent/src/render/istio/snapshots");
    let mut files = Vec::new();
    for snapshot in std::fs::read_dir(snapshots).unwrap() {
        let snapshot = snapshot.unwrap().path();
        let text = std::fs::read_to_string(&snapshot).unwrap();
        // Between its first two lines of dashes, a snapshot speaks of itself.
        let (_, objects) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
        let file = folder.path().join(snapshot.file_name().unwrap()).with_extension("yaml");
        std::fs::write(&file, objects).unwrap();
        files.push(file);
    }
    assert!(files.len() > 5, "{files:?}");
    files.sort();
    (folder, files)
}

#[tokio::test]
async fn istioctl_finds_every_object_valid() {
    let istioctl = install("istio").await.unwrap().join("istioctl");
    let (_folder, files) = goldens();
    for file in files {
        let checked = Command::new(&istioctl).args(["validate", "-f"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", file.display());
        // It warns of every EnvoyFilter, whatever is in it.
        let warnings = said.lines().filter(|line| line.trim_start().starts_with('*') && !line.contains("* EnvoyFilter/"));
        assert_eq!(warnings.collect::<Vec<_>>(), [""; 0], "{}", file.display());
    }
}

#[tokio::test]
async fn istioctl_analyze_finds_nothing_wrong_with_any_service_by_itself() {
    let istioctl = install("istio").await.unwrap().join("istioctl");
    let (_folder, files) = goldens();
    for file in files {
        let checked =
            Command::new(&istioctl).args(["analyze", "--use-kube=false", "--failure-threshold=Warning"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", file.display());
    }
}
