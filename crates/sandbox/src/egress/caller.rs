//! The thread that called, seen from outside: its memory, its sockets, its files, its rights.
//!
//! All of it may wait for the box: memory and folders may be backed by a file system that a process of the box serves.
//! So it is done by threads of which each box has few. And all of it counts only if the notification is valid
//! afterwards, as a number of a thread may be used again.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, PidfdFlags, PidfdGetfdFlags, Uid};

use super::notification::last_error;

/// `PIDFD_THREAD` of linux/pidfd.h: a descriptor of a thread that does not lead its process. Known from Linux 6.9 on.
const OF_THREAD: u32 = 0o200;

/// The longest address that the kernel takes (`sockaddr_storage`).
pub(super) const ADDRESS_BYTES_MAX: usize = 128;

#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(Pid);

/// Whose rights a call has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Credentials {
    pub(super) user: Uid,
    pub(super) group: Gid,
    pub(super) groups: Vec<Gid>,
}

/// The view that a thread has of files.
#[derive(Debug)]
pub(super) struct Files {
    root: OwnedFd,
    working_directory: OwnedFd,
    /// Where the working directory is, seen from the root; `None` if it is not below it.
    working_path: Option<PathBuf>,
}

impl Caller {
    pub(super) fn new(thread: i32) -> Result<Self, Errno> {
        // A thread in a namespace of processes that we can't see into has number 0.
        if thread <= 0 {
            return Err(Errno::PERM);
        }
        Pid::from_raw(thread).map(Self).ok_or(Errno::PERM)
    }

    /// Copies an address out of its memory.
    pub(super) fn copy(self, address: u64, length: i32) -> Result<Vec<u8>, Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        if !(2..=ADDRESS_BYTES_MAX).contains(&length) {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0_u8; length];
        let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
        let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length };
        // SAFETY: the local part is `bytes`, which is that long and is borrowed by nobody. The remote part is in
        // another process; the kernel checks it.
        #[expect(unsafe_code, reason = "there is no safe door to another's memory")]
        let count = unsafe {
            libc::process_vm_readv(
                self.0.as_raw_nonzero().get(),
                &raw const local,
                1,
                &raw const remote,
                1,
                0,
            )
        };
        match usize::try_from(count) {
            Ok(count) if count == length => Ok(bytes),
            Ok(_) => Err(Errno::FAULT),
            Err(_) => Err(last_error()),
        }
    }

    /// A descriptor of our own for what it has under the number.
    pub(super) fn socket(self, number: RawFd) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::BADF);
        }
        let process = self.descriptor()?;
        rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty())
    }

    fn descriptor(self) -> Result<OwnedFd, Errno> {
        match rustix::process::pidfd_open(self.0, PidfdFlags::from_bits_retain(OF_THREAD)) {
            // Older kernels have descriptors of leaders only. Threads share their sockets with their leader.
            Err(Errno::INVAL) => {
                let leader = self.status("Tgid:")?.trim().parse().map_err(|_| Errno::SRCH)?;
                rustix::process::pidfd_open(Pid::from_raw(leader).ok_or(Errno::SRCH)?, PidfdFlags::empty())
            }
            result => result,
        }
    }

    /// Whether what it has under the number is closed by `exec`.
    pub(super) fn closes_on_exec(self, number: RawFd) -> bool {
        let text = fs::read_to_string(self.path(&format!("fdinfo/{number}"))).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        // If it can't be told, rather not let a child have it.
        flags.is_none_or(|flags| flags & libc::O_CLOEXEC != 0)
    }

    pub(super) fn credentials(self) -> Result<Credentials, Errno> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| Errno::PERM);
        // Real, effective, saved, and that of files, which is the one that counts for sockets on paths.
        let last = |line: String| line.split_ascii_whitespace().nth(3).ok_or(Errno::PERM).and_then(number);
        let groups = self.status("Groups:")?;
        let groups = groups.split_ascii_whitespace().map(|text| number(text).map(Gid::from_raw));
        Ok(Credentials {
            user: Uid::from_raw(last(self.status("Uid:")?)?),
            group: Gid::from_raw(last(self.status("Gid:")?)?),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn files(self) -> Result<Files, Errno> {
        let open = |name| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, self.path(name), flags, Mode::empty())
        };
        // Both are told as we would see them; what lies below the other is the same for both of us.
        let read = |name| fs::read_link(self.path(name)).map_err(|_| Errno::NOENT);
        let working_path = read("cwd")?.strip_prefix(read("root")?).ok().map(Path::to_path_buf);
        Ok(Files { root: open("root")?, working_directory: open("cwd")?, working_path })
    }

    fn status(self, name: &str) -> Result<String, Errno> {
        let text = fs::read_to_string(self.path("status")).map_err(|_| Errno::SRCH)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned).ok_or(Errno::SRCH)
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.as_raw_nonzero()))
    }
}

