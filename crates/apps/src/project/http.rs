//! Routes and rules for other origins, as both kinds of projects write them.

use std::time::Duration;

use ingle_types::spec::InvokeMode;

use super::findings::{Findings, shortened};
use super::node::{Kind, Node};
use super::{Cors, Payload};

/// The path of routes that take what no other takes.
pub(super) const DEFAULT: &str = "$default";

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// What pages may send if a project says only that there are other origins.
const HEADERS: [&str; 5] =
    ["Content-Type", "X-Amz-Date", "Authorization", "X-Api-Key", "X-Amz-Security-Token"];
/// In seconds: a day, which is the most that API Gateway takes.
const MAX_AGE: u64 = 86_400;

/// A method in capitals; `Some(None)` is any. Without a finding for a value that is none.
pub(super) fn method_of(text: &str) -> Option<Option<String>> {
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "ANY" | "*" | "X-AMAZON-APIGATEWAY-ANY-METHOD" => Some(None),
        known => METHODS.contains(&known).then(|| Some(known.to_owned())),
    }
}

pub(super) fn method(findings: &mut Findings, node: &Node) -> Option<Option<String>> {
    let text = findings.text(node, "the method")?;
    let method = method_of(&text);
    if method.is_none() {
        let fix = format!("write any, or one of {}", METHODS.join(", "));
        findings.wrong("E0116", node.line, format!("`{}` is no method", shortened(&text)), fix);
    }
    method
}

/// How a function URL answers. One that is none is a problem.
pub(super) fn invoke_mode(findings: &mut Findings, node: Option<&Node>) -> InvokeMode {
    let Some(node) = node else { return InvokeMode::default() };
    let Some(text) = findings.text(node, "the invoke mode") else { return InvokeMode::default() };
    text.parse().unwrap_or_else(|()| {
        let what = format!("`{}` is no invoke mode of a function URL", shortened(&text));
        findings.wrong("E0116", node.line, what, "write BUFFERED or RESPONSE_STREAM");
        InvokeMode::default()
    })
}

/// `/items/{id}`, `/files/{path+}`.
pub(super) fn path(findings: &mut Findings, text: &str, line: u32) -> Option<String> {
    let rest = text.strip_prefix('/');
    let is_path = rest.is_some_and(|rest| {
        let segments: Vec<&str> = rest.split('/').collect();
        // One `/` at the end is a path of its own.
        let last = segments.len() - 1;
        segments.iter().enumerate().all(|(index, segment)| {
            if segment.is_empty() { index == last } else { is_segment(segment, index == last) }
        })
    });
    if is_path {
        return Some(text.to_owned());
    }
    let fix = "write /, and parameters as whole segments: /items/{id}, or at the end /files/{path+}";
    findings.wrong("E0116", line, format!("`{}` is no path of an API", shortened(text)), fix);
    None
}

fn is_segment(segment: &str, is_last: bool) -> bool {
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = inner else {
        return !matches!(segment, "." | "..")
            && !segment.contains(|letter: char| {
                matches!(letter, '{' | '}' | '?' | '#') || letter.is_whitespace() || letter.is_control()
            });
    };
    let name = name.strip_suffix('+').filter(|_| is_last).unwrap_or(name);
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-:$".contains(letter);
    !name.is_empty() && name.chars().all(is_letter)
}

/// `1.0` or `2.0`.
pub(super) fn payload(findings: &mut Findings, node: &Node) -> Option<Payload> {
    match findings.text(node, "the format of events")?.as_str() {
        "1.0" | "1" => Some(Payload::V1),
        "2.0" | "2" => Some(Payload::V2),
        _ => {
            findings.wrong(
                "E0116",
                node.line,
                "the format of events is neither 1.0 nor 2.0",
                "write \"2.0\"",
            );
            None
        }
    }
}

