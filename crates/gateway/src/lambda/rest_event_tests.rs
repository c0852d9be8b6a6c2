//! Events of format 1.0, and what is otherwise in 2.0 behind an API.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::apis::Route;
use crate::lambda::url_event;

fn matched(format: Format, path: &str, stage: &str, parameters: &[(&str, &str)], has_stage: bool) -> Matched {
    let route = Route {
        format,
        method: Some("GET".to_owned()),
        path: path.to_owned(),
        stage: stage.to_owned(),
        api: "shop".to_owned(),
        cors: None,
        is_guarded: false,
    };
    let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Matched { route: Arc::new(route), parameters: parameters.collect(), has_stage, front: Arc::default() }
}

fn event(matched: &Matched, request: http::request::Builder, body: &[u8]) -> (Value, InvocationId) {
    let (head, ()) = request.body(()).unwrap().into_parts();
    let (id, now) = (InvocationId::random(), UNIX_EPOCH + Duration::from_millis(1_768_232_249_123));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let trace = Trace { parent, state: String::new() };
    let text = match matched.route.format {
        Format::Http2 => url_event::text(&head, body, (id, &trace), Some(matched), now),
        _ => text(&head, body, (id, &trace), matched, now),
    };
    (serde_json::from_str(&text).unwrap(), id)
}

fn rest(binary_types: &[&str]) -> Format {
    Format::Rest { binary_types: binary_types.iter().map(|&kind| kind.to_owned()).collect() }
}

/// The members, and their shapes, of facts 4.1.
#[test]
fn a_request_to_a_rest_api_is_an_event_of_format_1() {
    let matched =
        matched(rest(&[]), "/orders/{id}/{rest+}", "Prod", &[("id", "a%20b"), ("rest", "c/d")], false);
    let request = http::Request::get("/orders/a%20b/c/d?x=1&y=%20&x=2")
        .header("Host", "localhost:7071")
        .header("user-agent", "test")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("content-type", "image/png");
    let (found, id) = event(&matched, request, b"\xffa");
    let context = &found["requestContext"];
    let expected = json!({
        "resource": "/orders/{id}/{rest+}", "path": "/orders/a%20b/c/d", "httpMethod": "GET",
        "headers": {
            "Host": "localhost:7071", "User-Agent": "test", "X-Many": "2", "Content-Type": "image/png",
            "X-Forwarded-For": "0.0.0.0", "X-Forwarded-Port": "7071", "X-Forwarded-Proto": "http",
            "X-Amzn-Trace-Id": "Root=1-0af76519-16cd43dd8448eb211c80319c",
        },
        "multiValueHeaders": {
            "Host": ["localhost:7071"], "User-Agent": ["test"], "X-Many": ["1", "2"], "Content-Type": ["image/png"],
            "X-Forwarded-For": ["0.0.0.0"], "X-Forwarded-Port": ["7071"], "X-Forwarded-Proto": ["http"],
            "X-Amzn-Trace-Id": ["Root=1-0af76519-16cd43dd8448eb211c80319c"],
        },
        "queryStringParameters": {"x": "2", "y": " "},
        "multiValueQueryStringParameters": {"x": ["1", "2"], "y": [" "]},
        "pathParameters": {"id": "a%20b", "rest": "c/d"}, "stageVariables": null,
        "requestContext": {
            "resourceId": context["resourceId"], "resourcePath": "/orders/{id}/{rest+}", "httpMethod": "GET",
            "extendedRequestId": context["extendedRequestId"], "requestTime": "12/Jan/2026:15:37:29 +0000",
            "path": "/Prod/orders/a%20b/c/d", "accountId": "000000000000", "protocol": "HTTP/1.1", "stage": "Prod",
            "domainPrefix": "localhost", "requestTimeEpoch": 1_768_232_249_123_i64,
            "requestId": id.uuid().to_string(),
            "identity": {
                "accessKey": null, "accountId": null, "caller": null, "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null, "cognitoIdentityId": null, "cognitoIdentityPoolId": null,
                "principalOrgId": null, "sourceIp": "0.0.0.0", "user": null, "userAgent": "test", "userArn": null,
            },
            "domainName": "localhost", "deploymentId": context["deploymentId"], "apiId": "shop",
        },
        "body": "\u{fffd}a", "isBase64Encoded": false,
    });
    assert_eq!(found, expected);
    for id in ["resourceId", "extendedRequestId", "deploymentId"] {
        let text = context[id].as_str().unwrap();
        assert!(text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}: {text}");
    }
}

