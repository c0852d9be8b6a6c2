//! HTTP as a client speaks it, with whole requests and answers; and bytes as only a broken client sends them.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::machine::{DEADLINE, runtime};

/// A request, sent as it stands: nothing but `Host` is added.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    pieces: Vec<Bytes>,
    chunked: bool,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// No complete answer came; why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer(pub String);

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            pieces: Vec::new(),
            chunked: false,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", target).body(body)
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.pieces = vec![body.into()];
        self
    }

    /// A body of unstated length in these chunks.
    #[must_use]
    pub fn chunks(mut self, chunks: &[&str]) -> Self {
        self.pieces = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk.as_bytes())).collect();
        self.chunked = true;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn build(self) -> hyper::Request<Pieces> {
        let mut request = hyper::Request::builder().method(self.method.as_str()).uri(&self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", "localhost");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = Pieces { left: self.pieces.into(), chunked: self.chunked };
        request.body(body).unwrap_or_else(|error| panic!("the test's request is none: {error}"))
    }
}

impl Response {
    /// Fails unless this is the status.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "the body says: {}", self.text());
        self
    }

    /// The first value of a header; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// A body that states its length only if it is not chunked.
struct Pieces {
    left: VecDeque<Bytes>,
    chunked: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.left.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.left.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// One connection, kept open between requests.
pub struct Client {
    sender: SendRequest<Pieces>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: &str) -> Result<Self, NoAnswer> {
        runtime().block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(no_answer)?;
            stream.set_nodelay(true).map_err(no_answer)?;
            Self::over(stream).await
        })
    }

    pub(crate) fn connect_socket(path: &std::path::Path) -> Result<Self, NoAnswer> {
        runtime().block_on(async {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(no_answer)?;
            Self::over(stream).await
        })
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, NoAnswer> {
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(no_answer)?;
        // How the connection ends is seen by whoever waits for an answer on it.
        drop(runtime().spawn(async move { connection.await.ok() }));
        Ok(Self { sender })
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// The connection broke, or no whole answer came in time. The server may have worked on the request all the same.
    pub fn send(&mut self, request: Request) -> Result<Response, NoAnswer> {
        runtime().block_on(async {
            let exchange = async {
                self.sender.ready().await.map_err(no_answer)?;
                let answer = self.sender.send_request(request.build()).await.map_err(no_answer)?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(no_answer)?.to_bytes();
                let text = |value: &hyper::header::HeaderValue| {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                };
                let headers =
                    head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                Ok(Response { status: head.status.as_u16(), headers, body })
            };
            let slow = |_elapsed| NoAnswer(format!("no answer within {DEADLINE:?}"));
            tokio::time::timeout(DEADLINE, exchange).await.map_err(slow)?
        })
    }
}

fn no_answer(error: impl std::error::Error) -> NoAnswer {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    NoAnswer(text)
}

/// Sends bytes as they are and returns all that comes until the server closes the connection.
///
/// # Panics
/// If nobody listens, or the server neither answers nor closes in time.
#[track_caller]
pub fn raw(address: &str, bytes: &[u8]) -> String {
    exchange(address, bytes, false)
}

/// As [`raw`], from a client that says after its last byte that nothing more comes.
///
/// # Panics
/// As [`raw`].
#[track_caller]
pub fn raw_cut(address: &str, bytes: &[u8]) -> String {
    exchange(address, bytes, true)
}

#[track_caller]
fn exchange(address: &str, bytes: &[u8], cut: bool) -> String {
    let connected = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        // A server that has refused already may close before everything is sent.
        stream.write_all(bytes).ok();
        if cut {
            stream.shutdown(std::net::Shutdown::Write).ok();
        }
        Ok(stream)
    });
    let mut stream = connected.unwrap_or_else(|error| panic!("can't connect to {address}: {error}"));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "the answer can't be read: {error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}