/// Rules for other origins: `true`, an origin, or a map in one of the spellings.
pub(super) fn cors(findings: &mut Findings, node: &Node) -> Option<Cors> {
    match (&node.kind, node.flag()) {
        (_, Some(false)) => None,
        (_, Some(true)) => Some(Cors {
            origins: vec!["*".to_owned()],
            headers: HEADERS.map(str::to_owned).into(),
            ..Cors::default()
        }),
        (Kind::Scalar { .. } | Kind::List(_), _) => {
            let origins = listed(findings, node, "the origins");
            (!origins.is_empty()).then(|| Cors { origins, ..Cors::default() })
        }
        (Kind::Map(_), _) => Some(rules(findings, node)),
        (Kind::Unknown(_), _) => {
            findings.wrong_kind(node, "the rules for other origins", "true, or a map of rules");
            None
        }
    }
}

fn rules(findings: &mut Findings, node: &Node) -> Cors {
    let mut cors = Cors::default();
    for member in node.members() {
        let (key, value) = (member.key.as_str(), &member.value);
        match key.to_ascii_lowercase().as_str() {
            "alloworigin" | "alloworigins" | "origin" | "origins" | "allowedorigins" => {
                cors.origins = listed(findings, value, key);
            }
            "allowmethods" | "methods" | "allowedmethods" => cors.methods = listed(findings, value, key),
            "allowheaders" | "headers" | "allowedheaders" => cors.headers = listed(findings, value, key),
            "exposeheaders" | "exposedresponseheaders" => cors.exposed_headers = listed(findings, value, key),
            "allowcredentials" => cors.credentials = findings.flag(value, key).unwrap_or(false),
            "maxage" => cors.max_age = max_age(findings, value, key),
            _ => findings.ignore(member.line, key, "it is no rule for other origins that is applied here"),
        }
    }
    if cors.origins.is_empty() {
        cors.origins.push("*".to_owned());
    }
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        cors.credentials = false;
        let why = "no origin is named, and every page could read what is the user's: AWS and browsers refuse that, too";
        findings.ignore(node.line, "AllowCredentials", why);
    }
    cors
}

/// `600`, or `"'600'"`.
fn max_age(findings: &mut Findings, node: &Node, what: &str) -> Option<Duration> {
    let bare = node.scalar().map(|text| Node::plain(unquoted(text), node.line));
    findings.number(bare.as_ref().unwrap_or(node), what, 0..=MAX_AGE).map(Duration::from_secs)
}

/// A list, or a text with commas. REST APIs of SAM want quotes within it: `"'GET,POST'"`.
fn listed(findings: &mut Findings, node: &Node, what: &str) -> Vec<String> {
    let texts = findings.texts(node, what);
    let parts = texts.iter().flat_map(|text| unquoted(text).split(','));
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-043.
    #[test]
    fn credentials_are_for_origins_that_are_named() {
        let check = |origins: &str, expected: bool| {
            let text = format!("{{AllowOrigins: {origins}, AllowCredentials: true}}");
            let node = super::super::yaml::parse(&text).unwrap().root;
            let mut findings = Findings::new("template.yaml");
            assert_eq!(cors(&mut findings, &node).unwrap().credentials, expected, "{origins}");
            let (problems, ignored) = findings.finish();
            assert_eq!((problems.len(), ignored.len()), (0, usize::from(!expected)), "{origins}");
        };
        check("['https://a.example']", true);
        check("['https://a.example', '*']", false);
        check("'*'", false);
    }

    #[test]
    fn paths_are_checked() {
        let check = |text: &str, expected: bool| {
            let mut findings = Findings::new("template.yaml");
            assert_eq!(path(&mut findings, text, 3).is_some(), expected, "{text}");
            assert_eq!(findings.errors() == 0, expected, "{text}");
        };
        for good in ["/", "/items", "/items/", "/items/{id}", "/{proxy+}", "/a.b/{x-y}/c_d", "/{$x}"] {
            check(good, true);
        }
        for bad in
            ["", "items", "/a//b", "/{id", "/a{id}", "/{}", "/{a+}/b", "/../a", "/a?b", "/a b", "/{a b}"]
        {
            check(bad, false);
        }
    }

    #[test]
    fn methods_are_known_in_any_case() {
        assert_eq!(method_of("get"), Some(Some("GET".to_owned())));
        assert_eq!(method_of("Any"), Some(None));
        assert_eq!(method_of("*"), Some(None));
        assert_eq!(method_of("FETCH"), None);
    }
}
