//! Which lab of the machine this is: a number that no other process uses, and the end of what others have left behind.
//!
//! Whoever holds the lock of `<n>.lock` owns lab n: its folder, its namespaces, and every process in them. The kernel drops the
//! lock with its holder, however that ends; so a lab whose lock can be had is an orphan, unless its owner said that it be kept.

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::{Network, files_of, ip, name_of_hub, name_of_link, namespaces_of};

/// Exists in the folder of a lab that outlives its owner, and says what it is.
const KEPT: &str = "kept";
/// How long processes may take to vanish after they were killed: the kernel has a gigabyte to give back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lab number n, for as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) number: u8,
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Claim {
    /// Takes the first free number, and ends all orphans.
    pub(super) fn next() -> Result<Self> {
        let mut claim = None;
        for number in 0..=u8::MAX {
            if claim.is_some() && !lock_path(number).exists() {
                continue;
            }
            let Some(lock) = try_lock(number)? else { continue };
            let folder = folder_of(number);
            if is_kept(number, &folder) {
                continue;
            }
            end(number, &folder)?;
            if claim.is_none() {
                make_folder(&folder)?;
                claim = Some(Self { number, folder, _lock: lock });
            }
        }
        claim.context("256 labs run on this machine already; end some: make lab-down")
    }

    pub(super) fn keep(&self, note: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.join(KEPT), note)?)
    }

    /// Ends the lab, whatever of it is left.
    pub(super) fn end(&self) -> Result<()> {
        end(self.number, &self.folder)
    }
}

/// A lab that its owner has left running.
#[derive(Clone, Debug)]
pub struct Kept {
    pub folder: PathBuf,
    /// What its owner said about it.
    pub note: String,
    number: u8,
}

impl Kept {
    /// Takes it over for as long as this process lives, to add to it.
    pub fn join(&self) -> Result<Joined> {
        let lock = open_lock(self.number)?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path(self.number).display()))?;
        ensure!(is_kept(self.number, &self.folder), "the lab in {} was ended", self.folder.display());
        Ok(Joined(Arc::new(Network::of_kept(Claim { number: self.number, folder: self.folder.clone(), _lock: lock }))))
    }

    /// Ends it; nothing happens where another process is faster.
    pub fn end(&self) -> Result<()> {
        // Whoever has the lock looks at it for a moment, or is about to leave it.
        let lock = open_lock(self.number)?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path(self.number).display()))?;
        if is_kept(self.number, &self.folder) { end(self.number, &self.folder) } else { Ok(()) }
    }
}

/// A lab that was left running, and will be so again.
#[derive(Clone, Debug)]
pub struct Joined(pub(super) Arc<Network>);

/// The labs that were left running on this machine.
pub fn kept() -> Result<Vec<Kept>> {
    let mut found = Vec::new();
    for number in 0..=u8::MAX {
        let folder = folder_of(number);
        if is_kept(number, &folder) {
            // Another process may be ending it.
            let note = std::fs::read_to_string(folder.join(KEPT)).unwrap_or_default();
            found.push(Kept { folder, note, number });
        }
    }
    Ok(found)
}

/// Ends what a killed process has left, as every start of a lab does.
pub fn end_orphans() -> Result<()> {
    Claim::next()?.end()
}

fn root() -> PathBuf {
    std::env::temp_dir().join("cofide-lab")
}

fn lock_path(number: u8) -> PathBuf {
    root().join(format!("{number}.lock"))
}

fn folder_of(number: u8) -> PathBuf {
    root().join(number.to_string())
}

fn is_kept(number: u8, folder: &Path) -> bool {
    // The file outlives a restart of the machine, the namespace does not.
    folder.join(KEPT).exists() && namespaces_of(number).contains(&name_of_hub(number))
}

fn try_lock(number: u8) -> Result<Option<File>> {
    let file = open_lock(number)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", lock_path(number).display())),
    }
}

fn open_lock(number: u8) -> Result<File> {
    make_folder(&root())?;
    let path = lock_path(number);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// Others may pass through, to a socket that they know of, and read nothing.
fn make_folder(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.with_context(|| format!("cannot create {}", path.display()))
}

fn end(number: u8, folder: &Path) -> Result<()> {
    let namespaces = namespaces_of(number);
    for namespace in &namespaces {
        end_processes(namespace)?;
    }
    // With the hub its end would go too, but some time later: the next lab of this number would find it.
    delete_link(&name_of_link(number))?;
    for namespace in &namespaces {
        ip(&["netns", "delete", namespace], "")?;
        remove(&files_of(namespace))?;
    }
    remove(folder)
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn delete_link(name: &str) -> Result<()> {
    let exists = || Path::new("/sys/class/net").join(name).exists();
    match exists().then(|| ip(&["link", "delete", name], "")) {
        Some(Err(error)) if exists() => Err(error),
        _ => Ok(()),
    }
}

/// Kills what runs in a namespace, by pid, and waits until it is gone. Not this process, which may have a thread in there.
#[expect(clippy::disallowed_methods, reason = "a condition with a deadline; and a lab ends in drop, where nothing can be awaited")]
fn end_processes(namespace: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let own = std::process::id();
        let listed = ip(&["netns", "pids", namespace], "")?;
        let pids: Vec<u32> = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != own).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("processes {pids:?} in the network namespace {namespace} do not end");
        }
        for pid in pids {
            // An error says that it has ended meanwhile.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
