//! Functions of the project, as each other's clients of Lambda invoke them (facts of Lambda, sections 3.1 to 3.3).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{Either, Full};

use super::{Answer, Fault, Origin};
use crate::hosts::label_of;
use crate::lambda::api;
use crate::request::decoded;
use crate::route::path::RequestPath;
use crate::service::Service;

/// Those of a project by their labels, from when its server knows them.
#[derive(Clone, Default)]
pub struct Functions(Arc<OnceLock<BTreeMap<String, Arc<Service>>>>);

impl Functions {
    /// Has no effect the second time.
    pub fn set(&self, services: BTreeMap<String, Arc<Service>>) {
        self.0.set(services).ok();
    }
}

pub(super) async fn answer(
    functions: &Functions,
    mut head: Parts,
    body: &Bytes,
    origin: &Origin,
) -> Result<Answer, Fault> {
    let path = head.uri.path().to_owned();
    let asked = RequestPath::parse(&path).ok().and_then(|path| api::asked(&path));
    let (Some(asked), Some(named)) = (asked, api::name_in(&path)) else {
        let message = format!("Ingle's functions can be invoked, and nothing else: {}", decoded(&path));
        return Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message));
    };
    let Some(services) = functions.0.get() else {
        let message = "the server is about to start";
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", message));
    };
    // Any of them can say that there is no such function.
    let service = services.get(&label_of(&named)).or_else(|| services.values().next());
    let Some(service) = service else {
        let message = format!("Function not found: {named}");
        return Err(Fault::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message));
    };
    carry_on(&mut head, origin);
    let answered = service.invoke_within(head, &asked, body).await;
    Ok(answered.map(|body| Either::Left(Full::new(body))))
}

/// Lets the call be a part of what its caller is a part of, in the words of W3C, which calls from elsewhere have.
fn carry_on(head: &mut Parts, origin: &Origin) {
    let mut insert = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            head.headers.insert(HeaderName::from_static(name), value);
        }
    };
    insert("traceparent", origin.trace_parent.clone());
    insert("tracestate", format!("ingle={}", origin.hop_count));
}
