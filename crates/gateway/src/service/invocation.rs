//! A request as an invocation.

use http::request::Parts;
use ingle_types::datum::{Datum, HttpRequest};
use ingle_types::event::{Delivery, Event, Invocation, Trace};
use ingle_types::ids::{FunctionName, InvocationId};

use super::Door;
use crate::auth::caller_of;
use crate::caller::Client;

/// W3C trace context of the caller, or a new one for the invocation.
pub(crate) fn trace(head: &Parts, id: InvocationId) -> Trace {
    let text = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut trace = Trace { parent: text("traceparent"), state: text("tracestate") };
    if trace.parent.is_empty() {
        let span = &InvocationId::random().uuid().simple().to_string()[..16];
        trace.parent = format!("00-{}-{span}-01", id.uuid().simple());
    }
    trace
}

/// Who asks, which is no part of a request.
fn client(head: &Parts) -> Vec<(String, Datum)> {
    vec![("client".to_owned(), Datum::Text(caller_of(head).to_string()))]
}

/// What is handed to the room that runs functions.
pub(crate) fn invocation(
    door: &Door,
    function: FunctionName,
    request: HttpRequest,
    head: &Parts,
) -> Invocation {
    let id = InvocationId::random();
    let trace = trace(head, id);
    let path = request.url.splitn(4, '/').nth(3).and_then(|rest| rest.split('?').next()).unwrap_or_default();
    let event = Event {
        summary: format!("{} /{path}", request.method),
        payload: Datum::Request(Box::new(request)),
        metadata: if door.site.tells_client { client(head) } else { Vec::new() },
        delivery: Delivery::Direct,
        received_at: door.rooms.clock.now(),
        hop_count: trace.hop_count(),
        trace,
    };
    let caller = head.extensions.get::<Client>().map(|client| client.waits(head.version));
    Invocation { id, function, event, caller, exchange: None }
}
