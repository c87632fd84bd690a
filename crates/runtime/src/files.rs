//! Files that are whole or not there.
//!
//! Everything that the programs keep goes through here: written beside its place, flushed, renamed over it. A reader
//! sees the old content or the new, also after a crash. Secrets are readable by their owner alone, and a secret that
//! others could read is refused instead of used.

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

mod owner;
mod unfinished;

pub use owner::{Account, next_step};
pub use unfinished::remove_unfinished;

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

/// What went wrong with which file, and the way out, all in its own text: the error of the operating system is told with it
/// and is no cause of its own, so that nothing is said twice.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {action} {}: {error}{}", path.display(), after_semicolon(next_step.as_deref()))]
    Io { action: &'static str, path: PathBuf, error: io::Error, next_step: Option<String> },
    #[error("cannot read {}: it belongs to {}, and this program runs as {}", path.display(), Account { uid: *owner }, Account { uid: *own })]
    NotOwner { path: PathBuf, owner: u32, own: u32 },
    #[error("{path} holds a secret and is accessible to others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "cannot use the data folder {}: {error}; {}choose another with --data-dir",
        path.display(),
        next_step.as_ref().map(|step| format!("{step}, or ")).unwrap_or_default()
    )]
    DataFolder { path: PathBuf, error: io::Error, next_step: Option<String> },
    #[error(
        "the data folder {} belongs to {owner}, and this program runs as {own}: who owns the folder could exchange its keys; run the \
         program as that user, run: chown -R {} {}, or choose another with --data-dir",
        path.display(), own.uid, path.display()
    )]
    ForeignFolder { path: PathBuf, owner: Account, own: Account },
    #[error("the data folder {} is in use by another process; stop it, or choose another with --data-dir", path.display())]
    Locked { path: PathBuf },
}

impl FileError {
    /// `action` as in "cannot {action} {path}".
    pub fn io(action: &'static str, path: &Path, error: io::Error) -> Self {
        // Whether a file can be replaced is a question to its folder.
        let asked = if action == "write" { path.parent().unwrap_or(path) } else { path };
        let next_step = owner::next_step(&error, asked);
        Self::Io { action, path: path.to_owned(), error, next_step }
    }

    /// Whether there simply is no such file, as opposed to one that cannot be used.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

fn after_semicolon(text: Option<&str>) -> String {
    text.map(|text| format!("; {text}")).unwrap_or_default()
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::io(action, path, error)
}

/// Replaces the content of `path` as one step. The folder must exist.
pub fn write_atomic(path: &Path, content: &[u8], mode: Mode) -> Result<(), FileError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = unfinished::prefix(&path.file_name().unwrap_or_default().to_string_lossy());
    // Beside its place, since a rename is atomic within one file system only. The random part of its name keeps two writers
    // apart, and a writer from what one before it left behind in a crash.
    let refused = Cell::new(None);
    let create = |path: &Path| {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode.bits()).open(path);
        // What makes temporary files adds their path to the error, which nobody has ever seen.
        file.inspect_err(|error| refused.set(error.raw_os_error()))
    };
    let write = || -> io::Result<()> {
        let mut named = tempfile::Builder::new();
        let named = named.prefix(&prefix).suffix(unfinished::SUFFIX).rand_bytes(unfinished::RANDOM);
        let mut file = named.make_in(folder, create)?;
        refused.set(None);
        // Past the wrapper, which adds that path here too.
        file.as_file_mut().write_all(content)?;
        // The creation mode is cut by the umask; a public file must be readable even under a strict one.
        file.as_file().set_permissions(Permissions::from_mode(mode.bits()))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|unfinished| unfinished.error)?;
        // Makes the rename itself last.
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| FileError::io("write", path, refused.get().map_or(error, io::Error::from_raw_os_error)))
}

