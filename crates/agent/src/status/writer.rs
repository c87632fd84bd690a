//! Brings the status files to what they should say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cofide_runtime::files::{FileError, Mode, remove_unfinished, write_atomic};

use super::STATUS_SUFFIX;
use super::render::{HEADER, History, StatusFiles};
use cofide_runtime::regular_file::{self, Links};

/// More than the statuses of the largest manifest need; a larger file is none that the agent wrote.
const MAX_STATUS_BYTES: u64 = 16 << 20;

/// Writes what differs, removes what is of no object any more.
#[derive(Debug)]
pub struct StatusWriter {
    folder: PathBuf,
    /// What this process knows to be in the files.
    written: StatusFiles,
}

impl StatusWriter {
    /// Takes over the status files that an earlier process left in `folder`, and removes those that it left half written.
    pub fn open(folder: &Path) -> (Self, History) {
        remove_unfinished(folder, |name| name.ends_with(STATUS_SUFFIX));
        let mut written = BTreeMap::new();
        let mut history = History::default();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(STATUS_SUFFIX)) {
            // The agent writes no links, so what is one is not its own.
            match regular_file::read(&path, Links::Refused, MAX_STATUS_BYTES) {
                Ok(text) if text.starts_with(HEADER) => {
                    history.remember(&text);
                    written.insert(path, text);
                }
                _ => {}
            }
        }
        (Self { folder: folder.to_owned(), written }, history)
    }

    /// Makes the files say `wanted`. A file that cannot be written does not keep the others from it; the first error is
    /// returned and the next call tries again.
    pub fn apply(&mut self, wanted: &StatusFiles) -> Result<(), FileError> {
        let mut first_error = None;
        for (path, text) in wanted {
            if self.written.get(path) == Some(text) && path.exists() {
                continue;
            }
            match write_atomic(path, text.as_bytes(), Mode::Public) {
                Ok(()) => {
                    self.written.insert(path.clone(), text.clone());
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        let gone: Vec<_> = self.written.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in gone {
            // The folder may be away for the moment; then there is nothing to remove either.
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    self.written.remove(&path);
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                    self.written.remove(&path);
                }
                Err(error) => first_error = first_error.or(Some(FileError::io("remove", &path, error))),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn modified(path: &Path) -> SystemTime {
        std::fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn only_what_differs_is_written_and_what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let text = |words: &str| format!("{HEADER}{words}\n");
        std::fs::write(file("stale.status.yaml"), text("of a manifest that is gone")).unwrap();
        std::fs::write(file("foreign.status.yaml"), "written by a person\n").unwrap();
        std::fs::write(file(".a.status.yaml.a1B2c3.tmp"), "half written by a process that was killed").unwrap();
        std::fs::write(file(".a.yaml.a1B2c3.tmp"), "half written by another program").unwrap();

        let (mut writer, _) = StatusWriter::open(folder.path());
        let mut wanted = StatusFiles::from([(file("a.status.yaml"), text("one")), (file("b.status.yaml"), text("two"))]);
        writer.apply(&wanted).unwrap();
        assert!(!file("stale.status.yaml").exists());
        assert!(file("foreign.status.yaml").exists());
        assert!(!file(".a.status.yaml.a1B2c3.tmp").exists());
        assert!(file(".a.yaml.a1B2c3.tmp").exists());

        let before = (modified(&file("a.status.yaml")), modified(&file("b.status.yaml")));
        wanted.insert(file("b.status.yaml"), text("three"));
        writer.apply(&wanted).unwrap();
        assert_eq!(modified(&file("a.status.yaml")), before.0, "an unchanged file is not written again");
        assert_eq!(std::fs::read_to_string(file("b.status.yaml")).unwrap(), text("three"));

        std::fs::remove_file(file("a.status.yaml")).unwrap();
        writer.apply(&wanted).unwrap();
        assert!(file("a.status.yaml").exists(), "a status that somebody deleted comes back");
        writer.apply(&StatusFiles::new()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "what was not ours");
    }

    #[test]
    fn what_only_has_the_name_of_a_status_file_is_neither_waited_for_nor_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&file("fifo.status.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::create_dir(file("folder.status.yaml")).unwrap();
        std::os::unix::fs::symlink("/proc/self/pagemap", file("endless.status.yaml")).unwrap();
        std::fs::write(file("elsewhere"), HEADER).unwrap();
        std::os::unix::fs::symlink(file("elsewhere"), file("link.status.yaml")).unwrap();
        std::fs::write(file("ours.status.yaml"), HEADER).unwrap();

        let (mut writer, _) = StatusWriter::open(folder.path());
        writer.apply(&StatusFiles::new()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["elsewhere", "endless.status.yaml", "fifo.status.yaml", "folder.status.yaml", "link.status.yaml"]);
    }

    #[test]
    fn one_file_that_cannot_be_written_does_not_hold_up_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, _) = StatusWriter::open(folder.path());
        let good = folder.path().join("z.status.yaml");
        let wanted =
            StatusFiles::from([(folder.path().join("missing/a.status.yaml"), HEADER.to_owned()), (good.clone(), HEADER.to_owned())]);
        assert!(writer.apply(&wanted).is_err());
        assert!(good.exists());
    }
}
