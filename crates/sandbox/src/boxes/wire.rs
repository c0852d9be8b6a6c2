//! Messages between the server, the maker and the keepers: JSON, each with its file descriptors, over a socket that
//! keeps messages apart (`SOCK_SEQPACKET`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A view of many mounts and the filters fit in it several times.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
const DESCRIPTORS_MAX: usize = 16;

/// Both ends, which no program that is started inherits.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    attached: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("the message to the keeper of a box is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !attached.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(attached)) {
        return Err(io::Error::other("no room for the file descriptors in the message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message; `None` at the end, when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let mut attached = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            attached.extend(descriptors);
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(bytes.get(..count).unwrap_or_default())?;
    Ok(Some((message, attached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_and_with_its_descriptors() {
        let (one, other) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&one, &"a".repeat(100_000), &[file.as_fd(), file.as_fd()]).unwrap();
        send(&one, &7, &[]).unwrap();
        let (text, attached) = receive::<String>(&other).unwrap().unwrap();
        assert_eq!((text.len(), attached.len()), (100_000, 2));
        assert_eq!(receive::<i32>(&other).unwrap().unwrap().0, 7);
        drop(one);
        assert!(receive::<i32>(&other).unwrap().is_none());
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused() {
        let (one, _other) = pair().unwrap();
        assert!(send(&one, &"a".repeat(MESSAGE_BYTES_MAX), &[]).is_err());
    }
}
