//! Keys of callers and usage plans, as templates and a serverless.yml have them in common.

use ingle_types::usage::{ApiKey, Period, Quota, Throttle, UsagePlan};

use super::findings::{Findings, shortened};
use super::node::Node;

/// As API Gateway takes them.
const VALUE_CHARACTERS: std::ops::RangeInclusive<usize> = 20..=128;
/// As keys are kept.
const NAME_BYTES_MAX: usize = 127;
const COUNT_RANGE: std::ops::RangeInclusive<u64> = 0..=1_000_000_000;

/// How the members of a plan are called.
pub(super) struct Words {
    pub(super) rate: &'static str,
    pub(super) burst: &'static str,
    pub(super) limit: &'static str,
    pub(super) period: &'static str,
    pub(super) offset: &'static str,
}

/// The name under which a key without a value is kept.
fn kept(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    name.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect()
}

/// Whether two keys without values would be one.
pub(super) fn are_one(name: &str, other: &str) -> bool {
    kept(name).eq_ignore_ascii_case(&kept(other))
}

/// Two keys that would be one: each would open what the other is for.
pub(super) fn wrong_pair(findings: &mut Findings, line: u32, (name, other): (&str, &str)) {
    let what = format!("the keys `{}` and `{}` are one here", shortened(name), shortened(other));
    let fix = "give one of them another name: of other letters, digits, or `_`, `-` and `.`";
    findings.wrong("E0116", line, what, fix);
}

/// A key with its value, if the file has one. `None`, with a finding, if it can't be used.
pub(super) fn key(
    findings: &mut Findings,
    (name, line): (&str, u32),
    value: Option<&Node>,
    plan: Option<UsagePlan>,
) -> Option<ApiKey> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let what = format!("`{}` can't be the name of a key", shortened(name));
        findings.wrong("E0116", line, what, format!("write 1 to {NAME_BYTES_MAX} letters and digits"));
        return None;
    }
    let Some(node) = value else { return Some(ApiKey { name: kept(name), value: None, plan }) };
    let text = findings.text(node, "the value of a key")?;
    if !VALUE_CHARACTERS.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = format!("the value of the key {} can't be one", shortened(name));
        let fix = "write 20 to 128 letters and digits, or leave it out: one is made then";
        findings.wrong("E0116", node.line, what, fix);
        return None;
    }
    Some(ApiKey { name: name.to_owned(), value: Some(text), plan })
}

/// `None`, with a finding, if a limit of it can't be read.
pub(super) fn plan(
    findings: &mut Findings,
    name: &str,
    (throttle, quota): (Option<&Node>, Option<&Node>),
    words: &Words,
) -> Option<UsagePlan> {
    let throttle = match throttle {
        Some(node) => Some(self::throttle(findings, node, words)?),
        None => None,
    };
    let quota = match quota {
        Some(node) => Some(self::quota(findings, node, words)?),
        None => None,
    };
    Some(UsagePlan { name: name.to_owned(), throttle, quota })
}

fn throttle(findings: &mut Findings, node: &Node, words: &Words) -> Option<Throttle> {
    let (Some(rate), Some(burst)) = (node.get(words.rate), node.get(words.burst)) else {
        let what = format!("a plan has {} or {} alone", words.rate, words.burst);
        findings.wrong("E0116", node.line, what, "write both of them");
        return None;
    };
    let burst = findings.number(burst, words.burst, 0..=u64::from(u32::MAX))?;
    let text = findings.text(rate, words.rate)?;
    let number = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    let Some(rate) = number else {
        let what = format!("{} is `{}`", words.rate, shortened(&text));
        findings.wrong("E0116", rate.line, what, "write requests in a second, e.g. 10 or 0.5");
        return None;
    };
    Some(Throttle { rate, burst: u32::try_from(burst).ok()? })
}

fn quota(findings: &mut Findings, node: &Node, words: &Words) -> Option<Quota> {
    let (Some(limit), Some(period)) = (node.get(words.limit), node.get(words.period)) else {
        let what = format!("a quota has {} or {} alone", words.limit, words.period);
        findings.wrong("E0116", node.line, what, "write both of them");
        return None;
    };
    let limit = findings.number(limit, words.limit, COUNT_RANGE)?;
    let text = findings.text(period, words.period)?;
    let Ok(period) = text.parse::<Period>() else {
        let what = format!("{} is `{}`", words.period, shortened(&text));
        findings.wrong("E0116", period.line, what, "write DAY, WEEK or MONTH");
        return None;
    };
    let offset = match node.get(words.offset) {
        Some(node) => findings.number(node, words.offset, 0..=u64::from(period.offset_max()))?,
        None => 0,
    };
    Some(Quota { limit, period, offset: u32::try_from(offset).ok()? })
}
