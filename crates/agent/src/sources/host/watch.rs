//! Says when the manifest folder may have changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::scan::is_manifest;
use crate::published::Wake;

/// Editors write in several steps; the folder is read when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(100);
/// A folder that is written to without pause is read all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A watch on a folder, until it is dropped.
#[derive(Debug)]
pub struct Watching {
    _watcher: RecommendedWatcher,
    /// Device and inode: a folder that was deleted and made again is another one.
    folder: Option<(u64, u64)>,
}

impl Watching {
    /// Whether the watch is on the folder that has this name now.
    pub fn is_of(&self, folder: &Path) -> bool {
        self.folder.is_some() && self.folder == identity(folder)
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Wakes at changes to manifests in `folder`, once for a burst of them, until `shutdown`.
///
/// Reading a file and writing a status beside it wake nobody.
///
/// # Errors
///
/// When the system cannot watch the folder. The timer of the reader still finds every change, only later.
pub fn watch(folder: &Path, wake: Wake, shutdown: CancellationToken) -> notify::Result<Watching> {
    // One place is enough: a wake-up means "look", and one that waits means it already.
    let (sender, mut events) = mpsc::channel::<()>(1);
    let mut watcher: RecommendedWatcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = match &event {
            Ok(event) => !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_manifest(path)),
            // An overflow says that something was lost.
            Err(_) => true,
        };
        if matters {
            let _ = sender.try_send(());
        }
    })?;
    let watched = identity(folder);
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    tokio::spawn(async move {
        // Ends with the watcher, which holds the sender.
        let run = async {
            while events.recv().await.is_some() {
                let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {} };
                let _ = tokio::time::timeout(LONGEST_WAIT, quiet).await;
                wake.wake();
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = run => {}
        }
    });
    Ok(Watching { _watcher: watcher, folder: watched })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_change_wakes_and_a_status_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (wake, shutdown) = (Wake::default(), CancellationToken::new());
        let watching = watch(folder.path(), wake.clone(), shutdown.clone()).unwrap();
        assert!(watching.is_of(folder.path()));

        std::fs::write(folder.path().join("a.yaml"), "a").unwrap();
        tokio::time::timeout(DEADLINE, wake.woken()).await.expect("a new file wakes");
        // What comes after a status in the stream of events shows that the status passed without a wake-up.
        std::fs::write(folder.path().join("a.status.yaml"), "ours").unwrap();
        std::fs::read(folder.path().join("a.yaml")).unwrap();
        assert!(tokio::time::timeout(QUIET * 3, wake.woken()).await.is_err(), "a status or a reader woke the source");
        std::fs::rename(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
        tokio::time::timeout(DEADLINE, wake.woken()).await.expect("a rename wakes");
        std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
        tokio::time::timeout(DEADLINE, wake.woken()).await.expect("a deletion wakes");
        shutdown.cancel();
    }
}
