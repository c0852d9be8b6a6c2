//! Reading files from folders in which code of users writes: what is there under a name may be a pipe that nobody fills, a
//! device without end, or a file that grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file for reading; `None` if it is not there. It never waits, and what it opens is a file.
///
/// # Errors
/// `InvalidInput` for what is no file, such as a folder, a pipe or a device; else those of the system.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    // The standard library has it closed when another program is started.
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A socket.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(no_file()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(no_file()) }
}

/// The bytes of a small file; `None` if it is not there.
///
/// # Errors
/// As [`open`], and `FileTooLarge` for one of more than `bytes_max`.
pub fn file(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("it is larger than {} KiB", bytes_max / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(Some(bytes))
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// T-010: pipes nobody writes to, devices without end, sockets and folders are said to be no files, at once.
    #[test]
    fn t_010_only_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        symlink("pipe", path("to the pipe")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        symlink("/proc/self", path("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["pipe", "to the pipe", "zero", "folder", "socket"] {
            let error = file(&path(name), 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
        }
        assert_eq!(file(&path("none"), 10).unwrap(), None);
        std::fs::write(path("ten"), "0123456789").unwrap();
        symlink("ten", path("link")).unwrap();
        assert_eq!(file(&path("link"), 10).unwrap().unwrap(), b"0123456789");
        // Its size is told as none, and it has bytes all the same.
        for (name, bytes_max) in [("ten", 9), ("/proc/self/maps", 9)] {
            let error = file(&path(name), bytes_max).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{name}: {error}");
        }
    }
}
