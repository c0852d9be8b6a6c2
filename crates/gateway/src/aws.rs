//! The door for clients of AWS in the functions of a project: SQS, SNS and S3 on the project's queues, topics and
//! containers.
//!
//! It listens on an address of its own, which no other app is told of, and takes only requests that are signed with the
//! credentials that the server made up for this project and this run. [Why so](docs/adr/0024-a-door-for-clients-of-aws.md).
//!
//! | to find | look in |
//! |---|---|
//! | who signed a request | `signature` |
//! | bodies in signed pieces | `body` |
//! | queues: JSON 1.0 | `sqs`, `attributes`, `fifo`, [`queues`] |
//! | topics: forms and XML | `sns` |
//! | functions: what the port of a project has | [`functions`] |
//! | what is refused, in each protocol | `refusal` |
//! | buckets: paths and XML | `asked`, `s3`, `conditions`, `listing`, `xml` |
//! | objects in parts | `uploads`, `upload_lists` |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Incoming};
use ingle_store::Store;
use ingle_tasks::Tasks;
use ingle_types::clock::ClockHandle;
use serde_json::Value;
use uuid::Uuid;

use crate::blobs::BlobBody;
use crate::topics::Topics;

use functions::Functions;
use queues::Queues;
use refusal::Protocol;

mod asked;
mod attributes;
mod body;
mod conditions;
mod fifo;
pub mod functions;
mod listing;
pub mod queues;
mod refusal;
mod s3;
mod signature;
mod sns;
mod sqs;
mod upload_lists;
mod uploads;
mod xml;

pub use signature::Credentials;
pub(crate) use uploads::keep_swept;

/// Longest body, in bytes: an object in one piece, or a part of one.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest body of a request for queues and topics, in bytes: a batch of messages as JSON or as a form writes them.
const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take for the next piece of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// Of more bytes than that, digests are made aside.
const AT_ONCE_BYTES_MAX: usize = 256 * 1024;
/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";

/// What the door leads to.
pub struct Aws {
    pub store: Store,
    pub clock: ClockHandle,
    pub tasks: Tasks,
    pub credentials: Credentials,
    /// `127.0.0.1:41234`.
    pub address: String,
    pub topics: Topics,
    /// The project's own; there may be others.
    pub queues: Queues,
    pub functions: Functions,
    /// Where AWS would be.
    pub region: String,
}

type Answer = Response<BlobBody>;

/// Why a request was not done, as clients of AWS know it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl From<ingle_store::Error> for Fault {
    fn from(error: ingle_store::Error) -> Self {
        match error {
            ingle_store::Error::ObjectCondition { exists: true, .. } => conditions::failed(),
            ingle_store::Error::ObjectCondition { name, exists: false } => {
                let message = format!("The specified key does not exist: {name}");
                Self::new(StatusCode::NOT_FOUND, "NoSuchKey", message)
            }
            ingle_store::Error::ObjectName { .. } => Self::bad("InvalidArgument", error.to_string()),
            other => {
                tracing::error!(code = other.code(), "a client of AWS in a function was not served: {other}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", other.to_string())
            }
        }
    }
}

/// Whose work a request is.
#[derive(Clone, Default, PartialEq, Debug)]
struct Origin {
    /// Functions that what it causes has passed through.
    hop_count: u32,
    trace_parent: String,
}

impl Aws {
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (head, body) = request.into_parts();
        let protocol = Protocol::of(&head);
        let answered = self.serve(&head, body).await;
        let mut answer = answered.unwrap_or_else(|fault| refusal::answer(&fault, protocol));
        if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            answer.headers_mut().insert("x-amz-request-id", id.clone());
            answer.headers_mut().insert("x-amzn-requestid", id);
        }
        Ok(answer)
    }

    /// Of who has not signed, no body is taken.
    async fn serve(&self, head: &Parts, body: Incoming) -> Result<Answer, Fault> {
        let claim = signature::Claim::read(head, &self.credentials)?;
        let most = if claim.service() == "s3" { BODY_BYTES_MAX } else { CALL_BYTES_MAX };
        let body = received(body, most).await?;
        if claim.needs_digest() {
            claim.confirm(&aside(&body, signature::digest).await)?;
        }
        let origin = origin(head);
        match claim.service() {
            "sqs" => sqs::answer(self, head, &body, &origin).await,
            "lambda" => functions::answer(&self.functions, head.clone(), &body, &origin).await,
            "sns" => Ok(sns::answer(self, &body, &origin).await),
            "s3" => s3::answer(self, head, body::decoded(head, body)?, &origin).await,
            other => {
                let message = format!(
                    "Ingle has no {other} for its functions; name another endpoint with AWS_ENDPOINT_URL_{}",
                    refusal::endpoint_name(other)
                );
                Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message))
            }
        }
    }
}

