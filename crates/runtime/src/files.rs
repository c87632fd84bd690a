//! Files that are whole or not there.
//!
//! Everything that the programs keep goes through here: written beside its place, flushed, renamed over it. A reader
//! sees the old content or the new, also after a crash. Secrets are readable by their owner alone, and a secret that
//! others could read is refused instead of used.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Who may read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0600
    Secret,
    /// 0644
    Public,
}

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} holds a secret but others may read it (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is in use by another process; stop it, or choose another data folder")]
    Locked { path: PathBuf },
}

impl FileError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}

/// Replaces the content of `path` as one step. The folder must exist.
pub fn write_atomic(path: &Path, content: &[u8], mode: Mode) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The name begins with a dot so that folder watchers of ours and of others pass it over.
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        let _ = std::fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode.bits()).open(&temporary)?;
        file.write_all(content)?;
        // The creation mode is cut by the umask; a public file must be readable even under a strict one.
        file.set_permissions(Permissions::from_mode(mode.bits()))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        at("write", path)(source)
    })
}

/// Reads a file that holds a secret; refuses one that the group or others may read.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, FileError> {
    let mode = std::fs::metadata(path).map_err(at("read", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    std::fs::read(path).map_err(at("read", path))
}

/// Makes a folder, and its parents, that only the owner may enter. An existing one is left as it is.
pub fn create_private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create the folder", path))
}

/// Held while a process uses a data folder; released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _lock: Flock<File>,
}

impl FolderLock {
    pub fn acquire(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(at("open the lock file", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(FileError::Locked { path: folder.to_owned() }),
            Err((_, errno)) => Err(at("lock", &path)(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_atomic(&path, b"one", Mode::Secret).unwrap();
        write_atomic(&path, b"two", Mode::Secret).unwrap();
        assert_eq!(read_secret(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_atomic(&path, b"secret", Mode::Public).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("644"), "{error}");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no").join("state");
        assert!(write_atomic(&missing, b"x", Mode::Public).unwrap_err().is_not_found());
    }

    #[test]
    fn a_data_folder_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::acquire(folder.path()).unwrap();
        assert!(matches!(FolderLock::acquire(folder.path()), Err(FileError::Locked { .. })));
        drop(held);
        FolderLock::acquire(folder.path()).unwrap();
    }
}
