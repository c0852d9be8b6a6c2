//! `ingle metrics`: what an app has measured, as a table, as JSON or for Prometheus.

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::Value;

use crate::cli::Place;
use crate::client::Client;
use crate::exit::CommandError;
use crate::printer::{Style, aligned, harmless, write_out};

#[derive(Args, Debug)]
pub(crate) struct MetricsArguments {
    /// In the text format of OpenMetrics, for Prometheus
    #[arg(long)]
    openmetrics: bool,
    #[command(flatten)]
    at: Place,
}

pub(crate) async fn run(arguments: &MetricsArguments, style: Style) -> Result<u8, CommandError> {
    let client = Client::of(&arguments.at).await?;
    let shown = client.request(Method::GET, "/v1/metrics", &[], Bytes::new()).await?;
    let text = match (arguments.openmetrics, style.json) {
        (true, _) => open_metrics(&shown),
        (false, true) => format!("{shown}\n"),
        (false, false) => harmless(&table(&shown)),
    };
    write_out(&text);
    Ok(0)
}

fn series(shown: &Value) -> impl Iterator<Item = &Value> {
    shown["series"].as_array().into_iter().flatten()
}

fn text<'value>(one: &'value Value, member: &str) -> &'value str {
    one[member].as_str().unwrap_or_default()
}

fn dimensions(one: &Value) -> impl Iterator<Item = (&str, &str)> {
    let members = one["dimensions"].as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
}

fn table(shown: &Value) -> String {
    let header = ["metric", "dimensions", "unit", "count", "sum", "min", "max", "last"].map(str::to_owned);
    let mut rows = vec![header];
    rows.extend(series(shown).map(|one| {
        let of = dimensions(one).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let number = |member: &str| one[member].to_string();
        [
            format!("{}/{}", text(one, "namespace"), text(one, "name")),
            of.join(" "),
            text(one, "unit").to_owned(),
            number("count"),
            number("sum"),
            number("min"),
            number("max"),
            number("last"),
        ]
    }));
    let is_empty = rows.len() == 1;
    let mut told = if is_empty {
        "the app has measured nothing since the server runs\n".to_owned()
    } else {
        aligned(&rows)
    };
    if let Some(count @ 1..) = shown["leftOut"].as_u64() {
        told.push_str(&format!("{count} values are left out: their series would be too many for one app\n"));
    }
    if let Some(count @ 1..) = shown["malformed"].as_u64() {
        told.push_str(&format!(
            "{count} lines are no metrics, the last because: {}\n",
            text(shown, "complaint")
        ));
    }
    told
}

/// Each series as a summary, and its extremes as gauges (OpenMetrics 1.0, sections 5.1 and 5.7). The samples of a family stand
/// together.
fn open_metrics(shown: &Value) -> String {
    let mut families: Vec<(String, Vec<String>)> = Vec::new();
    let mut put = |family: String, sample: String| match families.iter_mut().find(|(name, _)| *name == family)
    {
        Some((_, samples)) => samples.push(sample),
        None => families.push((family, vec![sample])),
    };
    for one in series(shown) {
        let name = format!("{}_{}", word(text(one, "namespace")), word(text(one, "name")));
        let labels = labels(one);
        let summary = format!("{name}_count{labels} {}\n{name}_sum{labels} {}\n", one["count"], one["sum"]);
        put(format!("{name} summary"), summary);
        for end in ["min", "max"] {
            put(format!("{name}_{end} gauge"), format!("{name}_{end}{labels} {}\n", one[end]));
        }
    }
    let mut told = String::new();
    for (family, samples) in families {
        told.push_str(&format!("# TYPE {family}\n{}", samples.concat()));
    }
    told.push_str("# EOF\n");
    told
}

fn labels(one: &Value) -> String {
    let unit =
        Some(text(one, "unit")).filter(|unit| !matches!(*unit, "" | "None")).map(|unit| ("unit", unit));
    let labels = dimensions(one).chain(unit).map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{}=\"{value}\"", word(name))
    });
    let labels: Vec<String> = labels.collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

/// With what a name may have.
fn word(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let word: String = name.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect();
    if word.starts_with(|first: char| first.is_ascii_digit()) { format!("_{word}") } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown() -> Value {
        let one = |name: &str, service: &str, sum: f64| {
            json!({"namespace": "my shop", "name": name, "unit": "Count", "dimensions": {"service": service},
                "count": 2, "sum": sum, "min": 1.0, "max": 2.5, "last": 1.0, "time": 1})
        };
        json!({"series": [one("Lost", "orders", 3.5), one("Taken", "or\"ders", 3.5), one("Lost", "tea", 1.0)],
            "leftOut": 0, "malformed": 2, "complaint": "`Metrics` is no list"})
    }

    #[test]
    fn series_stand_in_columns() {
        let text = table(&shown());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split_whitespace().count(), 8, "{text}");
        assert!(lines[1].starts_with("my shop/Lost"), "{text}");
        assert!(lines[1].ends_with("service=orders  Count      2  3.5  1.0  2.5   1.0"), "{text}");
        assert_eq!(lines[4], "2 lines are no metrics, the last because: `Metrics` is no list");
        let nothing = json!({"series": [], "leftOut": 0, "malformed": 0, "complaint": null});
        assert_eq!(table(&nothing), "the app has measured nothing since the server runs\n");
    }

    #[test]
    fn prometheus_reads_families() {
        let expected = r#"# TYPE my_shop_Lost summary
my_shop_Lost_count{service="orders",unit="Count"} 2
my_shop_Lost_sum{service="orders",unit="Count"} 3.5
my_shop_Lost_count{service="tea",unit="Count"} 2
my_shop_Lost_sum{service="tea",unit="Count"} 1.0
"#;
        let text = open_metrics(&shown());
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("my_shop_Taken_max{service=\"or\\\"ders\",unit=\"Count\"} 2.5\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(word("1 ü"), "_1__");
    }
}
