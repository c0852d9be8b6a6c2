//! Metrics that an app writes into its log, in CloudWatch's *embedded metric format*: a line of standard output that is a JSON
//! object with `_aws.CloudWatchMetrics` (facts of Lambda, section 8.2; the format is specified in Amazon's user guide of
//! CloudWatch).
//!
//! They are summed up in memory, for each app by itself, and shown by `ingle metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::log::{LogLine, LogSink, LogSinkHandle, LogSource};

/// Of one app; what would be one more is counted and left out, so that no app fills the server's memory (T-056).
const SERIES_MAX: usize = 10_000;
/// Limits of the format.
const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 100;
const METRICS_MAX: usize = 100;
const NAME_CHARACTERS_MAX: usize = 1024;

/// What is measured, and where it belongs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    namespace: String,
    name: String,
    unit: String,
    dimensions: Vec<(String, String)>,
}

/// What was measured.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Summary {
    count: u64,
    sum: f64,
    least: f64,
    most: f64,
    last: f64,
    /// The newest time that the app gave, in milliseconds since 1970.
    at_ms: u64,
}

#[derive(Default)]
struct Kept {
    series: BTreeMap<Key, Summary>,
    left_out: u64,
    malformed: u64,
    /// Why the last line that was not understood was not.
    complaint: Option<String>,
}

/// The metrics of an app. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Kept>>);

impl Metrics {
    /// A sink in front of another one, which gets all lines; those that are metrics are counted in passing.
    pub fn lines(&self, behind: LogSinkHandle) -> LogSinkHandle {
        Arc::new(Lines { metrics: self.clone(), behind })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of the log; most are no metrics.
    fn take(&self, line: &str) {
        // Most lines are told from metrics by that, at the price of a look.
        if !line.starts_with('{') || !line.contains("\"_aws\"") {
            return;
        }
        let Ok(Value::Object(members)) = serde_json::from_str(line) else { return };
        let Some(directives) = members.get("_aws").and_then(|aws| aws.get("CloudWatchMetrics")) else {
            return;
        };
        let found = samples(&members, directives);
        let mut kept = self.kept();
        match found {
            Ok(samples) => samples.into_iter().for_each(|(key, values, at_ms)| kept.add(key, &values, at_ms)),
            Err(complaint) => {
                kept.malformed += 1;
                kept.complaint = Some(complaint);
            }
        }
    }

    /// `{"series": [{"namespace","name","unit","dimensions": {…},"count","sum","min","max","last","time"}], "leftOut",
    /// "malformed", "complaint"}`; `time` in milliseconds since 1970, `leftOut` and `malformed` are counts, `complaint` is a
    /// sentence or null.
    pub fn to_json(&self) -> Value {
        let kept = self.kept();
        let series: Vec<Value> = kept.series.iter().map(|(key, summary)| key.shown(summary)).collect();
        json!({"series": series, "leftOut": kept.left_out, "malformed": kept.malformed,
            "complaint": kept.complaint})
    }
}

struct Lines {
    metrics: Metrics,
    behind: LogSinkHandle,
}

impl LogSink for Lines {
    fn line(&self, line: LogLine) {
        if line.source == LogSource::Stdout {
            line.message.lines().for_each(|text| self.metrics.take(text));
        }
        self.behind.line(line);
    }
}

impl Key {
    fn shown(&self, summary: &Summary) -> Value {
        let dimensions: Map<String, Value> =
            self.dimensions.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({"namespace": self.namespace, "name": self.name, "unit": self.unit, "dimensions": dimensions,
            "count": summary.count, "sum": summary.sum, "min": summary.least, "max": summary.most,
            "last": summary.last, "time": summary.at_ms})
    }
}

impl Kept {
    fn add(&mut self, key: Key, values: &[f64], at_ms: u64) {
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let none = Summary {
            count: 0,
            sum: 0.0,
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
            last: 0.0,
            at_ms: 0,
        };
        let summary = self.series.entry(key).or_insert(none);
        for value in values {
            summary.count += 1;
            summary.sum += value;
            summary.least = summary.least.min(*value);
            summary.most = summary.most.max(*value);
            summary.last = *value;
        }
        summary.at_ms = summary.at_ms.max(at_ms);
    }
}

type Sample = (Key, Vec<f64>, u64);

/// What a line measures, for each set of dimensions; nothing of it if something is wrong.
fn samples(members: &Map<String, Value>, directives: &Value) -> Result<Vec<Sample>, String> {
    let at_ms = members.get("_aws").and_then(|aws| aws.get("Timestamp")).and_then(Value::as_u64);
    let at_ms = at_ms.ok_or("`_aws.Timestamp` is no number of milliseconds")?;
    let directives = directives.as_array().ok_or("`_aws.CloudWatchMetrics` is no list")?;
    let mut found = Vec::new();
    for directive in directives {
        let namespace = name_in(directive, "Namespace")?;
        let sets = dimension_sets(members, directive)?;
        let metrics = directive.get("Metrics").and_then(Value::as_array).ok_or("`Metrics` is no list")?;
        if metrics.len() > METRICS_MAX {
            return Err(format!("{} metrics in one directive; {METRICS_MAX} are allowed", metrics.len()));
        }
        for metric in metrics {
            let name = name_in(metric, "Name")?;
            let values = values(members, &name)?;
            let unit = metric.get("Unit").and_then(Value::as_str).unwrap_or("None");
            for dimensions in &sets {
                let key = Key {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    unit: unit.to_owned(),
                    dimensions: dimensions.clone(),
                };
                found.push((key, values.clone(), at_ms));
            }
        }
    }
    Ok(found)
}

fn name_in(object: &Value, member: &str) -> Result<String, String> {
    let name = object.get(member).and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("`{member}` is no text"))?;
    if name.chars().count() > NAME_CHARACTERS_MAX {
        return Err(format!("`{member}` has more than {NAME_CHARACTERS_MAX} characters"));
    }
    Ok(name.to_owned())
}

