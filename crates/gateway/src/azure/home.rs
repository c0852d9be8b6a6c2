//! The page at `/` when no function has that route: something to see for people and for probes.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// 200 with a page, or 204 when the app turns it off (`AzureWebJobsDisableHomepage`).
pub(crate) fn page(is_shown: bool) -> Response<Bytes> {
    if !is_shown {
        return super::empty(StatusCode::NO_CONTENT);
    }
    // It says nothing that a stranger should not know: neither the app's name nor a version.
    let mut response = Response::new(Bytes::from_static(include_bytes!("home.html")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
