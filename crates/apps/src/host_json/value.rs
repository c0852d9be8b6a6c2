//! Values of host.json, each checked and reported at its place. A value that an app setting provides is a text, so
//! texts that spell a number or truth value are taken as such.

use std::time::Duration;

use ingle_types::problem::Problem;
use ingle_types::spec::RetryPolicy;

use super::FILE;
use crate::folder::place;
use crate::json_place::{Kind, Node};
use crate::retry;
use crate::suggest::{did_you_mean, nearest};

const LEVELS: [&str; 7] = ["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"];

pub(super) struct Reader<'a> {
    pub(super) root: &'a Node,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn find(&self, path: &[&str]) -> Option<&'a Node> {
        self.root.at(path).filter(|node| node.kind != Kind::Null)
    }

    fn wrong(&mut self, path: &[&str], node: &Node, accepted: &str) {
        let shown = match &node.kind {
            Kind::Text(text) | Kind::Number(text) => format!("`{text}`"),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Null | Kind::List(_) | Kind::Object(_) => node.describe().to_owned(),
        };
        let problem = Problem::error("E0110", format!("{} can't be {shown}", path.join(".")));
        self.problems.push(place(problem, FILE, node).fix(format!("write {accepted}")));
    }

    /// Reads the value with `parse`, or reports what is accepted.
    fn read<T>(&mut self, path: &[&str], accepted: &str, parse: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let node = self.find(path)?;
        let value = parse(node);
        if value.is_none() {
            self.wrong(path, node, accepted);
        }
        value
    }

    pub(super) fn count(&mut self, path: &[&str], min: u32, max: u32) -> Option<u32> {
        let accepted = format!("a whole number from {min} to {max}");
        self.read(path, &accepted, |node| {
            integer(node)
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| (min..=max).contains(number))
        })
    }

    /// -1 for no limit.
    pub(super) fn count_or_unlimited(&mut self, path: &[&str]) -> Option<Option<u32>> {
        self.read(path, "a whole number from 1, or -1 for no limit", |node| match integer(node)? {
            -1 => Some(None),
            number => u32::try_from(number).ok().filter(|number| *number > 0).map(Some),
        })
    }

    pub(super) fn duration(&mut self, path: &[&str], min: Duration) -> Option<Duration> {
        let accepted = format!("a time as \"hh:mm:ss\" or \"d.hh:mm:ss\", at least {} ms", min.as_millis());
        self.read(path, &accepted, |node| {
            node.as_text().and_then(time_span).filter(|duration| *duration >= min)
        })
    }

    /// `None` inside: no limit.
    pub(super) fn timeout(&mut self, path: &[&str]) -> Option<Option<Duration>> {
        let accepted =
            "a time as \"hh:mm:ss\" or \"d.hh:mm:ss\", at least one second, or \"-1\" for no limit";
        self.read(path, accepted, |node| match &node.kind {
            Kind::Text(text) | Kind::Number(text) if text == "-1" => Some(None),
            Kind::Text(text) => {
                time_span(text).filter(|duration| *duration >= Duration::from_secs(1)).map(Some)
            }
            _ => None,
        })
    }

    /// The policy for functions without one of their own.
    pub(super) fn retry(&mut self) -> Option<RetryPolicy> {
        let node = self.find(&["retry"])?;
        if !matches!(node.kind, Kind::Object(_)) {
            self.wrong(&["retry"], node, "an object with a strategy");
            return None;
        }
        retry::parse(&node.to_map())
            .map_err(|wrong| {
                let at = node.get(wrong.key).unwrap_or(node);
                self.problems.push(place(Problem::error("E0236", wrong.message), FILE, at).fix(wrong.fix));
            })
            .ok()
    }

    pub(super) fn texts(&mut self, path: &[&str]) -> Option<Vec<String>> {
        self.read(path, "a list of texts", |node| match &node.kind {
            Kind::List(items) => items.iter().map(|item| item.as_text().map(str::to_owned)).collect(),
            _ => None,
        })
    }

    pub(super) fn one_of(&mut self, path: &[&str], names: &[&'static str]) -> Option<&'static str> {
        let accepted = names.join(" or ");
        self.read(path, &accepted, |node| {
            let text = node.as_text()?;
            names.iter().find(|name| name.eq_ignore_ascii_case(text)).copied()
        })
    }

    pub(super) fn route_prefix(&mut self, path: &[&str]) -> Option<String> {
        self.read(path, "a path such as \"api\" or \"v1/shop\", or \"\" for none", |node| {
            let prefix = node.as_text()?.trim_matches('/');
            let fine = |character: char| character.is_alphanumeric() || "-._~/%".contains(character);
            (prefix.chars().all(fine) && !prefix.contains("//")).then(|| prefix.to_owned())
        })
    }

    /// Names and values that HTTP allows (T-046).
    pub(super) fn headers(&mut self, path: &[&str]) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (name, node) in self.map(path) {
            let name_is_fine = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            let value = node
                .as_text()
                .filter(|text| text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)));
            match value.filter(|_| name_is_fine) {
                Some(value) => headers.push((name.to_owned(), value.to_owned())),
                None => {
                    let problem = Problem::error(
                        "E0110",
                        format!("`{}` is no HTTP header with a text as its value", name.escape_debug()),
                    );
                    let fix = "write \"Name\": \"value\", without line breaks or other characters that HTTP forbids";
                    self.problems.push(place(problem, FILE, node).fix(fix));
                }
            }
        }
        headers
    }

    pub(super) fn log_levels(&mut self, path: &[&str]) -> Vec<(String, String)> {
        let mut levels = Vec::new();
        for (category, node) in self.map(path) {
            let level = node.as_text().unwrap_or_default();
            if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                levels.push((category.to_owned(), level.to_owned()));
            } else {
                let meant = did_you_mean(nearest(level, LEVELS));
                let problem =
                    Problem::error("E0110", format!("the log level of `{category}` is not known{meant}"));
                self.problems
                    .push(place(problem, FILE, node).fix(format!("write one of {}", LEVELS.join(", "))));
            }
        }
        levels
    }

    fn map(&mut self, path: &[&str]) -> Vec<(&'a str, &'a Node)> {
        let Some(node) = self.find(path) else { return Vec::new() };
        if !matches!(node.kind, Kind::Object(_)) {
            self.wrong(path, node, "an object with a text for each key");
        }
        node.members().iter().map(|member| (member.key.as_str(), &member.value)).collect()
    }
}

