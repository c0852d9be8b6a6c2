//! placeholder until the lists arrive
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
pub(crate) fn load(filter: &[u8]) -> io::Result<()> { if filter.is_empty() { return Ok(()) } apply(filter, 0).map(drop) }
pub(crate) fn load_with_listener(filter: &[u8]) -> io::Result<OwnedFd> {
    let number = apply(filter, 8)?;
    #[expect(unsafe_code, reason = "x")]
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap_or(-1)) })
}
fn apply(filter: &[u8], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    let program = libc::sock_fprog { len: u16::try_from(filter.len() / 8).unwrap_or(0), filter: filter.as_ptr().cast_mut().cast() };
    #[expect(unsafe_code, reason = "x")]
    let r = unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, &raw const program) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}
