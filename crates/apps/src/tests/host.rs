//! host.json and local.settings.json.

use std::collections::BTreeMap;
use std::time::Duration;

use ingle_types::spec::MessageEncoding;

use super::{HOST, options, resolved, shown};
use crate::ReadOptions;

#[test]
fn host_json_is_read_with_its_limits() {
    let host = r#"{"version": "2.0", "functionTimeout": "1.00:00:05", "functions": ["a"],
        "extensionBundle": {"id": "Bundle", "version": "[4.*, 5.0.0)"},
        "logging": {"logLevel": {"default": "warning", "Host.Results": "Error"}, "applicationInsights": {"any": 1}},
        "extensions": {"http": {"routePrefix": "/v1/", "maxConcurrentRequests": 7, "maxOutstandingRequests": -1,
            "customHeaders": {"X-Frame-Options": "DENY"}},
          "queues": {"batchSize": 9, "visibilityTimeout": "00:00:30", "messageEncoding": "None"}}}"#;
    let settings = [
        ("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", "3"),
        ("AzureFunctionsJobHost:functions:1", "b"),
        ("azurefunctionsjobhost__logging__logLevel__Worker", "Debug"),
        ("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "1000"),
    ];
    let (app, _) = resolved(&[("host.json", host), ("function_app.py", "")], &options(&settings), None);
    assert_eq!(shown(&app.problems), Vec::<String>::new());
    let config = &app.host;
    assert_eq!(config.function_timeout, Some(Duration::from_secs(86_405)));
    assert_eq!(config.functions, ["a", "b"]);
    assert_eq!(config.extension_bundle.as_deref(), Some("Bundle [4.*, 5.0.0)"));
    assert_eq!(config.log_levels.len(), 3);
    assert_eq!((config.http.route_prefix.as_str(), config.http.body_bytes_max), ("v1", 1000));
    assert_eq!((config.http.concurrent_requests_max, config.http.outstanding_requests_max), (Some(7), None));
    assert_eq!(config.http.custom_headers, [("X-Frame-Options".to_owned(), "DENY".to_owned())]);
    let queues = &config.queues;
    assert_eq!((queues.batch_size, queues.new_batch_threshold, queues.max_dequeue_count), (9, 4, 3));
    assert_eq!(
        (queues.visibility_timeout, queues.message_encoding),
        (Duration::from_secs(30), MessageEncoding::None)
    );
}

fn check_host(host: &str, settings: &[(&str, &str)], problems: &[&str]) {
    let (app, _) = resolved(&[("host.json", host), ("function_app.py", "")], &options(settings), None);
    assert_eq!(shown(&app.problems), problems);
}

#[test]
fn wrong_values_in_host_json_are_reported_at_their_line() {
    check_host("{}", &[], &["error[E0105] host.json:1: host.json does not say its version"]);
    check_host(
        "{\n\"version\": \"1.0\"}",
        &[],
        &["error[E0105] host.json:2: the version `1.0` of host.json is not known; 2.0 is"],
    );
    check_host("[]", &[], &["error[E0110] host.json:1: host.json holds a list instead of an object"]);
    check_host(
        "{\n\"version\" \"2.0\"}",
        &[],
        &["error[E0112] host.json:2: host.json is no JSON: a colon is missing after the key, at column 11"],
    );
    let wrong = "{\"version\": \"2.0\",\n\"functionTimeout\": 300,\n\"functions\": \"a\",\n\"extensions\": {\"queues\": {\n\"batchSize\": 33,\n\
        \"maxDequeueCount\": 0,\n\"maxPollingInterval\": \"00:00:00.05\"},\n\"http\": {\"routePrefix\": \"a b\",\n\"customHeaders\": {\"a\\nb\": \"x\"}}},\n\
        \"logging\": {\"logLevel\": {\"default\": \"Warnin\"}}}";
    check_host(
        wrong,
        &[],
        &[
            "error[E0110] host.json:2: functionTimeout can't be `300`",
            "error[E0110] host.json:3: functions can't be `a`",
            "error[E0110] host.json:10: the log level of `default` is not known; did you mean `Warning`?",
            "error[E0110] host.json:8: extensions.http.routePrefix can't be `a b`",
            "error[E0110] host.json:9: `a\\nb` is no HTTP header with a text as its value",
            "error[E0110] host.json:5: extensions.queues.batchSize can't be `33`",
            "error[E0110] host.json:6: extensions.queues.maxDequeueCount can't be `0`",
            "error[E0110] host.json:7: extensions.queues.maxPollingInterval can't be `00:00:00.05`",
        ],
    );
    check_host(
        HOST.1,
        &[("AzureFunctionsJobHost__functionTimeout", "soon")],
        &["error[E0110] app setting AzureFunctionsJobHost__functionTimeout: functionTimeout can't be `soon`"],
    );
}

