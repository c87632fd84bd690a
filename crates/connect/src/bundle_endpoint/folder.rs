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
use cofide_runtime::regular_file::{self, Links};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// The look for whatever was missed, and for files that somebody else has touched.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const MEMORY: &str = "published-bundles.json";
const FILE: &str = "bundle";

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

/// Brings the folder to what the snapshot says; answers how many files that changed. One that stands in the way of its own zone
/// harms no other: the first such error is answered when all others are done.
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
    let mut trouble = None;
    for (name, document) in &wanted {
        match write(&folder.join(name), document) {
            Ok(is_new) => changed += usize::from(is_new),
            Err(error) => drop(trouble.get_or_insert(error)),
        }
    }
    // A zone whose bundle is gone is gone itself: a bundle that is there is never emptied.
    let gone: Vec<String> = remembered.iter().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    for name in &gone {
        match remove(&folder.join(name)) {
            Ok(was_there) => {
                changed += usize::from(was_there);
                remembered.remove(name);
            }
            Err(error) => drop(trouble.get_or_insert(error)),
        }
    }
    if !gone.is_empty() {
        keep(memory, &remembered)?;
    }
    trouble.map_or(Ok(changed), Err)
}

/// Whether there was something to write. Whatever others have put there in the place of the file is replaced and not opened: a
/// FIFO would be waited for.
fn write(place: &Path, document: &str) -> Result<bool, FileError> {
    let file = place.join(FILE);
    if regular_file::read(&file, Links::Followed, document.len() as u64).is_ok_and(|held| held == document) {
        return Ok(false);
    }
    std::fs::create_dir_all(place).map_err(|error| FileError::io("create the folder", place, error))?;
    files::write_atomic(&file, document.as_bytes(), Mode::Public)?;
    Ok(true)
}

/// Whether there was something to remove.
fn remove(place: &Path) -> Result<bool, FileError> {
    let file = place.join(FILE);
    let was_there = match std::fs::remove_file(&file) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => false,
        Err(error) => return Err(FileError::io("remove", &file, error)),
    };
    // Only where nothing of somebody else is in it.
    let _ = std::fs::remove_dir(place);
    Ok(was_there)
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

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::Noun;
    use cofide_test_objects::{bundle, zone};

    fn zones(names: &[&str]) -> Snapshot {
        let zones = names.iter().map(|name| {
            let mut zone = zone(name);
            zone.bundle = Some(bundle(zone.trust_domain.as_str(), 1));
            Noun::from(zone)
        });
        zones.collect::<Vec<_>>().into_iter().collect()
    }

    #[test]
    fn what_stands_in_the_way_of_one_zone_harms_no_other_and_a_pipe_is_not_waited_for() {
        let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (published, memory) = (|name: &str| folder.path().join(name).join(FILE), data.path().join(MEMORY));
        std::fs::write(folder.path().join("a"), "a file where a folder should be").unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        nix::unistd::mkfifo(&published("b"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        let refused = publish(folder.path(), &memory, &zones(&["a", "b", "c"])).unwrap_err();
        assert!(refused.to_string().contains(&folder.path().join("a").display().to_string()), "{refused}");
        for name in ["b", "c"] {
            assert!(std::fs::metadata(published(name)).unwrap().is_file(), "{name}");
        }

        assert!(publish(folder.path(), &memory, &zones(&["a"])).is_err());
        assert!(!published("b").exists() && !published("c").exists(), "the end of a zone is carried out too");
        std::fs::remove_file(folder.path().join("a")).unwrap();
        assert_eq!(publish(folder.path(), &memory, &zones(&["a"])).unwrap(), 1);
        assert_eq!(publish(folder.path(), &memory, &zones(&["a"])).unwrap(), 0, "nothing has changed");
    }
}
