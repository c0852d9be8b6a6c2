//! The control socket: one writer at a time, file descriptors passed along with `lane` and `fork` frames.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use crate::wire::frame;
use crate::wire::message::ToWorker;

/// Most file descriptors with one frame: those of a `fork`.
const DESCRIPTORS_MAX: usize = 5;

/// The server's writing end of a control socket.
pub(crate) struct Control(Mutex<OwnedWriteHalf>);

impl Control {
    /// Makes the socket pair. Returns both halves of our end, and the end that the process inherits.
    pub(crate) fn pair() -> io::Result<(Self, OwnedReadHalf, std::os::fd::OwnedFd)> {
        let (ours, theirs) = tokio::net::UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let (read, write) = ours.into_split();
        Ok((Self(Mutex::new(write)), read, theirs.into()))
    }

    pub(crate) async fn send(&self, message: &ToWorker<'_>) -> io::Result<()> {
        let header = serde_json::to_vec(message)?;
        self.send_frame(&header, &[]).await
    }

    pub(crate) async fn send_frame(&self, header: &[u8], body: &[Bytes]) -> io::Result<()> {
        let mut stream = self.0.lock().await;
        frame::write(&mut *stream, header, body).await
    }

    /// Sends a frame without body, with file descriptors attached to its first byte. `sent` is called when no other
    /// frame can come before this one any more: whoever counts on the order of answers does so there.
    pub(crate) async fn send_with_descriptors(
        &self,
        message: &ToWorker<'_>,
        attached: &[BorrowedFd<'_>],
        sent: impl FnOnce() + Send,
    ) -> io::Result<()> {
        let header = serde_json::to_vec(message)?;
        let mut bytes = frame::prefix(&header, &[])?.to_vec();
        bytes.extend_from_slice(&header);
        let mut stream = self.0.lock().await;
        sent();
        let sent = loop {
            stream.writable().await?;
            let attempt = stream
                .as_ref()
                .try_io(Interest::WRITABLE, || send_attached(stream.as_ref().as_fd(), &bytes, attached));
            match attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other?,
            }
        };
        stream.write_all(bytes.get(sent..).unwrap_or_default()).await
    }
}

fn send_attached(socket: BorrowedFd<'_>, bytes: &[u8], attached: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(attached)) {
        return Err(io::Error::other("no room for the file descriptors in the message"));
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}
