//! The control socket: one writer at a time, file descriptors passed along with `lane` and `fork` frames.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use crate::wire::frame;
use crate::wire::message::ToWorker;

/// Most file descriptors with one frame: those of a `fork`.
const DESCRIPTORS_MAX: usize = 7;

/// Longer than any fork takes.
const ANNOUNCED_MAX: Duration = Duration::from_secs(30);

/// The server's writing end of a control socket.
pub(crate) struct Control(Mutex<OwnedWriteHalf>);

impl Control {
    /// Makes the socket pair. Returns both halves of our end, and the end that the process inherits.
    pub(crate) fn pair() -> io::Result<(Self, OwnedReadHalf, OwnedFd)> {
        let (ours, theirs) = Self::sockets()?;
        let (control, read) = Self::of(ours);
        Ok((control, read, theirs))
    }

    /// As [`Control::pair`], before anything is read.
    pub(crate) fn sockets() -> io::Result<(UnixStream, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        Ok((ours, theirs.into()))
    }

    pub(crate) fn of(ours: UnixStream) -> (Self, OwnedReadHalf) {
        let (read, write) = ours.into_split();
        (Self(Mutex::new(write)), read)
    }

    /// To be called before anything can be said: who says it is added when it is said.
    pub(crate) fn expect_announcement(ours: &UnixStream) -> io::Result<()> {
        Ok(set_socket_passcred(ours, true)?)
    }

    /// The number by which this process knows the one that said the first byte. The system adds the sender to a message
    /// and turns numbers of its box into ours (unix(7), `SO_PASSCRED`).
    pub(crate) async fn announced(ours: &UnixStream) -> io::Result<i32> {
        let said = tokio::time::timeout(ANNOUNCED_MAX, async {
            loop {
                ours.readable().await?;
                match ours.try_io(Interest::READABLE, || receive_sender(ours.as_fd())) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => break other,
                }
            }
        });
        let sender = said.await.map_err(|_late| io::Error::other("the new process says nothing"))??;
        set_socket_passcred(ours, false)?;
        Ok(sender)
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

fn receive_sender(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = rustix::net::recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::empty(),
    )?;
    if received.bytes == 0 {
        return Err(io::Error::other("the new process has ended before it was there"));
    }
    let sender = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid.as_raw_nonzero().get()),
        _ => None,
    });
    sender.ok_or_else(|| io::Error::other("the system does not tell who the new process is"))
}

fn send_attached(socket: BorrowedFd<'_>, bytes: &[u8], attached: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(attached)) {
        return Err(io::Error::other("no room for the file descriptors in the message"));
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}
