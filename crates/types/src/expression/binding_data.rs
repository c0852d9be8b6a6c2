//! The values that `{name}` expressions of one event can use.

use std::cell::OnceCell;
use std::time::SystemTime;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Scope;
use crate::datum::{Datum, HttpRequest};

/// Trigger metadata and the properties of a JSON payload, as a [`Scope`].
///
/// The payload is parsed only if an expression asks for something that the metadata does not settle: most
/// functions use no expression, and an invocation should not pay for it.
pub struct BindingData<'a> {
    function: &'a str,
    metadata: &'a [(String, Datum)],
    payload: &'a Datum,
    now: SystemTime,
    properties: OnceCell<Map<String, Value>>,
    metadata_wins: bool,
}

impl<'a> BindingData<'a> {
    pub fn new(
        function: &'a str,
        metadata: &'a [(String, Datum)],
        payload: &'a Datum,
        now: SystemTime,
    ) -> Self {
        Self { function, metadata, payload, now, properties: OnceCell::new(), metadata_wins: false }
    }

    /// Metadata before properties: what a file says must not change where the parts of its name lead.
    #[must_use]
    pub fn metadata_first(mut self) -> Self {
        self.metadata_wins = true;
        self
    }

    /// Top-level properties of a payload that is a JSON object; empty for every other payload.
    fn properties(&self) -> &Map<String, Value> {
        self.properties.get_or_init(|| {
            let parsed = match self.payload {
                Datum::Text(text) | Datum::Json(text) => object(text.as_bytes()),
                Datum::Bytes(bytes) => object(bytes),
                Datum::Request(request) => object(&request.body.joined()),
                _ => None,
            };
            parsed.unwrap_or_default()
        })
    }

    fn metadata_text(&self, path: &[String]) -> Option<String> {
        let (first, rest) = path.split_first()?;
        let (_, datum) = self.metadata.iter().find(|(name, _)| same_name(name, first))?;
        match datum {
            Datum::Text(text) if rest.is_empty() => Some(text.clone()),
            Datum::Int(number) if rest.is_empty() => Some(number.to_string()),
            Datum::Double(number) if rest.is_empty() => Some(number.to_string()),
            Datum::Json(text) => serde_json::from_str(text).ok().and_then(|value| walk(&value, rest)),
            _ => None,
        }
    }

    fn property_text(&self, path: &[String]) -> Option<String> {
        let (first, rest) = path.split_first()?;
        walk(find(self.properties(), first)?, rest)
    }
}

impl Scope for BindingData<'_> {
    /// A property of a message wins over metadata of the same name; a request's own parts win over its body
    /// (facts 3.3, 4.0).
    fn lookup(&self, path: &[String]) -> Option<String> {
        match self.payload {
            Datum::Request(request) => from_request(request, path)
                .or_else(|| self.metadata_text(path))
                .or_else(|| self.property_text(path)),
            _ if self.metadata_wins => self.metadata_text(path).or_else(|| self.property_text(path)),
            _ => self.property_text(path).or_else(|| self.metadata_text(path)),
        }
    }

    fn now(&self) -> SystemTime {
        self.now
    }

    fn random(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn function_name(&self) -> &str {
        self.function
    }
}

/// Route parameters, then query; `query.x` and `headers.x` by their full name.
fn from_request(request: &HttpRequest, path: &[String]) -> Option<String> {
    let pick = |list: &[(String, String)], wanted: &str| {
        list.iter().find(|(name, _)| same_name(name, wanted)).map(|(_, value)| value.clone())
    };
    match path {
        // `code` carries a function key; it must not leak into names of queues and documents.
        [name] => pick(&request.route_parameters, name)
            .or_else(|| pick(&request.query, name).filter(|_| !same_name(name, "code"))),
        [group, name] if same_name(group, "query") => pick(&request.query, name),
        [group, name] if same_name(group, "headers") => pick(&request.headers, name),
        _ => None,
    }
}

