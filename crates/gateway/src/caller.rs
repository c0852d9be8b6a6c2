//! A client's connection, and how it is found out that the client has gone away.
//!
//! A client that closes its connection and one that only says that it sends nothing more (a half close, as `nc -N` makes)
//! look the same from here: both end what they send (FIN). What tells them apart is what happens to bytes that are sent to
//! them: a closed connection is reset. So when the end has come while an answer is being made, an interim response is sent
//! which means nothing and which every client of HTTP/1.1 has to skip: `100 Continue` (RFC 9110, section 15.2). If a reset
//! comes back, nobody is there any more. To a client of HTTP/1.0 none may be sent; it is seen leaving only if it resets the
//! connection by itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use ingle_types::caller::{Caller, CallerHandle};
use ingle_types::event::futures::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How long after the end of what the client sends it is asked whether it is there. Answers that are made within this time
/// go to half-closed connections as if nothing was.
const ASK_AFTER: Duration = Duration::from_millis(100);
/// How often it is looked for the end behind something that was sent and that nobody has read yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The connection as HTTP is spoken over it.
pub(crate) struct Line(Arc<Connection>);

/// The same connection, for those who want to know whether somebody is there. Goes with each request.
#[derive(Clone)]
pub(crate) struct Client(Arc<Connection>);

struct Connection {
    stream: TcpStream,
    is_gone: AtomicBool,
    sent: Mutex<Sent>,
}

/// What was sent over the connection. Locked while something is sent.
struct Sent {
    /// Nothing of an answer is on its way, and the client knows interim responses.
    may_ask: bool,
    /// The last answer has left as a whole.
    is_flushed: bool,
}

/// Both views of a connection.
pub(crate) fn split(stream: TcpStream) -> (Line, Client) {
    let sent = Mutex::new(Sent { may_ask: false, is_flushed: true });
    let connection = Arc::new(Connection { stream, is_gone: AtomicBool::new(false), sent });
    (Line(connection.clone()), Client(connection))
}

impl Client {
    /// The client as one who waits for the answer to a request that was read whole.
    pub(crate) fn waits(&self, version: Version) -> CallerHandle {
        let mut sent = self.0.sent();
        sent.may_ask = sent.is_flushed && version >= Version::HTTP_11;
        CallerHandle(Arc::new(self.clone()))
    }

    /// Takes a step to its end, and notices when the client leaves meanwhile: whoever asks then knows at once.
    pub(crate) async fn noticed<T>(&self, version: Version, step: impl Future<Output = T>) -> T {
        tokio::pin!(step);
        tokio::select! {
            // Most steps are no waits, and then nothing is to be watched.
            biased;
            done = &mut step => return done,
            () = async { self.waits(version).0.gone().await } => {}
        }
        step.await
    }
}

impl Caller for Client {
    fn gone(&self) -> BoxFuture<()> {
        let connection = self.0.clone();
        Box::pin(async move { connection.gone().await })
    }
}

impl Connection {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn gone(&self) {
        if !self.is_gone.load(Ordering::Acquire) {
            // Whatever fails, the connection can't be used any more.
            self.reset().await.ok();
            self.is_gone.store(true, Ordering::Release);
        }
    }

    /// Waits until the connection is reset, or fails in another way. Sees to it that it is, if nobody is there.
    async fn reset(&self) -> io::Result<()> {
        self.end().await?;
        tokio::time::sleep(ASK_AFTER).await;
        self.ask()?;
        self.stream.ready(Interest::ERROR).await.map(drop)
    }

    /// Waits for the end of what the client sends.
    async fn end(&self) -> io::Result<()> {
        while self.stream.peek(&mut [0]).await? > 0 {
            // A body that the function takes in pieces, or the next request. The system tells of an end behind that, but does
            // not wake anybody for it.
            if self.stream.ready(Interest::READABLE).await?.is_read_closed() {
                break;
            }
            tokio::select! {
                reset = self.stream.ready(Interest::ERROR) => return reset.and(Err(io::ErrorKind::ConnectionReset.into())),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
    }

    /// Sends what a client who is there skips, and one who is gone resets.
    fn ask(&self) -> io::Result<()> {
        let mut sent = self.sent();
        if !std::mem::take(&mut sent.may_ask) {
            return Ok(());
        }
        match self.stream.try_write(INTERIM) {
            // So little is taken whole or not at all, as everything before it has left.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let mut sent = self.sent();
            // Also when there is no room for it now: nothing may come in between.
            *sent = Sent { may_ask: false, is_flushed: false };
            match send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            let room = buffer.remaining();
            let mut count = None;
            let tried = stream.try_io(Interest::READABLE, || {
                let read = stream.try_read_buf(buffer)?;
                count = Some(read);
                // Less than there was room for means that nothing is left. Said so, the next look for more, and the one for
                // the end, cost no call of the system.
                if (1..room).contains(&read) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                _ if count.is_some() => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called when all that there is has been handed over, so this is where an answer has left as a whole.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.sent().is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Write) {
            // The client was faster.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests;