/// The whole body, if it comes without long pauses and is not too long.
async fn received<B>(body: B, most: usize) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(Limited::new(body, most));
    let mut whole = BytesMut::new();
    loop {
        let Ok(frame) = tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await else {
            let message = format!("no more of the body has come for {} seconds", PIECE_TIMEOUT.as_secs());
            return Err(Fault::bad("RequestTimeout", message));
        };
        match frame {
            None => return Ok(whole.freeze()),
            Some(Ok(frame)) => whole.extend_from_slice(frame.data_ref().map_or(&[], AsRef::as_ref)),
            Some(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Fault::bad("EntityTooLarge", format!("a body has at most {most} bytes here")));
            }
            Some(Err(error)) => {
                return Err(Fault::bad("IncompleteBody", format!("the body ended early: {error}")));
            }
        }
    }
}

/// Works on bytes; on many of them where it holds up nobody else.
async fn aside<T: Send + 'static>(bytes: &Bytes, work: fn(&[u8]) -> T) -> T {
    if bytes.len() <= AT_ONCE_BYTES_MAX {
        return work(bytes);
    }
    let there = bytes.clone();
    match tokio::task::spawn_blocking(move || work(&there)).await {
        Ok(done) => done,
        // It panicked, or the server stops.
        Err(_) => work(bytes),
    }
}

/// Clients of AWS in a function send its trace along (`Root=1-…;Parent=…;Sampled=1;Lineage=1:…:3`), whose lineage counts the
/// functions.
fn origin(head: &Parts) -> Origin {
    let trace = head.headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let part = |name: &str| {
        trace
            .split(';')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let hops = part("Lineage").rsplit(':').next().and_then(|count| count.parse::<u32>().ok());
    let root = part("Root").replace("1-", "").replace('-', "");
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parent = part("Parent");
    let trace_parent = if root.len() == 32 && parent.len() == 16 && is_hex(&root) && is_hex(parent) {
        format!("00-{root}-{parent}-{:02}", u8::from(part("Sampled") != "0"))
    } else {
        String::new()
    };
    Origin { hop_count: hops.unwrap_or(0).min(1_000_000), trace_parent }
}

fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A text in a request of JSON.
fn text<'a>(request: &'a Value, name: &str) -> Option<&'a str> {
    request.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use http_body_util::channel::Channel;

    use super::*;

    #[test]
    fn whose_work_it_is_stands_in_the_trace() {
        let check = |trace: &str, hop_count: u32, parent: &str| {
            let request = Request::builder().header("x-amzn-trace-id", trace).body(()).unwrap();
            let expected = Origin { hop_count, trace_parent: parent.to_owned() };
            assert_eq!(origin(&request.into_parts().0), expected, "{trace}");
        };
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let parent = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        check(&format!("{root};Lineage=1:696e676c:3"), 3, parent);
        check(root, 0, parent);
        check("Root=1-x;Lineage=1:a:99999999999", 0, "");
        check("", 0, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_waited_for_without_end() {
        let (mut sender, body) = Channel::<Bytes>::new(4);
        sender.send_data(Bytes::from("first ")).await.unwrap();
        let late = async {
            tokio::time::sleep(PIECE_TIMEOUT - Duration::from_secs(1)).await;
            sender.send_data(Bytes::from("second")).await.unwrap();
            drop(sender);
        };
        let (found, ()) = tokio::join!(received(body, 12), late);
        assert_eq!(found.unwrap(), "first second");
        let (mut sender, body) = Channel::<Bytes>::new(4);
        sender.send_data(Bytes::from("first")).await.unwrap();
        assert_eq!(received(body, 12).await.unwrap_err().code, "RequestTimeout");
        let long = Full::new(Bytes::from("0123456789"));
        assert_eq!(received(long, 9).await.unwrap_err().code, "EntityTooLarge");
    }
}
