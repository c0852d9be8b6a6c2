//! What the server tells about itself, and warming up.

use bytes::Bytes;
use http::{Response, StatusCode};
use ingle_types::problem::Severity;
use ingle_types::spec::TriggerSpec;
use serde_json::{Value, json};

use super::{Request, empty, manual};

/// The version of Azure's host whose doors these are like: tools compare its first number.
const LIKE_VERSION: &str = "4.1037.0.0";

/// 200 without a body and without a key: for probes.
pub(super) fn ping() -> Response<Bytes> {
    empty(StatusCode::OK)
}

/// `{"id","state","version","versionDetails","instanceId","processUptime","extensionBundle"?,"errors"?}`; the up-time
/// in milliseconds. The state is `Running` whenever there is an answer; findings that stop a function are in `errors`,
/// and what is in trouble in `degraded`, a key of ours.
pub(super) fn status(request: &Request<'_>) -> Response<Bytes> {
    let site = &request.door.site;
    let uptime = u64::try_from(request.host.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut shown = json!({"id": host_id(&site.name), "state": "Running", "version": LIKE_VERSION,
        "versionDetails": concat!("ingle ", env!("CARGO_PKG_VERSION")), "platformVersion": "",
        "instanceId": request.host.instance.simple().to_string(), "computerName": "",
        "processUptime": uptime, "functionAppContentEditingState": "NotAllowed"});
    if let Some((id, version)) = site.extension_bundle.as_ref().map(|bundle| split(bundle)) {
        shown["extensionBundle"] = json!({"id": id, "version": version});
    }
    let errors: Vec<Value> = site
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| Value::from(problem.to_string()))
        .collect();
    if !errors.is_empty() {
        shown["errors"] = Value::from(errors);
    }
    let degraded = request.door.rooms.health.to_json();
    if !degraded.is_empty() {
        shown["degraded"] = Value::from(degraded);
    }
    super::json(StatusCode::OK, &shown)
}

fn split(bundle: &str) -> (&str, &str) {
    bundle.split_once(' ').unwrap_or((bundle, ""))
}

/// The app's name as Azure's host makes an id of it: small letters, digits and dashes, at most 32.
fn host_id(name: &str) -> String {
    let plain = |character: char| {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() { character } else { '-' }
    };
    name.chars().map(plain).take(32).collect::<String>().trim_matches('-').to_owned()
}

/// Runs the function with a warmup trigger, if there is one, and waits for its end. 200 whatever came of it: the record
/// of the invocation tells.
pub(super) async fn warmup(request: &Request<'_>) -> Response<Bytes> {
    let functions = &request.door.site.functions;
    let warm =
        functions.iter().find(|function| function.trigger == TriggerSpec::Warmup && !function.disabled);
    if let Some(function) = warm
        && let Ok(event) = manual::event(request, function, "{}".to_owned())
    {
        manual::run(request.door.rooms.clone(), function.name.clone(), event).await;
    }
    empty(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain() {
        let check = |name: &str, expected: &str| assert_eq!(host_id(name), expected);
        check("My App_2", "my-app-2");
        check("käse", "k-se");
        check(&"a".repeat(40), &"a".repeat(32));
        assert_eq!(split("Bundle [4.*, 5.0.0)"), ("Bundle", "[4.*, 5.0.0)"));
    }
}
