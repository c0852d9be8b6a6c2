//! Events as functions of AWS Lambda get them, of requests that nobody has sent: made in the way of real ones, so that a sample
//! can't be another than what is served.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use ingle_types::balancer::target_group;
use ingle_types::ids::InvocationId;

use crate::apis::{self, Format, Matched, Route};
use crate::lambda::{self, ACCOUNT};
use crate::service::trace;

const REGION: &str = "us-east-1";

/// Where a request comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A function URL.
    Url,
    RestApi,
    /// An HTTP API with payload format 2.0.
    HttpApi,
    /// An HTTP API with payload format 1.0.
    HttpApiV1,
    /// A load balancer, whose target group wants lists of values or not.
    Alb {
        multi_value: bool,
    },
}

/// The event of a request, as JSON text. `path` is that of the route, e.g. `/items/{id}`; what the request has in these places are
/// its parameters. `None` if the request's path does not fit it.
pub fn event(entry: Entry, path: &str, request: Request<Bytes>, now: SystemTime) -> Option<String> {
    let (head, body) = request.into_parts();
    let id = InvocationId::random();
    let trace = trace(&head, id);
    let format = match entry {
        Entry::Url => return Some(lambda::event_text(&head, &body, (id, &trace), None, now)),
        Entry::RestApi => Format::Rest { binary_types: Vec::new() },
        Entry::HttpApi => Format::Http2,
        Entry::HttpApiV1 => Format::Http1,
        Entry::Alb { multi_value } => {
            Format::Alb { target_group: target_group(REGION, ACCOUNT, "sample"), multi_value }
        }
    };
    let stage = if entry == Entry::RestApi { "Prod" } else { apis::DEFAULT };
    let parameters = apis::parameters(path, head.uri.path())?;
    let route = Route {
        format,
        method: Some(head.method.as_str().to_owned()),
        path: path.to_owned(),
        stage: stage.to_owned(),
        api: "sample".to_owned(),
        cors: None,
        is_guarded: false,
    };
    let matched = Matched { route: Arc::new(route), parameters, has_stage: false, front: Arc::default() };
    Some(lambda::event_text(&head, &body, (id, &trace), Some(&matched), now))
}
