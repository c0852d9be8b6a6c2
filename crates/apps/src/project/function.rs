//! What functions of both kinds of projects have in common: names, runtimes, limits, variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ingle_types::spec::LambdaRuntime;

use super::ProjectFunction;
use super::findings::{Findings, shortened};
use super::node::{Kind, Node};
use crate::lambda::runtime::is_name;
use crate::lambda::script_of;

/// In seconds, as the Lambda API takes them (facts of Lambda, section 0).
pub(super) const TIMEOUT_RANGE: std::ops::RangeInclusive<u64> = 1..=5400;
/// In MB, in the same way.
pub(super) const MEMORY_RANGE: std::ops::RangeInclusive<u64> = 128..=32_768;
const NAME_CHARACTERS_MAX: usize = 64;
/// Minor versions of Python 3 that can run.
const MINORS: std::ops::RangeInclusive<u32> = 8..=13;

/// Of one function, as Lambda takes them.
const LAYERS_MAX: usize = 5;

/// Variables that Lambda sets and that nobody else may (facts of Lambda, section 1.7).
const RESERVED: [&str; 11] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// The program that is given the runtime to start, which is for the user to say.
const WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Whether functions of it are served: Python of this version (`python3.12`), or a program that they bring along.
pub(super) fn is_served(runtime: &str) -> bool {
    if is_provided(Some(runtime)) {
        return true;
    }
    let minor =
        runtime.strip_prefix("python3.").filter(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
    minor.and_then(|minor| minor.parse().ok()).is_some_and(|minor: u32| MINORS.contains(&minor))
}

/// Whether the runtime is a program that the function or a layer brings along: `provided.al2023`.
pub(super) fn is_provided(runtime: Option<&str>) -> bool {
    runtime.and_then(|runtime| runtime.parse().ok()) == Some(LambdaRuntime::Provided)
}

/// Why a function of another runtime is left out.
pub(super) fn unserved(runtime: &str) -> String {
    format!(
        "its runtime {} is not served; python3.8 to python3.13 and provided.al2023 are",
        shortened(runtime)
    )
}

/// A handler whose module is in the function's code. `code`: where that is; none if its runtime decides what a handler is.
pub(super) fn handler(findings: &mut Findings, code: Option<&Path>, node: &Node) -> Option<String> {
    let handler = findings.text(node, "the handler")?;
    if code.map_or_else(|| is_name(&handler), |code| script_of(code, &handler).is_some()) {
        return Some(handler);
    }
    let fix = "write module.function, e.g. app.lambda_handler for lambda_handler in app.py";
    findings.wrong(
        "E0215",
        node.line,
        format!("the handler `{}` is no module.function", shortened(&handler)),
        fix,
    );
    None
}

/// A name that a function can have.
pub(super) fn name(findings: &mut Findings, name: &str, line: u32) -> Option<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if !name.is_empty() && name.len() <= NAME_CHARACTERS_MAX && name.chars().all(is_letter) {
        return Some(name.to_owned());
    }
    let fix = "write at most 64 letters, digits, hyphens and underscores";
    findings.wrong("E0116", line, format!("`{}` can't be the name of a function", shortened(name)), fix);
    None
}

/// Environment variables; what has no value here is left out.
pub(super) fn variables(findings: &mut Findings, node: &Node) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for member in findings.members(node, "the environment") {
        let key = member.key.as_str();
        let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let is_reserved = key.starts_with("AWS_LAMBDA_") && key != WRAPPER;
        if RESERVED.contains(&key) || is_reserved {
            findings.ignore(member.line, format!("the variable {key}"), "Lambda sets it by itself");
            continue;
        }
        if !is_name {
            let fix = "write letters, digits and underscores";
            let what = format!("`{}` can't be the name of a variable", shortened(key));
            findings.wrong("E0116", member.line, what, fix);
            continue;
        }
        match &member.value.kind {
            _ if member.value.is_null() => {}
            Kind::Scalar { text, .. } if text.contains('\0') => {
                let what = format!("the variable {key} has a zero byte");
                findings.wrong("E0116", member.value.line, what, "leave it out");
            }
            Kind::Scalar { text, .. } => {
                found.insert(key.to_owned(), text.clone());
            }
            _ => findings.wrong_kind(&member.value, &format!("the variable {key}"), "a text or a number"),
        }
    }
    found
}

/// The layers that a function names.
pub(super) fn layers<'a>(findings: &mut Findings, node: &'a Node) -> &'a [Node] {
    let layers = findings.items(node, "the layers");
    if layers.len() > LAYERS_MAX {
        let what = format!("there are {} layers", layers.len());
        findings.wrong("E0116", node.line, what, format!("write at most {LAYERS_MAX}"));
        return &[];
    }
    layers
}

/// Leaves out what has the name of one before it.
pub(super) fn distinct(findings: &mut Findings, functions: Vec<ProjectFunction>) -> Vec<ProjectFunction> {
    let mut names = BTreeSet::new();
    let mut kept = Vec::new();
    for function in functions {
        if names.insert(function.name.clone()) {
            kept.push(function);
            continue;
        }
        findings.function = Some(function.id.clone());
        let what = format!("another function has the name {}, too", function.name);
        findings.wrong("E0116", function.line, what, "give one of them another name");
        findings.function = None;
    }
    kept
}
