//! Files that a process left behind which ended between writing beside a place and renaming over it.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::Account;

/// Length of the part of the name that keeps two writers apart.
pub(super) const RANDOM: usize = 6;
pub(super) const SUFFIX: &str = ".tmp";

/// How the names of the unfinished files for a file begin. With a dot, so that folder watchers of ours and of others pass them
/// over.
pub(super) fn prefix(name: &str) -> String {
    format!(".{name}.")
}

/// The name of the file that an unfinished one was to become; `None` for a name that this program never gives one.
fn finished(unfinished: &str) -> Option<&str> {
    let (name, random) = unfinished.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let is_random = random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_random && !name.is_empty()).then_some(name)
}

/// Removes the unfinished files of this user in a folder that were to become one that `is_ours`.
///
/// For a process that starts, in a place where nobody else writes these files: another one's would be taken from it. What
/// cannot be removed is logged and does no harm.
pub fn remove_unfinished(folder: &Path, is_ours: impl Fn(&str) -> bool) {
    let own = Account::own();
    // No link, and no folder: those are not made here.
    let is_own = |metadata: &Metadata| metadata.is_file() && Account::of(metadata) == own;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().and_then(finished).is_some_and(&is_ours) || !entry.metadata().is_ok_and(|metadata| is_own(&metadata)) {
            continue;
        }
        let path = entry.path();
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(file = %path.display(), "removed an unfinished file that an earlier process had left"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %path.display(), %error, "cannot remove an unfinished file that an earlier process left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FolderLock, Mode, write_atomic};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_names_that_this_program_gives_are_taken_for_unfinished_files() {
        for (name, was_to_become) in [
            (".plan.state.a1B2c3.tmp", Some("plan.state")),
            (".demo.status.yaml.abcdef.tmp", Some("demo.status.yaml")),
            ("plan.state.a1B2c3.tmp", None),
            (".plan.state.a1B2c.tmp", None),
            (".plan.state.a1B2_3.tmp", None),
            (".plan.state.a1B2c3.swp", None),
            (".a1B2c3.tmp", None),
            ("..a1B2c3.tmp", None),
            (".tmp", None),
        ] {
            assert_eq!(finished(name), was_to_become, "{name}");
        }
    }

    #[test]
    fn a_data_folder_is_swept_when_it_is_opened_of_what_was_left_half_way_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_atomic(&at("plan.state"), b"whole", Mode::Secret).unwrap();
        for name in [".plan.state.a1B2c3.tmp", ".notes.tmp", "plan.state.a1B2c3.tmp"] {
            std::fs::write(at(name), "half").unwrap();
        }
        std::fs::create_dir(at(".folder.a1B2c3.tmp")).unwrap();
        std::os::unix::fs::symlink(at("plan.state"), at(".link.a1B2c3.tmp")).unwrap();
        let held = FolderLock::open(folder.path()).unwrap();
        let names = || {
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let left = [".folder.a1B2c3.tmp", ".link.a1B2c3.tmp", ".notes.tmp", "lock", "plan.state", "plan.state.a1B2c3.tmp"];
        assert_eq!(names(), left.map(str::to_owned).into());

        // Not under the hands of a process that has the folder.
        std::fs::write(at(".plan.state.a1B2c3.tmp"), "half").unwrap();
        FolderLock::open(folder.path()).unwrap_err();
        assert!(names().contains(".plan.state.a1B2c3.tmp"));
        drop(held);
    }

    proptest! {
        #[test]
        fn the_name_of_every_unfinished_file_says_what_it_was_to_become(name in "[a-zA-Z0-9._-]{1,20}") {
            let folder = tempfile::tempdir().unwrap();
            let file = tempfile::Builder::new().prefix(&prefix(&name)).suffix(SUFFIX).rand_bytes(RANDOM).tempfile_in(folder.path()).unwrap();
            prop_assert_eq!(finished(file.path().file_name().unwrap().to_str().unwrap()), Some(name.as_str()));
        }
    }
}
