//! One reading of the manifest folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::index::Scan;
use crate::status::STATUS_SUFFIX;

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
                scan.insert(path, Ok(text));
            }
            Ok(None) => {}
            Err(reason) => {
                scan.insert(path, Err(reason));
            }
        }
    }
    Ok(scan)
}

/// `Ok(None)` where the file is gone since it was listed, or is a folder.
fn read(path: &Path) -> Result<Option<String>, String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(format!("it has {} bytes, a manifest has at most {MAX_MANIFEST_BYTES}", metadata.len()));
    }
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
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

        let scan = scan(folder.path()).unwrap();
        let read: Vec<_> = scan.iter().map(|(path, text)| (path.file_name().unwrap().to_str().unwrap(), text.is_ok())).collect();
        assert_eq!(read, [("a.yaml", true), ("b.yml", true), ("binary.yaml", false), ("dangling.yaml", false), ("large.yaml", false)]);
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_and_not_empty() {
        let error = scan(Path::new("/nonexistent/manifests")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/manifests") && error.contains("stay in force"), "{error}");
    }
}
