//! The parts that the tests put together.

mod connect;
mod outcome;
mod person;
mod program;
mod table;
mod transcript;
mod zone;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use connect::Connect;
pub(crate) use outcome::Outcome;
pub(crate) use person::Person;
pub(crate) use program::Program;
pub(crate) use table::tables;
pub(crate) use transcript::{Transcript, assert_transcript};
pub(crate) use zone::Zone;

/// Long enough for a machine that builds something beside; nothing takes this long when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A program of the workspace. Cargo puts tests into a folder below the programs.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is missing; run: cargo build -p cofide-connect -p cofide-cli -p cofide-trust-zone-server -p cofide-agent",
        path.display()
    );
    path
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