fn integer(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Number(text) => text.parse().ok(),
        Kind::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// `hh:mm`, `hh:mm:ss`, `d.hh:mm:ss`, `hh:mm:ss.fffffff`: the constant format of .NET's `TimeSpan`, without a sign.
pub(crate) fn time_span(text: &str) -> Option<Duration> {
    let (whole, fraction) = match text.trim().rsplit_once(':') {
        // A dot after the last colon opens a fraction; one before the first colon ends the days.
        Some((_, last)) if last.contains('.') => {
            text.trim().rsplit_once('.').map(|(whole, digits)| (whole, Some(digits)))?
        }
        _ => (text.trim(), None),
    };
    let (days, clock) = whole.split_once('.').unwrap_or(("0", whole));
    let mut fields = clock.split(':').map(|field| number(field, 2));
    let hours = fields.next()??;
    let minutes = fields.next()??;
    let seconds = fields.next().unwrap_or(Some(0))?;
    let fits = fields.next().is_none() && hours < 24 && minutes < 60 && seconds < 60;
    let days = number(days, 5)?;
    let nanos = match fraction {
        None => 0,
        Some(digits) => number(digits, 7)? * 10_u64.pow(9 - u32::try_from(digits.len()).ok()?),
    };
    let total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    fits.then(|| Duration::from_secs(total) + Duration::from_nanos(nanos))
}

fn number(digits: &str, length_max: usize) -> Option<u64> {
    let plain =
        !digits.is_empty() && digits.len() <= length_max && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected_ms: Option<u64>) {
        assert_eq!(time_span(text), expected_ms.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn time_spans_of_dotnet_are_read() {
        check("00:00:05", Some(5_000));
        check("00:30", Some(30 * 60_000));
        check("1.02:03:04", Some(((26 * 60 + 3) * 60 + 4) * 1_000));
        check("00:00:00.1", Some(100));
        check("1.00:00:00.1000000", Some(86_400_100));
        for wrong in [
            "",
            "5",
            "24:00:00",
            "00:60:00",
            "00:00:60",
            "-00:00:01",
            "a:b:c",
            "1:2:3:4",
            "00:00:00.",
            "::",
            "00:00:00.12345678",
        ] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.: -]{0,20}") {
            time_span(&text);
        }
    }
}