/// Each set with its values, sorted, so that a series is the same however its dimensions are ordered.
fn dimension_sets(
    members: &Map<String, Value>,
    directive: &Value,
) -> Result<Vec<Vec<(String, String)>>, String> {
    let sets = match directive.get("Dimensions") {
        None => return Ok(vec![Vec::new()]),
        Some(sets) => sets.as_array().ok_or("`Dimensions` is no list of lists")?,
    };
    let mut found = Vec::new();
    for set in sets {
        let names = set.as_array().ok_or("`Dimensions` is no list of lists")?;
        if names.len() > DIMENSIONS_MAX {
            return Err(format!("{} dimensions in one set; {DIMENSIONS_MAX} are allowed", names.len()));
        }
        let mut dimensions = Vec::new();
        for name in names {
            let name = name.as_str().ok_or("a dimension's name is no text")?;
            let value = members.get(name).and_then(Value::as_str);
            let value = value.ok_or_else(|| format!("the dimension `{name}` has no text in the line"))?;
            if name.len().max(value.len()) > NAME_CHARACTERS_MAX {
                return Err(format!("the dimension `{name:.40}` has more than {NAME_CHARACTERS_MAX} bytes"));
            }
            dimensions.push((name.to_owned(), value.to_owned()));
        }
        dimensions.sort();
        found.push(dimensions);
    }
    if found.is_empty() {
        found.push(Vec::new());
    }
    Ok(found)
}

