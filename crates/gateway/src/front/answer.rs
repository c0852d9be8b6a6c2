//! Answers to who may not come in, as REST APIs and HTTP APIs give them (facts of Lambda, section 5.3).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};

use crate::apis::{self, Format, Route};
use crate::auth;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// Tells a developer which page explains the answer.
const ERROR_HEADER: HeaderName = HeaderName::from_static("ingle-error");

/// Why a request is not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Nobody was asked, or the one who was asked does not know the caller.
    Unauthorized,
    /// A token that is not good enough, with what `WWW-Authenticate` says.
    Token { is_known: bool, challenge: String },
    Denied {
        /// Somebody wrote that this caller may not.
        is_explicit: bool,
    },
    /// No key of this API is shown.
    NoKey,
    /// Too many wrong keys were shown.
    Guessing {
        /// Until the next one is looked at.
        wait: Duration,
    },
    /// More requests at once than the plan of the key allows.
    Throttled,
    /// As many requests as the plan of the key allows were made.
    UsedUp,
    /// The authorizer itself does not work; the log says why.
    Broken,
}

/// The answer.
pub(super) fn refused(route: &Route, asked: &HeaderMap, refusal: Refusal) -> Response<Bytes> {
    let is_rest = matches!(route.format, Format::Rest { .. });
    let mut response = match (&refusal, is_rest) {
        (Refusal::Unauthorized | Refusal::Token { is_known: false, .. }, _) => {
            apis::message(StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        (Refusal::Denied { is_explicit: true }, true) => denied(
            "User is not authorized to access this resource with an explicit deny in an identity-based policy",
        ),
        (Refusal::Denied { is_explicit: false }, true) => {
            denied("User is not authorized to access this resource")
        }
        (Refusal::Throttled | Refusal::Guessing { .. }, _) => {
            apis::message(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")
        }
        (Refusal::UsedUp, _) => apis::message(StatusCode::TOO_MANY_REQUESTS, "Limit Exceeded"),
        (Refusal::Denied { .. } | Refusal::Token { .. } | Refusal::NoKey, _) => {
            apis::message(StatusCode::FORBIDDEN, "Forbidden")
        }
        (Refusal::Broken, true) => json(StatusCode::INTERNAL_SERVER_ERROR, "{\"message\":null}".to_owned()),
        (Refusal::Broken, false) => apis::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    };
    let headers = response.headers_mut();
    if is_rest {
        headers.insert(ERROR_TYPE, HeaderValue::from_static(error_type(&refusal)));
    }
    match refusal {
        Refusal::Broken => {
            headers.insert(ERROR_HEADER, HeaderValue::from_static("E0512"));
        }
        Refusal::Token { challenge, .. } => {
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.insert(WWW_AUTHENTICATE, value);
            }
        }
        Refusal::Guessing { wait } => auth::mark_guessing(wait, headers),
        Refusal::Unauthorized
        | Refusal::Denied { .. }
        | Refusal::NoKey
        | Refusal::Throttled
        | Refusal::UsedUp => {}
    }
    apis::decorate(route, asked, headers);
    response
}

fn error_type(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Unauthorized | Refusal::Token { .. } => "UnauthorizedException",
        Refusal::Denied { .. } => "AccessDeniedException",
        Refusal::NoKey => "ForbiddenException",
        Refusal::Throttled | Refusal::Guessing { .. } => "TooManyRequestsException",
        Refusal::UsedUp => "LimitExceededException",
        Refusal::Broken => "AuthorizerConfigurationException",
    }
}

/// With a capital letter, as REST APIs have it here alone.
fn denied(text: &str) -> Response<Bytes> {
    json(StatusCode::FORBIDDEN, format!("{{\"Message\":\"{text}\"}}"))
}

fn json(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_to_wait_is_told_how_long() {
        for format in [Format::Rest { binary_types: Vec::new() }, Format::Http2] {
            let route = Route {
                format,
                method: None,
                path: "/".to_owned(),
                stage: "dev".to_owned(),
                api: "shop".to_owned(),
                cors: None,
                is_guarded: false,
            };
            let wait = Duration::from_secs(3);
            let answer = refused(&route, &HeaderMap::new(), Refusal::Guessing { wait });
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers()["retry-after"], "3");
            assert_eq!(answer.headers()[ERROR_HEADER], "E0508");
        }
    }
}