/// Whether more than its owner and this process may access a secret.
///
/// Root may lend a file to a user by the group: that is how Kubernetes mounts a Secret into a pod that does not run as root
/// (`fsGroup`), and a process cannot read it by any other way.
fn is_exposed(mode: u32, owner: Account, own: Account) -> bool {
    let lent = if owner.is_root() && !own.is_root() { 0o040 } else { 0 };
    mode & 0o077 & !lent != 0
}

/// Reads a file that holds a secret; refuses one that the group or others may access, unless root has lent it to this user.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
    // Of the file that is open, not of what the path leads to a moment later.
    let metadata = file.metadata().map_err(at("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if is_exposed(mode, Account::of(&metadata), Account::own()) {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    // Sized once, so that no copy of the secret stays behind in a buffer that was outgrown.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.read_to_end(&mut content).map_err(at("read", path))?;
    Ok(content)
}

fn unreadable(path: &Path, error: io::Error) -> FileError {
    let own = Account::own().uid;
    match std::fs::metadata(path).map(|metadata| Account::of(&metadata).uid) {
        Ok(owner) if error.kind() == io::ErrorKind::PermissionDenied && owner != own => {
            FileError::NotOwner { path: path.to_owned(), owner, own }
        }
        _ => FileError::io("read", path, error),
    }
}

/// Makes a folder, and its parents, that only the owner may enter. An existing one is left as it is.
pub fn create_private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create the folder", path))
}

/// Held while a process uses a data folder; released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    is_new: bool,
    _lock: Flock<File>,
}

impl FolderLock {
    /// Makes the folder where it is missing, for its owner alone, locks it, and removes what an earlier process left half
    /// written there.
    ///
    /// A folder of another user is refused (root may use every folder: a container's volume can be anybody's).
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let unusable =
            |error: io::Error| FileError::DataFolder { path: folder.to_owned(), next_step: owner::next_step(&error, folder), error };
        let is_new = !folder.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let own = Account::own();
        let owner = Account::of(&std::fs::metadata(folder).map_err(unusable)?);
        if !own.is_root() && owner.uid != own.uid {
            return Err(FileError::ForeignFolder { path: folder.to_owned(), owner, own });
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock")).map_err(unusable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                remove_unfinished(folder, |_| true);
                Ok(Self { is_new, _lock: lock })
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(FileError::Locked { path: folder.to_owned() }),
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }

    /// Whether the folder was made when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
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
    fn what_cannot_be_written_is_named_by_its_own_path_alone() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(&folder.path().join("missing/state.json"), b"one", Mode::Public).unwrap_err().to_string();
        assert!(error.ends_with("missing/state.json: No such file or directory (os error 2)"), "{error}");
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
    fn root_may_lend_a_secret_to_a_user_by_its_group_for_reading_only() {
        let (root, user, other) = (Account { uid: 0 }, Account { uid: 65532 }, Account { uid: 1000 });
        for (mode, owner, own, exposed) in [
            (0o440, root, user, false),
            (0o640, root, user, false),
            (0o400, user, user, false),
            (0o440, user, user, true),
            (0o440, other, user, true),
            (0o440, root, root, true),
            (0o460, root, user, true),
            (0o444, root, user, true),
        ] {
            assert_eq!(is_exposed(mode, owner, own), exposed, "mode {mode:o} of {owner:?} for {own:?}");
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
        let data = folder.path().join("data");
        let held = FolderLock::open(&data).unwrap();
        assert!(held.is_new() && mode_of(&data) == 0o700);
        let twin = FolderLock::open(&data).unwrap_err().to_string();
        assert!(twin.contains("in use by another process") && twin.contains("--data-dir"), "{twin}");
        drop(held);
        assert!(!FolderLock::open(&data).unwrap().is_new());
    }

    #[test]
    fn a_data_folder_that_cannot_be_made_is_named_once_with_the_way_out() {
        let error = FolderLock::open(Path::new("/proc/connect")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the data folder /proc/connect: "), "{error}");
        assert!(error.ends_with("choose another with --data-dir") && error.matches("/proc/connect").count() == 1, "{error}");
    }
}
