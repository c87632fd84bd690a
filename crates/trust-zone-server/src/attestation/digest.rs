//! SHA-256 of executables, remembered for as long as the file stays the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// More executables than a host runs as workloads; when they are exceeded, the memory starts anew.
const MAX_REMEMBERED: usize = 1024;

#[derive(Debug)]
pub(super) struct Digests {
    size_limit: u64,
    remembered: Mutex<HashMap<Version, String>>,
}

/// A file in one state. The change time moves with every write and cannot be set back by the file's owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Digests {
    pub(super) fn new(size_limit: u64) -> Self {
        Self { size_limit, remembered: Mutex::default() }
    }

    /// Lower-case hexadecimal.
    pub(super) fn sha256(&self, mut file: File) -> io::Result<String> {
        let version = Version::of(&file)?;
        if let Some(digest) = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&version) {
            return Ok(digest.clone());
        }
        if version.size > self.size_limit {
            let (size, limit) = (version.size, self.size_limit);
            return Err(io::Error::other(format!("it has {size} bytes; attestation.executable_size_limit is {limit}")));
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut left = version.size;
        while left > 0 {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            left = left.saturating_sub(read as u64);
        }
        if Version::of(&file)? != version {
            return Err(io::Error::other("it changed while it was read"));
        }
        let digest = hex::encode(hash.finalize());
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(version, digest.clone());
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_follows_the_content_and_stops_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let digests = Digests::new(8);
        let sha256 = || digests.sha256(File::open(&path).unwrap());
        std::fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256().unwrap(), abc);
        assert_eq!(sha256().unwrap(), abc);
        assert_eq!(digests.remembered.lock().unwrap().len(), 1);
        std::fs::write(&path, "abcd").unwrap();
        assert_ne!(sha256().unwrap(), abc);
        std::fs::write(&path, "123456789").unwrap();
        assert!(sha256().unwrap_err().to_string().contains("executable_size_limit"));
        assert!(digests.sha256(File::open(folder.path()).unwrap()).is_err());
    }
}
