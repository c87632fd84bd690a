//! Makes the files of the repository that follow from the code: `cargo run -p xtask -- crd`.

mod reference;

use std::path::Path;

use anyhow::Context;
use clap::Parser;
use cofide_k8s_api::federated_service::crd;

#[derive(Parser)]
#[command(about = "Makes the files of the repository that follow from the code")]
enum Task {
    /// Write the CustomResourceDefinition into the chart, and its reference into the documentation
    Crd,
}

const DEFINITION: &str = "charts/cofide-agent/crds/federatedservices.registry.cofide.io.yaml";
const REFERENCE: &str = "docs/kubernetes/federated-service.md";

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Crd => {
            write(DEFINITION, &crd::yaml())?;
            write(REFERENCE, &reference::federated_service()?)
        }
    }
}

/// Writes a file below the root of the repository, wherever the command was given.
fn write(path: &str, text: &str) -> anyhow::Result<()> {
    let path = root().join(path);
    let folder = path.parent().context("a file of the repository is in a folder of it")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("xtask: wrote {}", path.display());
    Ok(())
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