/// A number, or a list of them.
fn values(members: &Map<String, Value>, name: &str) -> Result<Vec<f64>, String> {
    let wrong = || format!("the metric `{name}` has no number in the line");
    match members.get(name).ok_or_else(wrong)? {
        Value::Array(values) if values.len() > VALUES_MAX => {
            Err(format!("{} values of `{name}` in one line; {VALUES_MAX} are allowed", values.len()))
        }
        Value::Array(values) => {
            values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>().ok_or_else(wrong)
        }
        value => value.as_f64().map(|value| vec![value]).ok_or_else(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[Value]) -> Value {
        let metrics = Metrics::default();
        lines.iter().for_each(|line| metrics.take(&line.to_string()));
        metrics.to_json()
    }

    fn line(name: &str, value: &Value) -> Value {
        let directive = json!({"Namespace": "shop", "Dimensions": [["service"]], "Metrics": [{"Name": name, "Unit": "Count"}]});
        json!({"_aws": {"Timestamp": 1_795_197_910_454_u64, "CloudWatchMetrics": [directive]}, "service": "orders", name: value})
    }

    #[test]
    fn values_of_a_series_are_summed_up() {
        let shown =
            taken(&[line("Taken", &json!([1.0, 4])), line("Taken", &json!(2)), line("Lost", &json!(0))]);
        let series = &shown["series"];
        assert_eq!(series.as_array().unwrap().len(), 2, "{shown}");
        let expected = json!({"namespace": "shop", "name": "Taken", "unit": "Count", "dimensions": {"service": "orders"},
            "count": 3, "sum": 7.0, "min": 1.0, "max": 4.0, "last": 2.0, "time": 1_795_197_910_454_u64});
        assert_eq!(series[1], expected);
        assert_eq!(shown["malformed"], 0);
    }

    #[test]
    fn each_set_of_dimensions_is_a_series() {
        let mut two = line("Taken", &json!(1));
        two["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([["service"], [], ["zone", "service"]]);
        two["zone"] = json!("eu");
        let series = taken(&[two])["series"].clone();
        let dimensions: Vec<&Value> =
            series.as_array().unwrap().iter().map(|one| &one["dimensions"]).collect();
        assert_eq!(
            dimensions,
            [&json!({}), &json!({"service": "orders"}), &json!({"service": "orders", "zone": "eu"})]
        );
    }

    #[test]
    fn what_is_no_metric_counts_nothing() {
        let metrics = Metrics::default();
        for text in ["", "hello", "{\"a\": 1}", "{\"_aws\": 1}", "{\"_aws\"", "[\"_aws\"]", "{\"_aws\": {}}"]
        {
            metrics.take(text);
        }
        assert_eq!(metrics.to_json(), json!({"series": [], "leftOut": 0, "malformed": 0, "complaint": null}));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |change: &dyn Fn(&mut Value), expected: &str| {
            let mut line = line("Taken", &json!(1));
            change(&mut line);
            let shown = taken(&[line]);
            assert_eq!((&shown["malformed"], &shown["series"]), (&json!(1), &json!([])), "{shown}");
            assert!(shown["complaint"].as_str().unwrap().contains(expected), "{shown}");
        };
        check(&|line| line["_aws"]["Timestamp"] = json!("now"), "Timestamp");
        check(&|line| line["_aws"]["CloudWatchMetrics"] = json!({}), "no list");
        check(&|line| line["service"] = json!(1), "dimension `service`");
        check(&|line| line["Taken"] = json!("1"), "metric `Taken`");
        check(&|line| line["Taken"] = json!(vec![1; 101]), "101 values");
        check(&|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] = json!(""), "Namespace");
        check(
            &|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"] = json!("x".repeat(1025)),
            "1024",
        );
        check(
            &|line| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([vec!["service"; 31]]),
            "31 dimensions",
        );
    }

    /// T-056: an app that makes up a series for each line fills no memory.
    #[test]
    fn t_056_there_are_so_many_series_of_an_app_and_no_more() {
        let metrics = Metrics::default();
        for number in 0..SERIES_MAX + 5 {
            metrics.take(&line(&format!("m{number}"), &json!(1)).to_string());
        }
        metrics.take(&line("m0", &json!(1)).to_string());
        let shown = metrics.to_json();
        assert_eq!(shown["series"].as_array().unwrap().len(), SERIES_MAX);
        assert_eq!(shown["leftOut"], 5);
    }
}
