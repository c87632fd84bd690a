//! Whose a file is, and what to do about a file that this program may not use.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{Uid, User};

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
}

impl Account {
    /// Whose rights this process has.
    pub fn own() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw() }
    }

    /// The owner of a file.
    pub fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid() }
    }

    pub fn is_root(self) -> bool {
        self.uid == 0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match User::from_uid(Uid::from_raw(self.uid)) {
            Ok(Some(user)) => write!(f, "user {} (uid {})", user.name, self.uid),
            _ => write!(f, "uid {}", self.uid),
        }
    }
}

/// What a person can do about an error at `path`; `None` where the error says it all.
pub fn next_step(error: &io::Error, path: &Path) -> Option<String> {
    match error.kind() {
        ErrorKind::StorageFull => Some("free some space on this file system".to_owned()),
        ErrorKind::QuotaExceeded => Some("free some space, or raise this user's quota".to_owned()),
        ErrorKind::ReadOnlyFilesystem => Some("this file system is read-only; make it writable".to_owned()),
        ErrorKind::PermissionDenied => Some(permission(path, Account::own())),
        _ => None,
    }
}

/// Names the first thing on the way to `path`, seen from there, that tells whose it is.
fn permission(path: &Path, own: Account) -> String {
    let found = path.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let Some((place, metadata)) = found else { return format!("this program runs as {own}; run it as the owner") };
    let owner = Account::of(&metadata);
    let name = if place.as_os_str().is_empty() { "the working folder".to_owned() } else { place.display().to_string() };
    if owner == own {
        let mode = metadata.permissions().mode() & 0o777;
        return format!("{name} is this user's own with mode {mode:03o}; run: chmod u+rwX {name}");
    }
    let give = match place == path {
        // Others may have their things in this folder: it is not for us to say that it should be given away.
        true if metadata.is_dir() => "use a folder that this user may write to".to_owned(),
        true => format!("run as root: chown {} {name}", own.uid),
        false => format!("run as root: install -d -m 0700 -o {} {}", own.uid, path.display()),
    };
    format!("{name} belongs to {owner}, and this program runs as {own}: run it as that user, or {give}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: ErrorKind) -> String {
        next_step(&kind.into(), Path::new("/tmp")).unwrap_or_default()
    }

    #[test]
    fn a_full_disk_a_read_only_one_and_a_quota_have_each_their_way_out() {
        assert!(step(ErrorKind::StorageFull).contains("free some space"));
        assert!(step(ErrorKind::ReadOnlyFilesystem).contains("read-only"));
        assert!(step(ErrorKind::QuotaExceeded).contains("quota"));
        assert_eq!(step(ErrorKind::NotFound), "", "it says all itself");
    }

    #[test]
    fn a_foreign_folder_is_named_with_its_owner_and_with_who_we_are() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Account::of(&std::fs::metadata(folder.path()).unwrap());
        let stranger = Account { uid: owner.uid + 4242 };
        let path = folder.path().display();
        let text = permission(folder.path(), stranger);
        assert!(text.contains(&format!("{path} belongs to {owner}")) && text.contains(&stranger.to_string()), "{text}");
        assert!(!text.contains("chown"), "a folder may hold what belongs to others: {text}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(permission(&file, stranger).ends_with(&format!("chown {} {path}/file", stranger.uid)));
        let missing = permission(&folder.path().join("a/b"), stranger);
        assert!(missing.ends_with(&format!("install -d -m 0700 -o {} {path}/a/b", stranger.uid)), "nothing of others is taken: {missing}");
        assert!(permission(folder.path(), owner).contains("chmod u+rwX"));
    }
}
