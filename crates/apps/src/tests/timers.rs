//! Timer triggers and retry policies.

use std::time::Duration;

use ingle_types::spec::{
    AppSpec, CatchUp, DeclaredFunction, FunctionSpec, RetryPolicy, RetryStrategy, TimerTrigger, TriggerSpec,
};
use serde_json::json;

use super::{check_with, options, resolved, shown};

const NONE_RUNS: &str = "error[E0206]: the only function has an error or is left out";

/// One function `F`; its binding stands in line 2, what follows `rest` after it.
fn check(binding: &str, rest: &str, settings: &[(&str, &str)], problems: &[&str]) -> AppSpec {
    let text =
        format!("{{\"bindings\": [\n{{\"type\": \"timerTrigger\", \"name\": \"timer\", {binding}}}]{rest}}}");
    let functions: &[&str] =
        if problems.iter().any(|problem| problem.starts_with("error")) { &[] } else { &["F"] };
    check_with(&[("F/function.json", &text), ("F/__init__.py", "")], &options(settings), problems, functions)
}

fn timer(function: &FunctionSpec) -> &TimerTrigger {
    let TriggerSpec::Timer(timer) = &function.trigger else { panic!("{function:?}") };
    timer
}

#[test]
fn a_timer_is_read_with_its_zone() {
    let spec = check("\"schedule\": \"0  */5 * * * *\"", "", &[], &[]);
    let found = timer(&spec.functions[0]);
    assert_eq!(
        (found.schedule.to_string().as_str(), found.zone.to_string().as_str()),
        ("0 */5 * * * *", "UTC")
    );
    assert!(!found.run_on_startup && found.use_monitor);

    let settings =
        [("EVERY", "00:10:00"), ("WEBSITE_TIME_ZONE", "w. europe standard time"), ("TZ", "Asia/Tokyo")];
    let spec = check(
        "\"schedule\": \"%EVERY%\", \"runOnStartup\": true, \"useMonitor\": \"False\"",
        "",
        &settings,
        &[],
    );
    let found = timer(&spec.functions[0]);
    assert_eq!(
        (found.schedule.to_string().as_str(), found.zone.to_string().as_str()),
        ("00:10:00", "Europe/Berlin")
    );
    assert!(found.run_on_startup && !found.use_monitor);

    let spec = check("\"schedule\": \"0 0 0 * * *\"", "", &[("TZ", ":Asia/Tokyo")], &[]);
    assert_eq!(timer(&spec.functions[0]).zone.to_string(), "Asia/Tokyo");
}

#[test]
fn what_is_wrong_with_a_timer_is_reported_at_its_line() {
    check(
        "\"runOnStartup\": true",
        "",
        &[],
        &["error[E0232] F/function.json:2: a binding of F has no schedule", NONE_RUNS],
    );
    check(
        "\n\"schedule\": \"0 0 0 * * 7\"",
        "",
        &[],
        &[
            "error[E0235] F/function.json:3: the schedule `0 0 0 * * 7` can't be used: `7` is no day of week, at character 11",
            NONE_RUNS,
        ],
    );
    check(
        "\"schedule\": \"0 0 0 * * *\"",
        "",
        &[("WEBSITE_TIME_ZONE", "Europe/Berln")],
        &[
            "error[E0238] F/function.json:2: there is no time zone `Europe/Berln`, which the setting WEBSITE_TIME_ZONE names; did you mean `Europe/Berlin`?",
            NONE_RUNS,
        ],
    );
    check(
        "\"schedule\": \"0 0 0 * * *\"",
        "",
        &[("TZ", ":/etc/localtime")],
        &[
            "warning[E0238] F/function.json:2: there is no time zone `:/etc/localtime`, which TZ names; UTC is used instead",
        ],
    );
}

const FIXED: &str =
    "\"retry\": {\n\"strategy\": \"fixedDelay\",\n\"maxRetryCount\": 2,\n\"delayInterval\": \"00:00:05\"}";

