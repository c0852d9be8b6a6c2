//! Signing requests with an account key ("Authorize with Shared Key" in Azure's documentation), or with a shared access
//! signature that was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ingle_types::account::Secret;
use ingle_types::clock::ClockHandle;
use sha2::Sha256;

const DATE: &str = "x-ms-date";
/// Headers whose values are signed, in this order.
const SIGNED_HEADERS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// What of a request is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Queues and blobs: method, headers, address with its query.
    Full,
    /// Tables: the light form, date and address.
    Table,
}

/// Signs each try anew, as the date is part of what is signed.
#[derive(Debug)]
pub(crate) struct SharedKey {
    account: String,
    key: Option<Key>,
    form: Form,
    clock: DateClock,
}

#[derive(Debug)]
struct Key(Secret);

struct DateClock(ClockHandle);

impl std::fmt::Debug for DateClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("clock")
    }
}

impl SharedKey {
    pub(crate) fn new(account: String, key: &Secret, form: Form, clock: ClockHandle) -> Self {
        // That it is Base64 was checked when the connection string was read.
        let is_key = STANDARD.decode(key.reveal()).is_ok();
        Self { account, key: is_key.then(|| Key(key.clone())), form, clock: DateClock(clock) }
    }

    fn sign(&self, request: &mut Request) {
        let now = chrono::DateTime::<chrono::Utc>::from(self.clock.0.now());
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        request.insert_header(HeaderName::from_static(DATE), HeaderValue::from(date.clone()));
        let (scheme, text) = match self.form {
            Form::Full => ("SharedKey", self.full_text(request)),
            Form::Table => ("SharedKeyLite", format!("{date}\n/{}{}", self.account, request.url().path())),
        };
        let Some(signature) = self.key.as_ref().and_then(|key| signature(&key.0, &text)) else { return };
        let value = format!("{scheme} {}:{signature}", self.account);
        request.insert_header(HeaderName::from_static("authorization"), HeaderValue::from(value));
    }

    fn full_text(&self, request: &Request) -> String {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in request.headers().iter() {
            headers.insert(name.as_str().to_lowercase(), value.as_str().trim().to_owned());
        }
        if let Some(length) = request.body().len().filter(|length| *length > 0) {
            headers.insert("content-length".to_owned(), length.to_string());
        } else {
            headers.remove("content-length");
        }
        let mut text = format!("{}\n", request.method().as_str());
        for name in SIGNED_HEADERS {
            text.push_str(headers.get(name).map_or("", String::as_str));
            text.push('\n');
        }
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{}{}", self.account, request.url().path()));
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in request.url().query_pairs() {
            query.entry(name.to_lowercase()).or_default().push(value.into_owned());
        }
        for (name, values) in &mut query {
            values.sort();
            text.push_str(&format!("\n{name}:{}", values.join(",")));
        }
        text
    }
}

/// HMAC-SHA256 with the decoded key, in Base64.
fn signature(key: &Secret, text: &str) -> Option<String> {
    let key = STANDARD.decode(key.reveal()).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(text.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

#[async_trait::async_trait]
impl Policy for SharedKey {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        self.sign(request);
        next[0].send(context, request, &next[1..]).await
    }
}

/// Adds a shared access signature to the query of each request.
#[derive(Debug)]
pub(crate) struct AppendSignature(Secret);

impl AppendSignature {
    pub(crate) fn new(signature: Secret) -> Self {
        Self(signature)
    }
}

#[async_trait::async_trait]
impl Policy for AppendSignature {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let query = match request.url().query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{}", self.0.reveal()),
            None => self.0.reveal().to_owned(),
        };
        request.url_mut().set_query(Some(&query));
        next[0].send(context, request, &next[1..]).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use azure_core::http::{Method, Url};
    use ingle_types::clock::ManualClock;

    use super::*;

    fn policy(form: Form) -> SharedKey {
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_792_908_600)));
        SharedKey::new("shop".to_owned(), &Secret::new("a2V5"), form, clock)
    }

    #[test]
    fn what_is_signed_is_what_the_service_expects() {
        let url = "http://127.0.0.1:10001/shop/orders/messages?visibilitytimeout=600&numofmessages=16";
        let mut request = Request::new(Url::parse(url).unwrap(), Method::Put);
        request.insert_header(
            HeaderName::from_static("x-ms-version"),
            HeaderValue::from_static(super::super::VERSION),
        );
        request.insert_header(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/xml"),
        );
        request.set_body("<a/>");
        policy(Form::Full).sign(&mut request);
        let expected = "PUT\n\n\n4\n\napplication/xml\n\n\n\n\n\n\nx-ms-date:Sun, 25 Oct 2026 06:10:00 GMT\nx-ms-version:2024-08-04\n/shop/shop/orders/messages\nnumofmessages:16\nvisibilitytimeout:600";
        assert_eq!(policy(Form::Full).full_text(&request), expected);
        let authorization = request.headers().get_str(&HeaderName::from_static("authorization")).unwrap();
        assert!(authorization.starts_with("SharedKey shop:"), "{authorization}");
    }

    /// The second test case of RFC 4231, with the key in Base64.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let found = signature(&Secret::new(STANDARD.encode("Jefe")), "what do ya want for nothing?").unwrap();
        let hex: String = STANDARD.decode(found).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// T-041.
    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?} {:?}", policy(Form::Table), AppendSignature::new(Secret::new("sig=abc")));
        assert!(!shown.contains("a2V5") && !shown.contains("abc"), "{shown}");
    }
}
