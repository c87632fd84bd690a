//! The agent's data folder: what survives a restart.
//!
//! | file | what | if it is lost |
//! |---|---|---|
//! | `identity` | who the agent is, and who Connect is | join again with a fresh token |
//! | `plan` | the last plan from Connect | nothing is imported until Connect answers |
//! | `manifests` | age, generation and last valid text of each manifest | the order of conflicts starts anew; see [`crate::sources::host::index`] |
//! | `last-valid` | the last valid version of each object of a cluster that is not valid now | it is withdrawn |
//! | `registrations` | on a host, what was registered with Connect | orphans stay in Connect |
//! | `trust` | federated trust that is ours in the SPIRE server | what the plan names is ours again; what ended meanwhile stays |
//! | `addresses` | the loopback address of each import | most come out the same again |
//!
//! In a cluster, where a disk goes with its pod, `identity`, `last-valid` and `trust` are also kept elsewhere: see
//! [`crate::cluster_state`].
//!
//! Each is written whole or not at all, begins with a format version, and carries a checksum. A file that fails the
//! check is set aside, reported, and treated as lost; it never stops the agent.

use std::path::{Path, PathBuf};

use cofide_runtime::files::{self, FileError, FolderLock, Mode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The name under which the agent keeps who it is.
pub const IDENTITY: &str = "identity";
/// The name under which the last valid versions of objects are kept that are not valid now.
pub const LAST_VALID: &str = "last-valid";
/// The name under which the manifests are kept.
pub const MANIFESTS: &str = "manifests";
/// The name under which is kept, on a host, what was registered with Connect.
pub const REGISTRATIONS: &str = "registrations";
/// The name under which is kept which federated trust in the SPIRE server is the agent's.
pub const TRUST: &str = "trust";

const MAGIC: &str = "cofide-agent-state";
const FORMAT: u32 = 1;

/// An open data folder; one process at a time.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: FolderLock,
}

#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("it does not begin with {MAGIC:?}")]
    Magic,
    #[error("its format is {0:?}, this agent reads {FORMAT}")]
    Format(String),
    #[error("its checksum does not match its content")]
    Checksum,
    #[error("its content is not valid: {0}")]
    Content(#[from] serde_json::Error),
}

impl DataFolder {
    /// Creates the folder where it is missing and locks it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Ok(Self { path: path.to_owned(), _lock: FolderLock::open(path)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.state"))
    }

    /// The value kept under `name`; `None` where there is none, or where what is there is damaged.
    ///
    /// # Errors
    ///
    /// When the file exists and cannot be read: going on without it would be forgetting on ignorance.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FileError> {
        let path = self.file(name);
        let bytes = match files::read_secret(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        match decode(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(damage) => {
                let aside = self.set_aside(name);
                let kept = std::fs::rename(&path, &aside).is_ok();
                let aside = if kept { aside.display().to_string() } else { "nowhere".to_owned() };
                tracing::error!(file = %path.display(), reason = %damage, set_aside = aside, "a state file is damaged and is ignored");
                Ok(None)
            }
        }
    }

    /// Whether something is kept under `name`, or was until it was set aside as damaged.
    pub fn has_held(&self, name: &str) -> bool {
        self.file(name).exists() || self.set_aside(name).exists()
    }

    fn set_aside(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.damaged"))
    }

    /// What is kept under `name`, as it is written, for a second place to keep it.
    pub fn text(&self, name: &str) -> Result<Option<String>, FileError> {
        match files::read_secret(&self.file(name)) {
            Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes what [`DataFolder::text`] gave in the place of what is kept; answers whether it is whole. If not, nothing changes.
    pub fn adopt(&self, name: &str, text: &str) -> Result<bool, FileError> {
        if decode::<serde::de::IgnoredAny>(text.as_bytes()).is_err() {
            return Ok(false);
        }
        files::write_atomic(&self.file(name), text.as_bytes(), Mode::Secret)?;
        Ok(true)
    }

    /// Replaces the value kept under `name`.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FileError> {
        files::write_atomic(&self.file(name), &encode(value), Mode::Secret)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let body = serde_json::to_vec(value).expect("state types have string keys and no fallible serialisers");
    let mut bytes = format!("{MAGIC} {FORMAT} {}\n", checksum(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damage> {
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or(Damage::Magic)?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| Damage::Magic)?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(Damage::Magic);
    }
    match words.next() {
        Some(format) if format == FORMAT.to_string() => {}
        other => return Err(Damage::Format(other.unwrap_or_default().to_owned())),
    }
    let body = &bytes[end + 1..];
    if words.next() != Some(checksum(body).as_str()) {
        return Err(Damage::Checksum);
    }
    Ok(serde_json::from_slice(body)?)
}

fn checksum(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_survives_a_restart_and_the_folder_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("agent")).unwrap();
        data.save("plan", &vec![1, 2, 3]).unwrap();
        assert!(matches!(DataFolder::open(data.path()), Err(FileError::Locked { .. })));
        let path = data.path().to_owned();
        drop(data);
        assert_eq!(DataFolder::open(&path).unwrap().load::<Vec<u32>>("plan").unwrap(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_counts_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        assert_eq!(data.load::<Vec<u32>>("plan").unwrap(), None);
        data.save("plan", &vec![1, 2, 3]).unwrap();
        let mut bytes = std::fs::read(data.file("plan")).unwrap();
        *bytes.last_mut().unwrap() = b'!';
        files::write_atomic(&data.file("plan"), &bytes, Mode::Secret).unwrap();
        assert_eq!(data.load::<Vec<u32>>("plan").unwrap(), None);
        assert!(folder.path().join("plan.damaged").exists());
        assert!(!data.file("plan").exists());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        files::write_atomic(&data.file("plan"), b"x", Mode::Public).unwrap();
        assert!(matches!(data.load::<Vec<u32>>("plan"), Err(FileError::Exposed { .. })));
    }

    #[test]
    fn another_format_is_named() {
        let error = decode::<u32>(b"cofide-agent-state 2 00\n1").unwrap_err().to_string();
        assert!(error.contains("\"2\""), "{error}");
    }

    proptest! {
        #[test]
        fn any_single_damage_is_noticed(value in proptest::collection::vec(any::<u32>(), 0..20), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = encode(&value);
            prop_assert_eq!(decode::<Vec<u32>>(&bytes).unwrap(), value);
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            prop_assert!(decode::<Vec<u32>>(&bytes).is_err());
        }
    }
}