#[test]
fn unknown_keys_of_host_json_are_warned_about_with_the_nearest_name() {
    let host = "{\"version\": \"2.0\",\n\"functionTimeOuts\": \"-1\",\n\"extensions\": {\"queue\": {},\n\"queues\": {\"batchsize\": 4, \"batchSzie\": 1}},\n\
        \"logging\": {\"logLevel\": {\"Any.Thing\": \"None\"}}, // why\n\"zebra\": 1}";
    check_host(
        host,
        &[],
        &[
            "warning[E0112] host.json:5: comments are not part of JSON; it is read all the same",
            "warning[E0111] host.json:2: `functionTimeOuts` is not known and has no effect; did you mean `functionTimeout`?",
            "warning[E0111] host.json:3: `extensions.queue` is not known and has no effect; did you mean `queues`?",
            "warning[E0111] host.json:4: `extensions.queues.batchSzie` is not known and has no effect; did you mean `batchSize`?",
            "warning[E0111] host.json:6: `zebra` is not known and has no effect",
        ],
    );
}

#[test]
fn a_missing_host_json_means_defaults_and_a_function_timeout_can_be_off() {
    let (app, _) = resolved(&[("function_app.py", "")], &ReadOptions::default(), None);
    assert_eq!(
        (shown(&app.problems).len(), app.notes.as_slice()),
        (0, &["there is no host.json: every default applies".to_owned()][..])
    );
    assert_eq!(app.host.function_timeout, Some(Duration::from_secs(1800)));
    let host = r#"{"version": "2.0", "functionTimeout": "-1"}"#;
    let (app, _) = resolved(&[("host.json", host), ("function_app.py", "")], &ReadOptions::default(), None);
    assert_eq!(app.host.function_timeout, None);
}

#[test]
fn local_settings_are_read_leniently_and_the_environment_wins() {
    let settings = "{\"IsEncrypted\": true, \"Vaules\": {},\n\"Values\": {\"A\": \"file\", \"B\": 5, \"C\": true, \"D\": null, \"E\": \"\",\n\"F\": {\"x\": 1}, \"G\": \"file\"},\n\
        \"Host\": {\"LocalHttpPort\": \"7072\", \"CORS\": \"https://a.example/, https://b.example\", \"CORSCredentials\": true},\n\
        \"ConnectionStrings\": {\"Db\": {\"ConnectionString\": \"x\"}}}";
    let files = [HOST, ("function_app.py", ""), ("local.settings.json", settings)];
    let (app, _) = resolved(&files, &options(&[("A", "environment"), ("E", ""), ("G", "")]), None);
    assert_eq!(
        shown(&app.problems),
        [
            "warning[E0113] local.settings.json:1: `Vaules` has no effect; did you mean `Values`?",
            "warning[E0113] local.settings.json:1: IsEncrypted is true, but encrypted values can't be read; they are taken as plain text",
            "warning[E0113] local.settings.json:3: the setting `F` is an object; only texts can be settings",
        ]
    );
    let expected = [
        ("A", "environment"),
        ("B", "5"),
        ("C", "true"),
        ("ConnectionStrings:Db", "x"),
        ("E", ""),
        ("G", "file"),
    ];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(app.settings, expected);
    assert_eq!(app.notes, ["A comes from the environment, not from local.settings.json"]);
    assert_eq!(
        (app.port, app.setting("a"), app.setting("g")),
        (Some(7072), Some("environment"), Some("file"))
    );
    let cors = app.host.cors.unwrap();
    assert_eq!(
        (cors.origins, cors.credentials),
        (vec!["https://a.example".to_owned(), "https://b.example".to_owned()], true)
    );
}
