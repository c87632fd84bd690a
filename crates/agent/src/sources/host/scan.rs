//! One reading of the manifest folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::status::STATUS_SUFFIX;
use crate::view::Origin;
use cofide_runtime::regular_file::{self, Links, ReadError};

use super::index::Scan;

/// A manifest larger than this is refused: nobody writes one, and a wrong file should not be read into memory.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot list the manifest folder {path}: {source}; create it, or correct manifest_dir. Until then its manifests stay in force as they \
     were last read"
)]
pub struct ScanError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Whether a file of this name is a manifest: `*.yaml` and `*.yml`, neither hidden nor a status that the agent wrote.
pub fn is_manifest(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    is_yaml && !name.starts_with('.') && !name.ends_with(STATUS_SUFFIX)
}

/// Reads every manifest of the folder; what goes wrong with one file is told in its place.
pub fn scan(folder: &Path) -> Result<Scan, ScanError> {
    let error = |source| ScanError { path: folder.to_owned(), source };
    let mut scan = Scan::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if !is_manifest(&path) {
            continue;
        }
        match read(&path) {
            Ok(Some(text)) => {
                scan.insert(Origin::File(path), Ok(text));
            }
            Ok(None) => {}
            Err(reason) => {
                scan.insert(Origin::File(path), Err(reason));
            }
        }
    }
    Ok(scan)
}

/// `Ok(None)` where the file is gone since it was listed, or is a folder. Links are followed: manifests are often mounted
/// that way.
fn read(path: &Path) -> Result<Option<String>, String> {
    match regular_file::read(path, Links::Followed, MAX_MANIFEST_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::Folder) => Ok(None),
        // A link to what is not there is a mistake to be told of.
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error @ ReadError::TooLarge(_)) => Err(format!("{error}, which no manifest has")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_are_read_and_a_bad_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("a.yaml", b"a".as_slice()),
            ("b.yml", b"b"),
            ("a.status.yaml", b"ours"),
            (".c.yaml", b"hidden"),
            ("d.yaml.tmp", b"half"),
            ("binary.yaml", b"\xff\xfe"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.yaml")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", folder.path().join("dangling.yaml")).unwrap();
        std::fs::File::create(folder.path().join("large.yaml")).unwrap().set_len(MAX_MANIFEST_BYTES + 1).unwrap();

        nix::unistd::mkfifo(&folder.path().join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/proc/self/pagemap", folder.path().join("endless.yaml")).unwrap();
        std::os::unix::fs::symlink("a.yaml", folder.path().join("link.yaml")).unwrap();

        let scan = scan(folder.path()).unwrap();
        let read: Vec<_> =
            scan.iter().map(|(origin, text)| (origin.to_string().rsplit('/').next().unwrap().to_owned(), text.is_ok())).collect();
        let good = ["a.yaml", "b.yml", "link.yaml"];
        let bad = ["binary.yaml", "dangling.yaml", "endless.yaml", "fifo.yaml", "large.yaml"];
        let mut expected: Vec<_> =
            good.map(|name| (name.to_owned(), true)).into_iter().chain(bad.map(|name| (name.to_owned(), false))).collect();
        expected.sort_unstable();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_and_not_empty() {
        let error = scan(Path::new("/nonexistent/manifests")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/manifests") && error.contains("stay in force"), "{error}");
    }
}
