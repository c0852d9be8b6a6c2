//! System calls that no library wraps, and the error of a step.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

/// A step that could not be done.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: String,
    pub(crate) errno: i32,
}

pub(crate) type Done<T = ()> = Result<T, Failed>;

/// Names the step at which something failed.
pub(crate) trait At<T> {
    fn at(self, step: &str) -> Done<T>;

    /// As `at`, with what the step was about.
    fn at_path(self, step: &str, path: &std::path::Path) -> Done<T>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: &str) -> Done<T> {
        self.map_err(|error| Failed { step: step.to_owned(), errno: errno(&error.into()) })
    }

    fn at_path(self, step: &str, path: &std::path::Path) -> Done<T> {
        self.map_err(|error| Failed {
            step: format!("{step} {}", path.display()),
            errno: errno(&error.into()),
        })
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())
}

/// What a fork returns.
pub(crate) enum Side {
    Parent(i32),
    Child,
}

/// Forks. Only for a process without other threads: its child may then do whatever it likes.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: the makers and keepers of boxes never start a thread, so no lock can be held by one that is not copied.
    #[expect(unsafe_code, reason = "fork is unsafe where there are threads")]
    let number = unsafe { libc::fork() };
    match number {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        number => Ok(Side::Parent(number)),
    }
}

/// Ends this process at once, without handlers of the program that it is a copy of.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: it does not return, and needs nothing of this process.
    #[expect(unsafe_code, reason = "no library offers _exit")]
    unsafe {
        libc::_exit(status)
    }
}

/// Attributes of all mounts of a tree (mount_setattr(2)). They are private from then on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) set: u64,
    /// Files of its users belong to others in this tree (idmapped mounts).
    pub(crate) users: Option<&'a OwnedFd>,
    /// Also of what is mounted below.
    pub(crate) is_recursive: bool,
}

pub(crate) const READ_ONLY: u64 = 0x1;
pub(crate) const NO_SET_USER: u64 = 0x2;
pub(crate) const NO_DEVICES: u64 = 0x4;
const MAP_USERS: u64 = 0x0010_0000;
const AT_RECURSIVE: i32 = 0x8000;

pub(crate) fn set_attributes(tree: impl AsFd, attributes: Attributes<'_>) -> io::Result<()> {
    let attributes_of_all = attributes.is_recursive;
    let mapped = if attributes.users.is_some() { MAP_USERS } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: attributes.set | mapped,
        attr_clr: 0,
        // A copy of a mount belongs to its group: what is mounted below one would be seen in the other.
        propagation: libc::MS_PRIVATE,
        userns_fd: attributes.users.map_or(0, |users| u64::try_from(users.as_raw_fd()).unwrap_or(0)),
    };
    // SAFETY: path and attributes live until the call returns, and the size is that of the attributes.
    #[expect(unsafe_code, reason = "no library wraps mount_setattr")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | if attributes_of_all { AT_RECURSIVE } else { 0 },
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor that can be read when a child has ended; the signal itself is blocked from now on.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before it is used, and the new descriptor belongs to nobody else.
    #[expect(unsafe_code, reason = "no library in use wraps signalfd")]
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// Lets all signals through again, for a program that is about to be started.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is initialised before it is used.
    #[expect(unsafe_code, reason = "no library in use wraps sigprocmask")]
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const signals, std::ptr::null_mut());
    }
}

/// Closes one descriptor.
pub(crate) fn close(number: i32) {
    // SAFETY: as with `close_from`: whoever owns it is never heard of again.
    #[expect(unsafe_code, reason = "what another owns in a copy of this process")]
    unsafe {
        libc::close(number);
    }
}

/// Closes all descriptors from `first` on.
pub(crate) fn close_from(first: i32) {
    // SAFETY: callers name the descriptors that they still use below `first`; what they own above, they never use again.
    #[expect(unsafe_code, reason = "no library in use wraps close_range")]
    unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, 0);
    }
}