impl Files {
    /// Finds what a path means to that thread, and nothing that it could not reach: neither a link nor `..` leads out
    /// of its root.
    pub(super) fn find(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = Path::new(OsStr::from_bytes(path));
        if path.is_absolute() {
            return self.open(path, OFlags::PATH);
        }
        // There is no way to give both a root and a folder to begin at, so the path is made one from the root. That
        // the folder is still there is checked, as another of its name is not what is meant.
        let working_path = self.working_path.as_ref().ok_or(Errno::NOENT)?;
        let there = self.open(working_path, OFlags::PATH | OFlags::DIRECTORY)?;
        if identity(&there)? != identity(&self.working_directory)? {
            return Err(Errno::NOENT);
        }
        self.open(&working_path.join(path), OFlags::PATH)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Something was renamed meanwhile, somewhere; the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

fn identity(file: &OwnedFd) -> Result<(u64, u64), Errno> {
    let status = rustix::fs::fstat(file)?;
    Ok((status.st_dev, status.st_ino))
}

/// Whether the descriptor does not wait.
pub(super) fn is_nonblocking(socket: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(socket).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Caller {
        Caller::new(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
    }

    #[test]
    fn memory_is_copied_whole_or_not_at_all() {
        let bytes = [7_u8; 16];
        let address = bytes.as_ptr().addr() as u64;
        assert_eq!(own().copy(address, 16).unwrap(), bytes);
        for length in [-1, 0, 1, 129, i32::MAX] {
            assert_eq!(own().copy(address, length), Err(Errno::INVAL), "{length}");
        }
        assert_eq!(own().copy(8, 16), Err(Errno::FAULT));
        assert_eq!(own().copy(u64::MAX, 16), Err(Errno::FAULT));
    }

    #[test]
    fn a_socket_is_the_same_one_under_another_number() {
        let (ours, _theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&ours);
        let got = own().socket(number).unwrap();
        assert_eq!(identity(&got), identity(&ours));
        assert!(own().closes_on_exec(number));
        assert_eq!(own().socket(-1).unwrap_err(), Errno::BADF);
    }

    #[test]
    fn paths_stay_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir_all(inside.join("work")).unwrap();
        fs::write(inside.join("secret"), "of the box").unwrap();
        fs::write(folder.path().join("secret"), "of the host").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("relative")).unwrap();
        let open = |path: &Path| rustix::fs::openat(CWD, path, OFlags::PATH, Mode::empty()).unwrap();
        let files = Files {
            root: open(&inside),
            working_directory: open(&inside.join("work")),
            working_path: Some(PathBuf::from("work")),
        };
        let expected = identity(&open(&inside.join("secret"))).unwrap();
        for path in ["/secret", "../secret", "../../../secret", "/relative", "../relative", "//./secret"] {
            assert_eq!(files.find(path.as_bytes()).and_then(|file| identity(&file)), Ok(expected), "{path}");
        }
        for path in ["/absolute", "secret", "/job/../../outside", "/proc/self/exe"] {
            assert_eq!(files.find(path.as_bytes()).unwrap_err(), Errno::NOENT, "{path}");
        }
        let moved = Files { working_path: Some(PathBuf::new()), ..files };
        assert_eq!(moved.find(b"secret").unwrap_err(), Errno::NOENT);
    }
}
