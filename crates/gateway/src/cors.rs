//! Cross-origin rules: may a page from elsewhere call these functions? (Fetch standard, "CORS protocol".)
//!
//! Without rules nothing here is called: `OPTIONS` then goes to the function like any other method, and no page from
//! another origin can read an answer.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use ingle_types::spec::CorsOptions;

/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight; `None` if the request is none and goes on to a function.
///
/// An origin that isn't allowed gets 403 and a sentence, and no permission.
pub fn preflight(options: &CorsOptions, method: &Method, headers: &HeaderMap) -> Option<Response<Bytes>> {
    let requested_method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = headers.get(ORIGIN)?;
    if method != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(Bytes::new());
    let Some(allowed) = allowed_origin(options, origin) else {
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        *response.body_mut() = Bytes::from_static(
            b"This origin is not among the app's CORS origins (Host.CORS in local.settings.json).\n",
        );
        return Some(response);
    };
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    permit(options, allowed, answer);
    // Any method and header may be asked for, as with Azure: whether a method fits is the route's business.
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, requested_method.clone());
    if let Some(requested) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    vary(answer, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    Some(response)
}

/// Adds the permission to an answer, errors included, so that a page can read them too.
///
/// A function that set `Access-Control-Allow-Origin` itself is left its way: two of them would void both.
pub fn decorate(options: &CorsOptions, request: &HeaderMap, answer: &mut HeaderMap) {
    if answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    if !allows_everyone(options) {
        // Also without permission: a cache must not give one origin's answer to another.
        vary(answer, "Origin");
    }
    if let Some(allowed) = request.get(ORIGIN).and_then(|origin| allowed_origin(options, origin)) {
        permit(options, allowed, answer);
    }
}

/// A sentence if the options ask for something that browsers refuse.
pub fn warning(options: &CorsOptions) -> Option<&'static str> {
    (allows_everyone(options) && options.credentials).then_some(
        "CORSCredentials has no effect while CORS is `*`: browsers send cookies only to origins that are listed by name",
    )
}

fn allows_everyone(options: &CorsOptions) -> bool {
    options.origins.iter().any(|origin| origin.trim() == "*")
}

/// What to answer as allowed origin: `*`, or the caller's own if it is listed.
fn allowed_origin(options: &CorsOptions, origin: &HeaderValue) -> Option<HeaderValue> {
    if allows_everyone(options) {
        return Some(HeaderValue::from_static("*"));
    }
    let caller = origin.to_str().ok()?;
    let listed = options.origins.iter().any(|known| {
        let known = known.trim();
        known.strip_suffix('/').unwrap_or(known).eq_ignore_ascii_case(caller)
    });
    (listed && !caller.is_empty()).then(|| origin.clone())
}

fn permit(options: &CorsOptions, allowed: HeaderValue, answer: &mut HeaderMap) {
    if options.credentials && allowed != "*" {
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
}

fn vary(answer: &mut HeaderMap, names: &'static str) {
    // A full header map can't take one more; the answer stays right for this caller.
    let _full = answer.try_append(VARY, HeaderValue::from_static(names)).is_err();
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn options(origins: &[&str], credentials: bool) -> CorsOptions {
        CorsOptions { origins: origins.iter().map(|&origin| origin.to_owned()).collect(), credentials }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    /// Allowed origin and credentials of the answer to a simple request.
    fn check(options: &CorsOptions, origin: &'static str, expected: (Option<&str>, bool)) {
        let mut answer = HeaderMap::new();
        decorate(options, &headers(&[("origin", origin)]), &mut answer);
        let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
        assert_eq!((allowed, answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)), expected, "{origin}");
    }

    #[test]
    fn simple_requests() {
        let shop = options(&["https://shop.example/", "http://localhost:3000"], true);
        check(&shop, "https://shop.example", (Some("https://shop.example"), true));
        check(&shop, "http://localhost:3000", (Some("http://localhost:3000"), true));
        check(&shop, "http://localhost:30001", (None, false));
        check(&shop, "https://shop.example.evil.test", (None, false));
        check(&shop, "null", (None, false));
        check(&options(&["*"], false), "https://a.example", (Some("*"), false));
        check(&options(&["*"], true), "https://a.example", (Some("*"), false));
        check(&options(&[""], false), "", (None, false));
    }

    #[test]
    fn answers_vary_by_origin_and_keep_what_the_function_set() {
        let shop = options(&["https://shop.example"], false);
        let mut answer = HeaderMap::new();
        decorate(&shop, &HeaderMap::new(), &mut answer);
        assert_eq!(answer, headers(&[("vary", "Origin")]));
        let own = headers(&[("access-control-allow-origin", "https://other.example")]);
        let mut answer = own.clone();
        decorate(&shop, &headers(&[("origin", "https://shop.example")]), &mut answer);
        assert_eq!(answer, own);
    }

    #[test]
    fn preflights() {
        let shop = options(&["https://shop.example"], true);
        let request = headers(&[
            ("origin", "https://shop.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, content-type"),
        ]);
        let answer = preflight(&shop, &Method::OPTIONS, &request).unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
        assert_eq!(answer.headers()["access-control-allow-methods"], "PUT");
        assert_eq!(answer.headers()["access-control-allow-headers"], "x-a, content-type");

        let foreign = headers(&[("origin", "https://evil.test"), ("access-control-request-method", "PUT")]);
        let answer = preflight(&shop, &Method::OPTIONS, &foreign).unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));

        assert!(preflight(&shop, &Method::POST, &request).is_none());
        assert!(
            preflight(&shop, &Method::OPTIONS, &headers(&[("origin", "https://shop.example")])).is_none()
        );
    }

    #[test]
    fn everyone_with_cookies_is_warned_about() {
        assert!(warning(&options(&["*"], true)).is_some());
        assert!(warning(&options(&["https://a.example"], true)).is_none());
    }
}
