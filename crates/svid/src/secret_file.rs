//! Files that hold a secret: readable by their owner alone, and never seen half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is accessible to others (mode {mode:03o}); run `chmod 600 {}`", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
}

impl SecretFileError {
    /// Whether there simply is no such file, as opposed to one that cannot be used.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Writes the file with mode 0600 and replaces what was there in one step: a reader sees the old content or the new,
/// also after a crash.
pub fn write(path: &Path, content: &[u8]) -> Result<(), SecretFileError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let failed = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| SecretFileError::Io { action, path, source }
    };

    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the target, since a rename is atomic within one file system only.
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let temporary = folder.join(name);

    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed("create", &temporary))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
        fs::rename(&temporary, path).map_err(failed("replace", path))
    })();
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // Makes the rename itself last.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))
}

/// Reads the file, unless its group or others may access it.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let failed = |source| SecretFileError::Io { action: "read", path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_path_buf(), mode });
    }
    // Sized once, so that no copy of the secret stays behind in a buffer that was outgrown.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0) + 1));
    io::Read::read_to_end(&mut file, &mut content).map_err(failed)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_the_owner_may_read_the_file_whatever_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().as_slice(), b"new");
        assert_eq!(names(folder.path()), ["keys.json"]);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        write(&path, b"secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_reader_never_sees_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let versions = [vec![b'a'; 100_000], vec![b'b'; 100_000]];
        write(&path, &versions[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..50 {
                    write(&path, &versions[round % 2]).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = read(&path).unwrap();
                assert!(versions.iter().any(|version| version == seen.as_slice()), "{} bytes", seen.len());
            }
        });
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("content"), "").unwrap();
        assert!(write(&path, b"secret").is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
