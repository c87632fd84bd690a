//! The real definitions judge what we write.

use cofide_k8s_api::{spire, testdata};
use cofide_testkit::lab::Lab;
use cofide_testkit::wait::works;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::Value;

/// The goldens of the renderer.
fn goldens() -> Vec<Value> {
    let snapshots = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/agent/src/render/spire/snapshots");
    let mut objects = Vec::new();
    for snapshot in std::fs::read_dir(snapshots).unwrap() {
        let text = std::fs::read_to_string(snapshot.unwrap().path()).unwrap();
        // Between its first two lines of dashes, a snapshot speaks of itself.
        let (_, documents) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
        objects.extend(serde_saphyr::from_multiple::<Value>(documents).unwrap());
    }
    assert!(objects.len() > 4, "{objects:?}");
    objects
}

#[tokio::test]
async fn spire_controller_manager_knows_every_field_that_we_write() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.install_spire_kinds().await.unwrap();
    let client = cluster.client().unwrap();
    for object in testdata::spire_objects().into_iter().chain(goldens()) {
        let kind = spire::kinds().into_iter().find(|kind| kind.kind == object["kind"]).unwrap();
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let strict = PatchParams { dry_run: true, ..PatchParams::apply("test").validation_strict() };
        works("the kind is served, and the object accepted as it is", async || {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let accepted = api.patch(name, &strict, &Patch::Apply(&object)).await?;
            anyhow::ensure!(accepted.data["spec"] == object["spec"], "{:#}", accepted.data);
            Ok(())
        })
        .await;
    }
}