#[test]
fn what_is_not_there_is_null() {
    let (found, _) = event(&matched(rest(&[]), "/", "Prod", &[], false), http::Request::get("/"), b"");
    for name in ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body"] {
        assert_eq!(found.get(name), Some(&Value::Null), "{name}");
    }
    assert!(found.get("version").is_none());
}

#[test]
fn bytes_are_base64_where_the_api_was_told_of_them() {
    let check = |types: &[&str], kind: &str, expected: (&str, bool)| {
        let matched = matched(rest(types), "/", "Prod", &[], false);
        let (found, _) = event(&matched, http::Request::post("/").header("content-type", kind), b"abc");
        assert_eq!(
            (&found["body"], &found["isBase64Encoded"]),
            (&json!(expected.0), &json!(expected.1)),
            "{kind}"
        );
    };
    check(&["image/png"], "image/png", ("YWJj", true));
    check(&["image/*"], "image/gif", ("YWJj", true));
    check(&["*/*"], "", ("YWJj", true));
    check(&["image/png"], "text/plain; charset=utf-8", ("abc", false));
    check(&[], "image/png", ("abc", false));
}

/// An HTTP API decodes the path, and calls its events of this format by it.
#[test]
fn http_apis_have_both_formats() {
    let request = || http::Request::get("/items/a%20b").header("Host", "localhost");
    let parameters = [("id", "a%20b")];
    let (found, _) =
        event(&matched(Format::Http1, "/items/{id}", "$default", &parameters, false), request(), b"");
    assert_eq!((&found["version"], &found["path"]), (&json!("1.0"), &json!("/items/a b")));
    assert_eq!(
        (&found["pathParameters"]["id"], &found["requestContext"]["path"]),
        (&json!("a b"), &json!("/items/a b"))
    );

    let (found, _) =
        event(&matched(Format::Http2, "/items/{id}", "$default", &parameters, false), request(), b"");
    let context = &found["requestContext"];
    assert_eq!((&found["version"], &found["routeKey"]), (&json!("2.0"), &json!("GET /items/{id}")));
    assert_eq!((&found["rawPath"], &found["pathParameters"]), (&json!("/items/a b"), &json!({"id": "a b"})));
    assert_eq!((&context["accountId"], &context["stage"]), (&json!("000000000000"), &json!("$default")));
    assert_eq!((&context["http"]["path"], &context["apiId"]), (&json!("/items/a b"), &json!("shop")));

    let (found, _) = event(&matched(Format::Http2, "/items/{id}", "dev", &parameters, false), request(), b"");
    assert_eq!(
        (&found["rawPath"], &found["requestContext"]["stage"]),
        (&json!("/dev/items/a b"), &json!("dev"))
    );
    let (found, _) =
        event(&matched(Format::Http2, crate::apis::DEFAULT, "$default", &[], false), request(), b"");
    assert_eq!((&found["routeKey"], found.get("pathParameters")), (&json!("$default"), None));
}

#[test]
fn a_stage_that_was_sent_is_no_part_of_the_path() {
    let matched = matched(rest(&[]), "/a", "Prod", &[], true);
    let (found, _) = event(&matched, http::Request::get("/Prod/a"), b"");
    assert_eq!((&found["path"], &found["requestContext"]["path"]), (&json!("/a"), &json!("/Prod/a")));
}

/// T-037: the rule itself is tested where it is.
#[test]
fn where_a_request_comes_from_is_what_this_server_has_seen() {
    for format in [rest(&[]), Format::Http2] {
        let matched = matched(format, "/a", "dev", &[], false);
        let request = http::Request::get("/a").header("Host", "localhost:7071");
        let request = request.header("X-Forwarded-For", "10.0.0.1").header("X-Forwarded-For", "10.0.0.2");
        let request = request.header("X-Forwarded-Proto", "https").header("X-Forwarded-Port", "443");
        let (found, _) = event(&matched, request, b"");
        let header = |name: &str| {
            let mut headers = found["headers"].as_object().unwrap().iter();
            headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap().1.as_str().unwrap()
        };
        assert_eq!(header("x-forwarded-for"), "10.0.0.1, 10.0.0.2, 0.0.0.0");
        assert_eq!((header("x-forwarded-proto"), header("x-forwarded-port")), ("http", "7071"));
    }
}
