//! The addresses of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// The addresses of all network interfaces, in the network namespace of the server.
///
/// # Errors
/// Those of the system.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `first` is a place for one pointer, which getifaddrs(3) fills on success.
    #[expect(unsafe_code, reason = "the list comes from C")]
    let result = unsafe { libc::getifaddrs(&raw mut first) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: `next` is an entry of the list, which lives until `freeifaddrs`; an address, if there is one, is as
        // long as its family says.
        #[expect(unsafe_code, reason = "the list comes from C")]
        unsafe {
            found.extend(read((*next).ifa_addr));
            next = (*next).ifa_next;
        }
    }
    // SAFETY: `first` came from getifaddrs, is freed once, and nothing of the list is used any more.
    #[expect(unsafe_code, reason = "the list comes from C")]
    unsafe {
        libc::freeifaddrs(first);
    }
    Ok(found)
}

/// # Safety
/// The pointer is null or leads to an address that is as long as its family says.
#[expect(unsafe_code, reason = "the list comes from C")]
unsafe fn read(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the caller promises a whole address; it need not be aligned for its family.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_them() {
        assert!(addresses().unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