fn object(text: &[u8]) -> Option<Map<String, Value>> {
    // A look at the first character spares parsing every payload that is something else.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first != b'{' {
        return None;
    }
    serde_json::from_slice(text).ok()
}

fn same_name(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || left.to_lowercase() == right.to_lowercase()
}

/// The exact spelling wins over others.
fn find<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    map.get(name).or_else(|| map.iter().find(|(key, _)| same_name(key, name)).map(|(_, value)| value))
}

fn walk(value: &Value, path: &[String]) -> Option<String> {
    match path.split_first() {
        None => text(value),
        Some((first, rest)) => walk(find(value.as_object()?, first)?, rest),
    }
}

/// Texts as they are, numbers and truth values as JSON writes them, objects as compact JSON. Lists and nulls are
/// no values (facts 4.0).
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Array(_) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::expression::Template;

    fn check(metadata: &[(&str, Datum)], payload: &Datum, template: &str, expected: Option<&str>) {
        let metadata: Vec<_> =
            metadata.iter().map(|(name, datum)| ((*name).to_owned(), datum.clone())).collect();
        let data = BindingData::new("Orders", &metadata, payload, SystemTime::UNIX_EPOCH);
        let got = Template::parse(template).unwrap().resolve(&data).ok();
        assert_eq!(got.as_deref(), expected, "{template}");
    }

    #[test]
    fn properties_of_a_message_are_found_without_regard_to_case() {
        let payload =
            Datum::Text(r#" {"Id":"o-1","customer":{"Name":"Ada","age":36},"tags":[1],"gone":null}"#.into());
        let metadata = [("Id", Datum::Text("message".into())), ("DequeueCount", Datum::Json("2".into()))];
        check(&metadata, &payload, "{id}", Some("o-1"));
        check(&metadata, &payload, "{dequeueCount}", Some("2"));
        check(&metadata, &payload, "{Customer.name}-{customer.age}", Some("Ada-36"));
        check(&metadata, &payload, "{customer}", Some(r#"{"Name":"Ada","age":36}"#));
        check(&metadata, &payload, "{tags}", None);
        check(&metadata, &payload, "{gone}", None);
        check(&metadata, &payload, "{customer.name.x}", None);
    }

    /// The name of a blob must not depend on what somebody wrote into it.
    #[test]
    fn the_name_of_a_blob_wins_over_its_contents() {
        let metadata = [("name".to_owned(), Datum::Text("cat".into()))];
        let payload = Datum::Text(r#"{"name": "../dog", "kind": "json"}"#.into());
        let data = BindingData::new("F", &metadata, &payload, SystemTime::UNIX_EPOCH).metadata_first();
        let got = Template::parse("{name}.{kind}").unwrap().resolve(&data).ok();
        assert_eq!(got.as_deref(), Some("cat.json"));
    }

    #[test]
    fn a_payload_that_is_no_object_leaves_the_metadata() {
        let metadata = [("QueueTrigger", Datum::Text("hello".into())), ("n", Datum::Int(3))];
        check(&metadata, &Datum::Text("hello".into()), "{queueTrigger}/{n}", Some("hello/3"));
        check(&metadata, &Datum::Bytes(Bytes::from_static(b"{broken")), "{queueTrigger}", Some("hello"));
        check(&metadata, &Datum::Nothing, "{other}", None);
    }

    #[test]
    fn a_request_gives_its_route_query_headers_and_body() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let payload = Datum::Request(Box::new(HttpRequest {
            headers: vec![pair("x-shop", "oslo")],
            query: vec![pair("page", "2"), pair("id", "query"), pair("code", "secret")],
            route_parameters: vec![pair("id", "7")],
            body: Bytes::from_static(br#"{"id":"body","dish":"soup"}"#).into(),
            ..HttpRequest::default()
        }));
        check(&[], &payload, "{id} {page} {dish}", Some("7 2 soup"));
        check(&[], &payload, "{Query.id} {headers.X-Shop}", Some("query oslo"));
        check(&[], &payload, "{code}", None);
        check(&[], &payload, "{sys.methodname}", Some("Orders"));
    }
}
