//! Sockets in the file system: who may connect, and what lies there from before.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cofide_runtime::files::{self, FileError};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket};

/// Bytes of a path that fit into the kernel's address (unix(7)).
const MAX_PATH: usize = 107;
const BACKLOG: u32 = 1024;

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Owner,
    Everybody,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o777,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("the socket path {} has {} bytes, at most {MAX_PATH} are possible; choose a shorter one", path.display(), path.as_os_str().len())]
    TooLong { path: PathBuf },
    #[error("another process listens on {}; stop it, or choose another path", path.display())]
    InUse { path: PathBuf },
    #[error("{} exists and is no socket; remove it, or choose another path", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen on {}: {error}; {next_step}", path.display())]
    Io { path: PathBuf, error: io::Error, next_step: String },
    #[error(transparent)]
    Folder(#[from] FileError),
}

impl SocketError {
    fn io(path: &Path, error: io::Error) -> Self {
        // Whether a socket can be made is a question to its folder.
        let next_step = files::next_step(&error, path.parent().unwrap_or(path));
        Self::Io { path: path.to_owned(), error, next_step: next_step.unwrap_or_else(|| "choose another path".to_owned()) }
    }
}

/// A listening socket whose file goes when the guard does.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at `path`; its folder is made, for the owner alone, where it does not exist. The file that a server left
/// behind when it crashed is replaced; one at which somebody answers is not.
pub fn listen(path: &Path, access: Access) -> Result<(UnixListener, SocketFile), SocketError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(SocketError::TooLong { path: path.to_owned() });
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        files::create_private_folder(folder)?;
    }
    let failed = |error| SocketError::io(path, error);
    clear(path)?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // The file is born with the mode of the socket, so at no moment may more people connect than should.
    fchmod(socket.as_fd(), Mode::from_bits_truncate(access.mode())).map_err(|errno| failed(errno.into()))?;
    socket.bind(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned() };
    // The umask may have taken bits away.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode())).map_err(failed)?;
    Ok((socket.listen(BACKLOG).map_err(failed)?, file))
}

fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::io(path, error);
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_admits_whom_it_should_and_goes_with_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let (admin, workload) = (folder.path().join("private/admin.sock"), folder.path().join("workload.sock"));
        let first = listen(&admin, Access::Owner).unwrap();
        let second = listen(&workload, Access::Everybody).unwrap();
        assert_eq!((mode(&admin), mode(&workload)), (0o600, 0o777));
        assert_eq!(mode(admin.parent().unwrap()), 0o700);
        assert!(matches!(listen(&admin, Access::Owner), Err(SocketError::InUse { .. })));
        drop((first, second));
        assert!(!admin.exists() && !workload.exists());
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the file outlives its listener");
        drop(listen(&path, Access::Owner).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path, Access::Owner), Err(SocketError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let long = folder.path().join("x".repeat(108));
        assert!(listen(&long, Access::Owner).unwrap_err().to_string().contains("shorter"));
    }
}
