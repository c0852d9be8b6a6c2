//! The event of a request to an API: payload format 1.0 (facts of Lambda, section 4.1).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use ingle_types::event::Trace;
use ingle_types::ids::InvocationId;
use serde::Serialize;
use serde_json::Value;

use super::url_event::{LOCALHOST, encoded, root_of, split};
use super::{ACCOUNT, Pairs, forwarded};
use crate::apis::{Format, Matched};
use crate::auth::caller_of;
use crate::front::Known;
use crate::front::keys::Shown;
use crate::request::{decoded, pairs};

/// Members in the order in which AWS writes them. What is absent is `null`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    resource: &'a str,
    path: String,
    http_method: &'a str,
    headers: Pairs,
    multi_value_headers: Lists,
    query_string_parameters: Option<Pairs>,
    multi_value_query_string_parameters: Option<Lists>,
    path_parameters: Option<Pairs>,
    stage_variables: Option<Pairs>,
    request_context: RequestContext<'a>,
    body: Option<String>,
    #[serde(rename = "isBase64Encoded")]
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    resource_id: String,
    resource_path: &'a str,
    http_method: &'a str,
    extended_request_id: String,
    request_time: String,
    path: String,
    account_id: &'static str,
    protocol: &'static str,
    stage: &'a str,
    domain_prefix: &'a str,
    request_time_epoch: i64,
    request_id: String,
    identity: Identity,
    domain_name: &'a str,
    deployment_id: String,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<&'a Value>,
}

/// Nobody is asked who they are, but for a key.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Identity {
    access_key: Option<String>,
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<String>,
    caller: Option<String>,
    cognito_authentication_provider: Option<String>,
    cognito_authentication_type: Option<String>,
    cognito_identity_id: Option<String>,
    cognito_identity_pool_id: Option<String>,
    principal_org_id: Option<String>,
    source_ip: String,
    user: Option<String>,
    user_agent: Option<String>,
    user_arn: Option<String>,
}

/// Names with all of their values.
pub(super) type Lists = BTreeMap<String, Vec<String>>;

/// The event as JSON text.
pub(crate) fn text(
    head: &Parts,
    body: &[u8],
    (id, trace): (InvocationId, &Trace),
    matched: &Matched,
    now: SystemTime,
) -> String {
    let route = &*matched.route;
    let sent = sent(head, trace);
    let of = |name: &str| sent.get(name).and_then(|values| values.last()).cloned();
    let host = of("Host").unwrap_or_else(|| LOCALHOST.to_owned());
    let (domain, _port) = split(&host);
    let query = lists(pairs(head.uri.query().unwrap_or_default()));
    let (body, is_base64_encoded) = encoded_for(&route.format, head, body);
    let is_rest = matches!(route.format, Format::Rest { .. });
    let path = path(matched, head.uri.path());
    let shown = |text: &str| if is_rest { text.to_owned() } else { decoded(text) };
    let parameters = matched.parameters.iter().map(|(name, value)| (name.clone(), shown(value)));
    let parameters: Vec<(String, String)> = parameters.collect();
    let at_stage =
        if route.stage == crate::apis::DEFAULT { path.clone() } else { format!("/{}{path}", route.stage) };
    let event = RestEvent {
        version: (!is_rest).then_some("1.0"),
        resource: &route.path,
        path: shown(&path),
        http_method: head.method.as_str(),
        headers: last(&sent),
        query_string_parameters: (!query.is_empty()).then(|| last(&query)),
        multi_value_query_string_parameters: (!query.is_empty()).then_some(query),
        path_parameters: (!parameters.is_empty()).then_some(Pairs(parameters)),
        stage_variables: None,
        request_context: RequestContext {
            resource_id: short_id(&route.path),
            resource_path: &route.path,
            http_method: head.method.as_str(),
            extended_request_id: short_id(&id.uuid().to_string()),
            request_time: DateTime::<Utc>::from(now).format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            path: shown(&at_stage),
            account_id: ACCOUNT,
            protocol: "HTTP/1.1",
            stage: &route.stage,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            request_time_epoch: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            request_id: id.uuid().to_string(),
            identity: Identity {
                api_key: Shown::of(head).map(|shown| shown.key.clone()),
                api_key_id: Shown::of(head).map(|shown| short_id(&shown.name)),
                source_ip: caller_of(head).to_string(),
                user_agent: of(&titled(USER_AGENT.as_str())),
                ..Identity::default()
            },
            domain_name: domain,
            deployment_id: short_id(&route.api),
            api_id: &route.api,
            authorizer: Known::of(head),
        },
        multi_value_headers: sent,
        body,
        is_base64_encoded,
    };
    // Nothing in it can fail to be written.
    serde_json::to_string(&event).unwrap_or_default()
}

/// The path without a stage in front of it.
pub(crate) fn path(matched: &Matched, sent: &str) -> String {
    let without = || sent.strip_prefix('/')?.strip_prefix(matched.route.stage.as_str());
    match matched.has_stage.then(without).flatten() {
        Some("") => "/".to_owned(),
        Some(rest) => rest.to_owned(),
        None => sent.to_owned(),
    }
}

/// What was sent, with what a gateway adds. Names as most clients write them: how this one did is not known any more.
fn sent(head: &Parts, trace: &Trace) -> Lists {
    let mut sent = Lists::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        sent.entry(titled(name.as_str())).or_default().push(value);
    }
    for (name, value) in forwarded::headers(head) {
        sent.insert(titled(name), vec![value]);
    }
    sent.entry("X-Amzn-Trace-Id".to_owned()).or_insert_with(|| vec![root_of(trace)]);
    sent
}

/// `content-type` as `Content-Type`.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

fn lists(pairs: Vec<(String, String)>) -> Lists {
    let mut lists = Lists::new();
    for (name, value) in pairs {
        lists.entry(name).or_default().push(value);
    }
    lists
}

/// Of what is there several times the last.
pub(super) fn last(lists: &Lists) -> Pairs {
    let last = lists.iter().filter_map(|(name, values)| Some((name.clone(), values.last()?.clone())));
    Pairs(last.collect())
}

/// A REST API takes everything for text but what it was told to take for bytes.
fn encoded_for(format: &Format, head: &Parts, body: &[u8]) -> (Option<String>, bool) {
    let Format::Rest { binary_types } = format else { return encoded(&head.headers, body) };
    if body.is_empty() {
        return (None, false);
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_binary(binary_types, kind) {
        return (Some(STANDARD.encode(body)), true);
    }
    (Some(String::from_utf8_lossy(body).into_owned()), false)
}

/// Whether a media type is one of those: `image/png`, `image/*`, `*/*`.
pub(super) fn is_binary(binary_types: &[String], kind: &str) -> bool {
    let kind = kind.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase();
    binary_types.iter().any(|listed| {
        let listed = listed.to_ascii_lowercase();
        listed == "*/*"
            || listed == kind
            || listed.strip_suffix("/*").is_some_and(|group| kind.split('/').next() == Some(group))
    })
}

/// Ten letters and digits, always the same for a text: what AWS numbers.
fn short_id(text: &str) -> String {
    // FNV-1a, which is short and does not change.
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut id = String::new();
    while id.len() < 10 {
        let digit = u32::try_from(hash % 36).unwrap_or_default();
        id.extend(char::from_digit(digit, 36));
        hash = hash / 36 + 1;
    }
    id
}

#[cfg(test)]
#[path = "rest_event_tests.rs"]
mod tests;
