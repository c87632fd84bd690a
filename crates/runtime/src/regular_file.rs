//! Reads small text files from a folder into which others put what they like.
//!
//! There, any name may stand for anything: a FIFO at whose end nobody writes, a link to a file without end, and another
//! thing a moment after it was looked at. So a file is opened once and without waiting, what was opened is what is
//! judged, and no more is read than is allowed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Whether the last part of a path may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Followed,
    Refused,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Also for a link where links are refused (`ELOOP`), and for a socket (`ENXIO`).
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is a folder")]
    Folder,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("it is not UTF-8 text")]
    NotText,
}

/// The whole text of a regular file of at most `max` bytes. Never blocks on what is not a file.
pub fn read(path: &Path, links: Links, max: u64) -> Result<String, ReadError> {
    // Without O_NONBLOCK, to open a FIFO is to wait for its writer. Regular files do not know the difference.
    // std adds O_CLOEXEC.
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if links == Links::Refused {
        flags |= OFlag::O_NOFOLLOW;
    }
    read_opened(&OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?, max)
}

fn read_opened(file: &File, max: u64) -> Result<String, ReadError> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ReadError::Folder);
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    // The length is only what the file says of itself: those of /proc say 0, and one that is written to grows.
    if metadata.len() > max {
        return Err(ReadError::TooLarge(max));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ReadError::TooLarge(max));
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    const MAX: u64 = 64;

    #[test]
    fn a_regular_file_is_read_up_to_the_limit_and_not_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "a".repeat(64)).unwrap();
        assert_eq!(read(&path, Links::Refused, MAX).unwrap().len(), 64);
        std::fs::write(&path, "a".repeat(65)).unwrap();
        assert!(matches!(read(&path, Links::Refused, MAX), Err(ReadError::TooLarge(MAX))));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read(&path, Links::Refused, MAX), Err(ReadError::NotText)));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(read(&fifo, Links::Followed, MAX), Err(ReadError::NotRegular)));
        assert!(matches!(read(&socket, Links::Followed, MAX), Err(ReadError::Io(_))));
        assert!(matches!(read(folder.path(), Links::Followed, MAX), Err(ReadError::Folder)));
        assert!(matches!(read(Path::new("/dev/zero"), Links::Followed, MAX), Err(ReadError::NotRegular)));
    }

    #[test]
    fn a_file_that_says_it_is_empty_and_has_no_end_is_read_no_further_than_the_limit() {
        let endless = Path::new("/proc/self/pagemap");
        assert_eq!(std::fs::metadata(endless).unwrap().len(), 0);
        assert!(read(endless, Links::Followed, MAX).is_err());
        // It has a length, of which it says nothing.
        assert!(matches!(read(Path::new("/proc/self/mounts"), Links::Followed, 1), Err(ReadError::TooLarge(1))));
    }

    #[test]
    fn a_link_is_followed_only_where_links_are() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&link, Links::Followed, MAX).unwrap(), "text");
        assert!(matches!(read(&link, Links::Refused, MAX), Err(ReadError::Io(_))));
    }
}
