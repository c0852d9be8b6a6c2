//! Retry policies, from `function.json`, `@app.retry` or `host.json` (facts 7.4).

use std::time::Duration;

use ingle_types::problem::Problem;
use ingle_types::spec::{DeclaredFunction, RetryPolicy, RetryStrategy};
use serde_json::{Map, Value};

use crate::folder::{AppFolder, place};
use crate::host_json::time_span;
use crate::resolve::at_function;
use crate::suggest::{did_you_mean, nearest};

const STRATEGIES: [&str; 2] = ["fixedDelay", "exponentialBackoff"];
const KEYS: [&str; 5] = ["strategy", "maxRetryCount", "delayInterval", "minimumInterval", "maximumInterval"];
/// Longest delay that is accepted: a week.
const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is wrong with a policy.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    /// The key it is about, for its place.
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) fix: String,
}

/// The policy of a function: its own, or that of host.json. What is wrong goes to `problems`.
pub(crate) fn resolve(
    folder: &AppFolder,
    declared: &DeclaredFunction,
    problems: &mut Vec<Problem>,
) -> Option<RetryPolicy> {
    let Some(map) = &declared.retry else { return folder.host.retry.clone() };
    let node = folder.places.get(&declared.name).and_then(|root| root.get("retry"));
    let at = |problem: Problem, key: &str| {
        let problem = at_function(problem, declared);
        match node {
            Some(node) => place(
                problem,
                &format!("{}/function.json", declared.directory),
                node.get(key).unwrap_or(node),
            ),
            None => problem,
        }
    };
    for key in map.keys().filter(|key| !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key))) {
        let meant = nearest(key, KEYS);
        let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        problems.push(at(
            Problem::warning("E0233", format!("the property `{key}` of retry has no effect{meant}"))
                .fix("remove it"),
            key,
        ));
    }
    match parse(map) {
        Ok(policy) => Some(policy),
        Err(wrong) => {
            problems.push(at(Problem::error("E0236", wrong.message), wrong.key).fix(wrong.fix));
            None
        }
    }
}

/// Reads the object `retry`.
pub(crate) fn parse(map: &Map<String, Value>) -> Result<RetryPolicy, Wrong> {
    let strategy = match value(map, "strategy") {
        Some(Value::String(text)) => {
            STRATEGIES.into_iter().find(|name| name.eq_ignore_ascii_case(text)).ok_or_else(|| {
                let meant = did_you_mean(nearest(text, STRATEGIES));
                wrong(
                    "strategy",
                    format!("the retry strategy `{text}` is not known{meant}"),
                    strategies_fix(),
                )
            })?
        }
        Some(_) => {
            return Err(wrong("strategy", "the retry strategy is no text".to_owned(), strategies_fix()));
        }
        None => {
            return Err(wrong("strategy", "the retry policy has no strategy".to_owned(), strategies_fix()));
        }
    };
    let retries_max = retries_max(map)?;
    let strategy = if strategy == STRATEGIES[0] {
        RetryStrategy::FixedDelay { delay: delay(map, "delayInterval", strategy)? }
    } else {
        let minimum = delay(map, "minimumInterval", strategy)?;
        let maximum = delay(map, "maximumInterval", strategy)?;
        if minimum > maximum {
            let fix = "swap the two".to_owned();
            return Err(wrong(
                "minimumInterval",
                "minimumInterval is longer than maximumInterval".to_owned(),
                fix,
            ));
        }
        RetryStrategy::ExponentialBackoff { minimum, maximum }
    };
    Ok(RetryPolicy { strategy, retries_max })
}

fn wrong(key: &'static str, message: String, fix: String) -> Wrong {
    Wrong { key, message, fix }
}

fn strategies_fix() -> String {
    "write \"strategy\": \"fixedDelay\" or \"exponentialBackoff\"".to_owned()
}

fn value<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

