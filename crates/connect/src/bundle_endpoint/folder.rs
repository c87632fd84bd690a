//! The bundle of every trust zone in a file, `<folder>/<trust zone>/bundle`, for a web server, a synchronised bucket or a
//! carrier on foot.
//!
//! What was written is remembered in the data folder: only that is ever taken away again, also where a zone went while
//! nobody was there to see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofide_bundle_endpoint::document;
use cofide_plan::Snapshot;
use cofide_runtime::files::{self, FileError, Mode};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// The look for whatever was missed, and for files that somebody else has touched.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const MEMORY: &str = "published-bundles.json";

/// Follows the hub until `stop`.
pub async fn run(folder: PathBuf, data_dir: PathBuf, hub: Hub, stop: CancellationToken) {
    let mut changes = hub.trust_changes();
    let mut last_trouble = None;
    loop {
        let (folder, data_dir, snapshot) = (folder.clone(), data_dir.clone(), hub.snapshot());
        let published = tokio::task::spawn_blocking(move || publish(&folder, &data_dir.join(MEMORY), &snapshot)).await;
        let trouble = match published {
            Ok(Ok(0)) => None,
            Ok(Ok(files)) => {
                tracing::info!(files, "bundles published");
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        // The same again is news to nobody.
        if let Some(error) = trouble.as_ref().filter(|trouble| last_trouble.as_ref() != Some(*trouble)) {
            tracing::error!(error, "bundles are not published; partners keep what they have");
        }
        last_trouble = trouble;
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Brings the folder to what the snapshot says; answers how many files that changed.
fn publish(folder: &Path, memory: &Path, snapshot: &Snapshot) -> Result<usize, FileError> {
    let mut remembered = recall(memory)?;
    let wanted: BTreeMap<String, String> =
        snapshot.trust_zones().filter_map(|zone| Some((zone.name.to_string(), document(zone.bundle.as_ref()?)))).collect();
    let mut changed = 0;
    // Remembered before it is written: what is left after a crash between the two is taken away all the same.
    let before = remembered.len();
    remembered.extend(wanted.keys().cloned());
    if remembered.len() != before {
        keep(memory, &remembered)?;
    }
    for (name, document) in &wanted {
        let place = folder.join(name);
        let file = place.join("bundle");
        if std::fs::read(&file).is_ok_and(|held| held == document.as_bytes()) {
            continue;
        }
        std::fs::create_dir_all(&place).map_err(|error| FileError::io("create the folder", &place, error))?;
        files::write_atomic(&file, document.as_bytes(), Mode::Public)?;
        changed += 1;
    }
    // A zone whose bundle is gone is gone itself: a bundle that is there is never emptied.
    let gone: Vec<String> = remembered.iter().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    for name in &gone {
        let place = folder.join(name);
        let file = place.join("bundle");
        match std::fs::remove_file(&file) {
            Ok(()) => changed += 1,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::io("remove", &file, error)),
        }
        // Only where nothing of somebody else is in it.
        let _ = std::fs::remove_dir(&place);
        remembered.remove(name);
    }
    if !gone.is_empty() {
        keep(memory, &remembered)?;
    }
    Ok(changed)
}

fn recall(memory: &Path) -> Result<BTreeSet<String>, FileError> {
    match std::fs::read(memory) {
        Ok(text) => {
            let names: Vec<String> = serde_json::from_slice(&text)
                .map_err(|error| FileError::io("read", memory, std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
            Ok(names.into_iter().collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(FileError::io("read", memory, error)),
    }
}

fn keep(memory: &Path, names: &BTreeSet<String>) -> Result<(), FileError> {
    let text = serde_json::to_vec(&names).expect("names are JSON");
    files::write_atomic(memory, &text, Mode::Secret)
}
