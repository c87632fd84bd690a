//! Files that are whole or not there.
//!
//! Everything that the programs keep goes through here: written beside its place, flushed, renamed over it. A reader
//! sees the old content or the new, also after a crash. Secrets are readable by their owner alone, and a secret that
//! others could read is refused instead of used.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

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
    #[error("{path} holds a secret and is accessible to others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is in use by another process; stop it, or choose another data folder")]
    Locked { path: PathBuf },
}

impl FileError {
    /// Whether there simply is no such file, as opposed to one that cannot be used.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}

/// Replaces the content of `path` as one step. The folder must exist.
pub fn write_atomic(path: &Path, content: &[u8], mode: Mode) -> Result<(), FileError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Beside its place, since a rename is atomic within one file system only. The name begins with a dot so that folder
    // watchers of ours and of others pass it over; its random part keeps two writers apart, and a writer from what one
    // before it left behind in a crash.
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode.bits()))
            .tempfile_in(folder)?;
        file.write_all(content)?;
        // The creation mode is cut by the umask; a public file must be readable even under a strict one.
        file.as_file().set_permissions(Permissions::from_mode(mode.bits()))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|unfinished| unfinished.error)?;
        // Makes the rename itself last.
        File::open(folder)?.sync_all()
    };
    write().map_err(at("write", path))
}

/// Reads a file that holds a secret; refuses one that the group or others may access.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut file = File::open(path).map_err(at("read", path))?;
    // Of the file that is open, not of what the path leads to a moment later.
    let metadata = file.metadata().map_err(at("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    // Sized once, so that no copy of the secret stays behind in a buffer that was outgrown.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.read_to_end(&mut content).map_err(at("read", path))?;
    Ok(content)
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

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_atomic(&path, b"one", Mode::Public).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        write_atomic(&path, b"two", Mode::Secret).unwrap();
        assert_eq!(mode_of(&path), 0o600, "whatever was there before");
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"two");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_secret_that_others_may_access_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_atomic(&path, b"secret", Mode::Secret).unwrap();
        for mode in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("mode {mode:03o}")), "{error}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no").join("state");
        assert!(write_atomic(&missing, b"x", Mode::Public).unwrap_err().is_not_found());
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("content"), "").unwrap();
        let error = write_atomic(&taken, b"x", Mode::Secret).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}: ", taken.display())), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn writers_at_once_do_not_meet_and_a_reader_never_sees_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let versions = [vec![b'a'; 100_000], vec![b'b'; 100_000]];
        write_atomic(&path, &versions[0], Mode::Secret).unwrap();
        std::thread::scope(|scope| {
            let path = &path;
            let writers = versions.each_ref().map(|version| {
                scope.spawn(move || {
                    for _ in 0..50 {
                        write_atomic(path, version, Mode::Secret).unwrap();
                    }
                })
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                let seen = read_secret(path).unwrap();
                assert!(versions.contains(&seen), "{} bytes", seen.len());
            }
        });
        assert_eq!(names(folder.path()), ["keys.json"]);
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