/// -1 for ever. A number that an app setting or the decorator gives may be a text.
fn retries_max(map: &Map<String, Value>) -> Result<Option<u32>, Wrong> {
    const KEY: &str = "maxRetryCount";
    let fix = || "write how many times to try again after the first attempt, or -1 for ever".to_owned();
    let number = match value(map, KEY) {
        None => return Err(wrong(KEY, "the retry policy has no maxRetryCount".to_owned(), fix())),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match number {
        Some(-1) => Ok(None),
        Some(number) if (0..=i64::from(i32::MAX)).contains(&number) => Ok(u32::try_from(number).ok()),
        _ => Err(wrong(KEY, "maxRetryCount is no whole number from -1 on".to_owned(), fix())),
    }
}

fn delay(map: &Map<String, Value>, key: &'static str, strategy: &str) -> Result<Duration, Wrong> {
    let fix = || format!("write \"{key}\": \"hh:mm:ss\", e.g. \"00:00:10\"");
    match value(map, key) {
        None => Err(wrong(key, format!("a retry policy of strategy {strategy} needs {key}"), fix())),
        Some(Value::String(text)) => match time_span(text).filter(|delay| *delay <= DELAY_MAX) {
            Some(delay) => Ok(delay),
            None => Err(wrong(key, format!("{key} can't be `{text}`"), fix())),
        },
        Some(_) => Err(wrong(key, format!("{key} is no text"), fix())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: Value, expected: Result<RetryPolicy, (&str, &str)>) {
        let Value::Object(map) = &text else { panic!("{text}") };
        let got = parse(map);
        let got = got.as_ref().map(Clone::clone).map_err(|wrong| (wrong.key, wrong.message.as_str()));
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn both_strategies_are_read() {
        let seconds = Duration::from_secs;
        check(
            json!({"strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:00:10"}),
            Ok(RetryPolicy {
                strategy: RetryStrategy::FixedDelay { delay: seconds(10) },
                retries_max: Some(3),
            }),
        );
        check(
            json!({"Strategy": "EXPONENTIALBACKOFF", "maxRetryCount": "-1", "minimumInterval": "00:00:01",
                "maximumInterval": "00:15:00"}),
            Ok(RetryPolicy {
                strategy: RetryStrategy::ExponentialBackoff { minimum: seconds(1), maximum: seconds(900) },
                retries_max: None,
            }),
        );
    }

    #[test]
    fn what_is_missing_or_odd_is_named() {
        check(json!({}), Err(("strategy", "the retry policy has no strategy")));
        check(
            json!({"strategy": "fixedDelai"}),
            Err(("strategy", "the retry strategy `fixedDelai` is not known; did you mean `fixedDelay`?")),
        );
        check(
            json!({"strategy": "fixedDelay", "delayInterval": "00:00:10"}),
            Err(("maxRetryCount", "the retry policy has no maxRetryCount")),
        );
        for odd in [json!(-2), json!(1.5), json!("many"), json!(true), json!(4_294_967_296_i64)] {
            check(
                json!({"strategy": "fixedDelay", "delayInterval": "00:00:10", "maxRetryCount": odd}),
                Err(("maxRetryCount", "maxRetryCount is no whole number from -1 on")),
            );
        }
        check(
            json!({"strategy": "fixedDelay", "maxRetryCount": 1, "minimumInterval": "00:00:10"}),
            Err(("delayInterval", "a retry policy of strategy fixedDelay needs delayInterval")),
        );
        check(
            json!({"strategy": "fixedDelay", "maxRetryCount": 1, "delayInterval": "10"}),
            Err(("delayInterval", "delayInterval can't be `10`")),
        );
        check(
            json!({"strategy": "exponentialBackoff", "maxRetryCount": 1, "minimumInterval": "00:00:10",
                "maximumInterval": "00:00:05"}),
            Err(("minimumInterval", "minimumInterval is longer than maximumInterval")),
        );
    }
}
