//! Unix workload attestation: who is at the other end of the socket.
//!
//! ```text
//!  connect() ── kernel notes pid, uid, gid ──> accept() ── /proc/<pid> opened, owner compared ──> Peer
//!                                                                                                  │ each call
//!                                        selectors <── uid, gid, user, group, path, (sha256) <─────┘
//! ```
//!
//! A pid can be used again as soon as its process has gone. An open `/proc/<pid>` folder cannot: it stays with the process
//! that it was opened for and fails when that process ends, so everything is read through it. Between `connect` and
//! `accept` a pid could still change hands; the new process would need the same owner, for that is compared.

mod digest;
mod limit;
mod peer;
mod process;
mod selector;

use std::collections::BTreeSet;
use std::sync::Arc;

use cofide_core::Selector;
use nix::unistd::{Gid, Group, Uid, User};

pub use limit::ConnectionLimit;
pub use peer::{Peer, PeerStream, incoming};
pub use process::Process;
pub use selector::check;

use digest::Digests;

/// The type of the selectors made here.
pub const UNIX: &str = "unix";
/// How the value of a digest selector begins.
pub const DIGEST_PREFIX: &str = "sha256:";

#[derive(Clone, Debug, thiserror::Error)]
pub enum AttestationError {
    #[error("the caller cannot be identified: {0}")]
    Unidentified(String),
    #[error("process {pid} cannot be looked at: {reason}; it may have ended")]
    Process { pid: i32, reason: String },
    #[error(
        "uid {uid} has {limit} connections open to the workload socket, as many as one user may have; close some, or raise \
         max_connections_per_user of the server"
    )]
    TooManyConnections { uid: u32, limit: usize },
    #[error("the attestation was stopped")]
    Stopped,
}

/// Turns peers into selectors, those of SPIRE's `unix` workload attestor: `uid`, `user`, `gid`, `group`,
/// `supplementary_gid`, `supplementary_group`, `path` and `sha256`.
#[derive(Debug)]
pub struct Attestor {
    digests: Arc<Digests>,
}

impl Attestor {
    /// `executable_size_limit` in bytes: larger executables have no digest.
    pub fn new(executable_size_limit: u64) -> Self {
        Self { digests: Arc::new(Digests::new(executable_size_limit)) }
    }

    pub async fn attest(&self, peer: &Peer, with_digest: bool) -> Result<BTreeSet<Selector>, AttestationError> {
        let process = peer.process()?;
        let digests = self.digests.clone();
        // Reads files, may ask a directory service for names, may hash a large executable.
        let selectors = tokio::task::spawn_blocking(move || selectors(&process, with_digest.then_some(&digests)));
        selectors.await.unwrap_or(Err(AttestationError::Stopped))
    }
}

fn selectors(process: &Process, digests: Option<&Arc<Digests>>) -> Result<BTreeSet<Selector>, AttestationError> {
    let mut values = BTreeSet::from([format!("uid:{}", process.uid()), format!("gid:{}", process.gid())]);
    values.extend(user_name(process.uid()).map(|name| format!("user:{name}")));
    values.extend(group_name(process.gid()).map(|name| format!("group:{name}")));
    for gid in process.supplementary_gids()? {
        values.insert(format!("supplementary_gid:{gid}"));
        values.extend(group_name(gid).map(|name| format!("supplementary_group:{name}")));
    }
    // The executable of another user's process can be looked at by a privileged server only.
    match process.executable_path() {
        Ok(path) => {
            values.insert(format!("path:{path}"));
        }
        Err(error) => tracing::debug!(pid = process.pid(), %error, "no unix:path selector: the executable cannot be looked at"),
    }
    if let Some(digests) = digests {
        match process.open_executable().and_then(|file| digests.sha256(file)) {
            Ok(digest) => {
                values.insert(format!("{DIGEST_PREFIX}{digest}"));
            }
            Err(error) => tracing::warn!(pid = process.pid(), %error, "no unix:sha256 selector: the executable cannot be read"),
        }
    }
    // Whatever was read is worth something only if it was of the process that connected.
    process.check_alive()?;
    Ok(values.into_iter().map(|value| Selector { kind: UNIX.into(), value }).collect())
}

fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

fn group_name(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}

#[cfg(test)]
mod tests;