/// Makes `source` known under `number`, over an exec.
pub(crate) fn place(source: impl AsFd, number: i32) -> io::Result<()> {
    let source = source.as_fd();
    if source.as_raw_fd() == number {
        return Ok(rustix::io::fcntl_setfd(source, rustix::io::FdFlags::empty())?);
    }
    // SAFETY: the numbers are those that the program finds its sockets under; nobody of this process uses them.
    #[expect(unsafe_code, reason = "dup2 onto a chosen number")]
    let result = unsafe { libc::dup2(source.as_raw_fd(), number) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Turns the loopback device of this network namespace on, and gives it one more address (netdevice(7)).
///
/// With 127.0.0.1 alone, programs that ask for addresses as the machine has them (`AI_ADDRCONFIG`) get none.
pub(crate) fn loopback_up(address: std::net::Ipv4Addr) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut flags = interface(b"lo");
    flags.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    ask_interface(&socket, libc::SIOCSIFFLAGS, &flags)?;
    let mut second = interface(b"lo:1");
    let name = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain structures of the same size, one a view of the other.
    #[expect(unsafe_code, reason = "the kernel's structure is a union")]
    let name = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(name) };
    second.ifr_ifru.ifru_addr = name;
    ask_interface(&socket, libc::SIOCSIFADDR, &second)
}

fn interface(name: &[u8]) -> libc::ifreq {
    // SAFETY: it is a plain structure, for which zeros are valid.
    #[expect(unsafe_code, reason = "the structure has no constructor")]
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, source) in request.ifr_name.iter_mut().zip(name) {
        *target = libc::c_char::try_from(*source).unwrap_or_default();
    }
    request
}

fn ask_interface(socket: &OwnedFd, what: libc::Ioctl, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: the request lives until the call returns, and is what these calls take.
    #[expect(unsafe_code, reason = "no library in use wraps these calls")]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_ref(request)) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The highest limit of file locks that a process may set itself; `None` if the system does not tell.
pub(crate) fn locks_limit(process: Pid) -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives until the call returns, which writes it and reads nothing of ours.
    #[expect(unsafe_code, reason = "no library in use asks for the limits of others")]
    let result = unsafe {
        libc::prlimit64(process.as_raw_nonzero().get(), libc::RLIMIT_LOCKS, std::ptr::null(), &raw mut limit)
    };
    if result == 0 {
        return Some(limit.rlim_max);
    }
    // Root of a container may not ask so of another user, and may read it (proc_pid_limits(5)).
    if io::Error::last_os_error().raw_os_error() != Some(libc::EPERM) || !rustix::process::geteuid().is_root()
    {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{}/limits", process.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Sets that limit of another process, which must be of the same user.
pub(crate) fn set_locks_limit(process: Pid, most: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure lives until the call returns, which only reads it.
    #[expect(unsafe_code, reason = "no library in use sets the limits of others")]
    let result = unsafe {
        libc::prlimit64(
            process.as_raw_nonzero().get(),
            libc::RLIMIT_LOCKS,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A copy of a descriptor under a number of our choice, closed by an exec.
pub(crate) fn take_number(source: &OwnedFd, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: nobody in this process owns the number; what it meant before is closed by the call.
    #[expect(unsafe_code, reason = "dup3 onto a chosen number")]
    unsafe {
        match libc::dup3(source.as_raw_fd(), number, libc::O_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// The number of an open process, as this process sees it; `None` if it has ended (`/proc/self/fdinfo`).
pub(crate) fn number_of(process: &OwnedFd) -> io::Result<Option<Pid>> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = line.and_then(|line| line.trim().parse().ok());
    let number: i32 =
        number.ok_or_else(|| io::Error::other("the system does not tell the number of a process"))?;
    // -1 stands for one whose status was taken.
    Ok(if number > 0 { Pid::from_raw(number) } else { None })
}
