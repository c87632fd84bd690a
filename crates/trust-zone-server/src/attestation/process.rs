//! A process, held by its open `/proc` folder.

use std::fs::File;
use std::io::{self, Read};

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use super::AttestationError;

/// Bytes; the files read here have some hundred.
const MAX_PROC_FILE: u64 = 64 * 1024;

#[derive(Debug)]
pub struct Process {
    pid: i32,
    /// As the kernel noted them when the process connected.
    uid: u32,
    gid: u32,
    folder: File,
    /// Clock ticks since boot.
    start_time: u64,
}

impl Process {
    /// Takes hold of the process, if it still is one of this owner.
    pub fn open(pid: i32, uid: u32, gid: u32) -> Result<Self, AttestationError> {
        let problem = |reason: String| AttestationError::Process { pid, reason };
        let folder = File::open(format!("/proc/{pid}")).map_err(|error| problem(error.to_string()))?;
        let mut process = Self { pid, uid, gid, folder, start_time: 0 };
        process.start_time = process.read_start_time()?;
        let status = process.read("status").map_err(|error| problem(error.to_string()))?;
        let owner = (effective_id(&status, "Uid:"), effective_id(&status, "Gid:"));
        if owner != (Some(uid), Some(gid)) {
            return Err(problem(format!("it is not of user {uid} and group {gid}, who connected")));
        }
        Ok(process)
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub fn gid(&self) -> u32 {
        self.gid
    }

    pub fn supplementary_gids(&self) -> Result<Vec<u32>, AttestationError> {
        let status = self.read("status").map_err(|error| self.problem(&error))?;
        Ok(supplementary_gids(&status))
    }

    /// Where the executable lies, as the kernel prints it: that of a removed file ends in ` (deleted)`.
    pub fn executable_path(&self) -> io::Result<String> {
        let path = readlinkat(&self.folder, "exe")?;
        path.into_string().map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
    }

    /// The executable itself, whatever lies at its path by now.
    pub fn open_executable(&self) -> io::Result<File> {
        Ok(openat(&self.folder, "exe", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    /// Fails once the process has ended.
    pub fn check_alive(&self) -> Result<(), AttestationError> {
        match self.read_start_time()? == self.start_time {
            true => Ok(()),
            false => Err(self.problem(&"its start time has changed")),
        }
    }

    fn read_start_time(&self) -> Result<u64, AttestationError> {
        let stat = self.read("stat").map_err(|error| self.problem(&error))?;
        start_time(&stat).ok_or_else(|| self.problem(&"its stat file has an unknown form"))
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let file: File = openat(&self.folder, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into();
        let mut bytes = Vec::new();
        file.take(MAX_PROC_FILE).read_to_end(&mut bytes)?;
        // A process names itself, and may choose bytes that are no text.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn problem(&self, reason: &dyn std::fmt::Display) -> AttestationError {
        AttestationError::Process { pid: self.pid, reason: reason.to_string() }
    }
}

/// Field 22 of `/proc/<pid>/stat`. Field 2, the name, is in brackets and may itself contain brackets and spaces.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The second of the real, effective, saved and file system ids.
fn effective_id(status: &str, key: &str) -> Option<u32> {
    line(status, key)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn supplementary_gids(status: &str) -> Vec<u32> {
    line(status, "Groups:").into_iter().flat_map(str::split_ascii_whitespace).filter_map(|gid| gid.parse().ok()).collect()
}

/// The first line is the process's name; a newline in it is printed escaped, so it cannot pass for another line.
fn line<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_forge_its_start_time_by_its_name() {
        let tail = "S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        for name in ["plain", "with space", ") S 1 1 1 0 -1 1 1 1 1 1 1 1 1 1 1 1 1 1 11111", "((", "))"] {
            assert_eq!(start_time(&format!("42 ({name}) {tail}")), Some(98765), "{name}");
        }
        for bad in ["", "42", "42 (x", "42 (x) S 1 2"] {
            assert_eq!(start_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_owner_and_the_groups_are_read_from_the_status() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1000\t1001\nGid:\t5\t6\t5\t6\nGroups:\t4 24 1000 \n";
        assert_eq!(effective_id(status, "Uid:"), Some(1001));
        assert_eq!(effective_id(status, "Gid:"), Some(6));
        assert_eq!(supplementary_gids(status), [4, 24, 1000]);
        assert_eq!(supplementary_gids("Name:\tx\nGroups:\t\n"), [0; 0]);
        assert_eq!(effective_id("Name:\tx\n", "Uid:"), None);
    }
}
