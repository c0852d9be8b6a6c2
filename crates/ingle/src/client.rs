//! Talking to a running server over its admin socket.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use ingle_control::absolute;
use ingle_tasks::{TaskKind, Tasks};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use crate::app::admin_socket;
use crate::cli::Place;
use crate::exit::{APP, CommandError, MACHINE};
use crate::surroundings::Surroundings;

/// A running server.
pub(crate) struct Client {
    stream: UnixStream,
    tasks: Tasks,
}

impl Client {
    /// The server of this state folder; `None` if none runs.
    pub(crate) async fn connect(state: &Path, tasks: &Tasks) -> Option<Self> {
        let stream = UnixStream::connect(admin_socket(state)).await.ok()?;
        Some(Self { stream, tasks: tasks.clone() })
    }

    /// The server of an app that is named on the command line.
    ///
    /// # Errors
    /// None runs.
    pub(crate) async fn of(place: &Place) -> Result<Self, CommandError> {
        let state = Surroundings::state(&absolute(&place.folder), place.state.as_ref());
        let client = Self::connect(&state, &Tasks::new()).await;
        client.ok_or_else(|| {
            let error = CommandError::new(MACHINE, "E0702", "no server runs for this app");
            error.hint("start it with `ingle start`, or name its folder with --app")
        })
    }

    /// One request; the server's refusals are errors.
    pub(crate) async fn request(
        self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Value, CommandError> {
        let response = self.exchange(method, path, query, Full::new(body)).await?;
        json(response).await
    }

    /// One request with a body that may be a stream; the head of the answer, whose body is still to come.
    pub(crate) async fn exchange<B>(
        self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: B,
    ) -> Result<Response<Incoming>, CommandError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.stream)).await.map_err(broken)?;
        drop(self.tasks.spawn(TaskKind::Connection, "client", async move {
            // The answer, or its absence, is seen by the sender.
            connection.await.ok();
        }));
        let request = Request::builder()
            .method(method)
            .uri(target(path, query))
            .header("host", "ingle")
            .body(body)
            .map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let value = json(response).await?;
        let message = value["error"]["message"].as_str().unwrap_or_default();
        let code = value["error"]["code"].as_str().unwrap_or_default();
        // The code is the server's; a command error carries codes of this build.
        let known = ["E0126", "E0231", "E0420", "E0421"].into_iter().find(|known| *known == code);
        Err(CommandError::new(APP, known.unwrap_or("E0702"), message.to_owned()))
    }
}

/// One request over TCP, as any caller would send it: status and body of the answer.
pub(crate) async fn call(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Bytes,
    tasks: &Tasks,
) -> Result<(StatusCode, String), CommandError> {
    let stream = TcpStream::connect(address).await.map_err(broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    drop(tasks.spawn(TaskKind::Connection, "client", async move {
        connection.await.ok();
    }));
    let kind = if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        "application/json"
    } else {
        "text/plain"
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("content-type", kind)
        .body(Full::new(body))
        .map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The server went away, or speaks nonsense.
pub(crate) fn broken(error: impl std::fmt::Display) -> CommandError {
    CommandError::new(MACHINE, "E0702", format!("the server did not answer: {error}"))
}

/// The whole body of an answer.
pub(crate) async fn json(response: Response<Incoming>) -> Result<Value, CommandError> {
    let bytes = response.into_body().collect().await.map_err(broken)?.to_bytes();
    serde_json::from_slice(&bytes).map_err(broken)
}

fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(&encode(name));
        text.push('=');
        text.push_str(&encode(value));
    }
    text
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(target("/v1/x", &[("name", "a/b"), ("p.q", "ü &")]), "/v1/x?name=a%2Fb&p.q=%C3%BC%20%26");
    }
}