#[test]
fn a_retry_policy_is_that_of_the_function_or_of_the_host() {
    let schedule = "\"schedule\": \"0 0 0 * * *\"";
    let policy = |seconds, retries| RetryPolicy {
        strategy: RetryStrategy::FixedDelay { delay: Duration::from_secs(seconds) },
        retries_max: Some(retries),
    };
    let spec = check(schedule, &format!(", {FIXED}"), &[], &[]);
    assert_eq!(spec.functions[0].retry, Some(policy(5, 2)));
    assert_eq!(check(schedule, "", &[], &[]).functions[0].retry, None);

    let host = |key: &str, value: &'static str| (format!("AzureFunctionsJobHost__retry__{key}"), value);
    let settings =
        [host("strategy", "FixedDelay"), host("maxRetryCount", "7"), host("delayInterval", "00:01:00")];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(check(schedule, "", &settings, &[]).functions[0].retry, Some(policy(60, 7)));
    let own = check(schedule, &format!(", {FIXED}"), &settings, &[]);
    assert_eq!(own.functions[0].retry, Some(policy(5, 2)));
}

#[test]
fn what_is_wrong_with_a_policy_is_reported_at_its_line() {
    let schedule = "\"schedule\": \"0 0 0 * * *\"";
    check(
        schedule,
        &format!(", {}", FIXED.replace("2,", "\"x\",").replace("delayInterval\"", "delay\"")),
        &[],
        &[
            "warning[E0233] F/function.json:5: the property `delay` of retry has no effect",
            "error[E0236] F/function.json:4: maxRetryCount is no whole number from -1 on",
            NONE_RUNS,
        ],
    );
    let files = [
        (
            "host.json",
            "{\"version\": \"2.0\",\n\"retry\": {\"strategy\": \"fixedDelay\",\n\"maxRetryCount\": 1}}",
        ),
        ("function_app.py", ""),
    ];
    let (app, _) = resolved(&files, &options(&[]), None);
    assert_eq!(
        shown(&app.problems),
        ["error[E0236] host.json:2: a retry policy of strategy fixedDelay needs delayInterval"]
    );
}

/// What a decorator declares has the line of the function.
#[test]
fn a_policy_of_a_decorator_is_reported_at_the_function() {
    let declared = DeclaredFunction {
        name: "tick".to_owned(),
        directory: String::new(),
        script_file: "function_app.py".to_owned(),
        entry_point: "tick".to_owned(),
        bindings: vec![
            json!({"direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "0 0 0 * * *",
                "runOnStartup": false})
            .as_object()
            .unwrap()
            .clone(),
        ],
        is_async: false,
        streams: false,
        file: Some("function_app.py".to_owned()),
        line: Some(7),
        disabled: false,
        retry: Some(
            json!({"strategy": "exponentialBackoff", "maxRetryCount": 3}).as_object().unwrap().clone(),
        ),
    };
    let files = [("host.json", "{\"version\": \"2.0\"}"), ("function_app.py", "")];
    let (_, spec) = resolved(&files, &options(&[]), Some(vec![declared]));
    assert_eq!(
        shown(&spec.problems),
        [
            "error[E0236] function_app.py:7: a retry policy of strategy exponentialBackoff needs minimumInterval",
            NONE_RUNS,
        ]
    );
}

#[test]
fn the_catch_up_policy_is_a_key_of_host_json() {
    let check = |value: &str, expected: CatchUp, problems: &[&str]| {
        let host =
            format!("{{\"version\": \"2.0\", \"extensions\": {{\"timers\": {{\"catchUp\": \"{value}\"}}}}}}");
        let (app, _) = resolved(&[("host.json", &host), ("function_app.py", "")], &options(&[]), None);
        assert_eq!(shown(&app.problems), problems);
        assert_eq!(app.host.catch_up, expected);
    };
    check("All", CatchUp::All, &[]);
    check("none", CatchUp::None, &[]);
    check("two", CatchUp::One, &["error[E0110] host.json:1: extensions.timers.catchUp can't be `two`"]);
}
