//! What the parameters of a template are given: by the caller, and by the file that the SAM CLI keeps beside the template
//! (<https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-config.html>).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::ProjectOptions;
use super::super::findings::{Findings, shortened};
use super::super::node::{Kind, Node};
use crate::folder::read_bytes;
use crate::suggest::{did_you_mean, nearest};

/// As the SAM CLI looks for them: the first that is there counts.
const FILES: [&str; 3] = ["samconfig.toml", "samconfig.yaml", "samconfig.yml"];
/// The environment of such a file that counts if nobody names another.
const ENVIRONMENT: &str = "default";
const OVERRIDES: &str = "parameter_overrides";
const FIX: &str = "write parameter_overrides = \"Name=value Other=value\", or a list of such texts";

pub(super) struct Given {
    pub(super) values: BTreeMap<String, String>,
    /// The file that was read, relative to the project's folder.
    pub(super) file: Option<PathBuf>,
}

/// Values of parameters by their names: what the caller says wins over the file. `declared`: the template's `Parameters`.
pub(super) fn given(
    findings: &mut Findings,
    root: &Path,
    declared: Option<&Node>,
    options: &ProjectOptions,
) -> Given {
    let (mut values, file) = of_samconfig(findings, root, options.stage.as_deref());
    let parameter = |name: &str| declared.and_then(|declared| declared.get(name));
    // A caller says the value itself. The file says, as the default does, where AWS Systems Manager keeps it.
    values.retain(|name, _| !parameter(name).is_some_and(is_kept_elsewhere));
    values.extend(options.parameters.clone());
    let line = declared.map_or(1, |declared| declared.line);
    for name in options.parameters.keys().filter(|name| parameter(name).is_none()) {
        let names = declared.map_or(&[][..], Node::members).iter().map(|member| member.key.as_str());
        let near = did_you_mean(nearest(name, names));
        let what = format!("the template has no parameter `{}`{near}", shortened(name));
        findings.odd("E0116", line, what, "give values only to those below Parameters");
    }
    for (name, value) in &values {
        let allowed = parameter(name).and_then(|parameter| parameter.get("AllowedValues"));
        let Some(allowed) = allowed else { continue };
        let texts: Vec<&str> = allowed.items().iter().filter_map(Node::scalar).collect();
        if !texts.is_empty() && !texts.contains(&value.as_str()) {
            let what = format!("what the parameter {name} is given is none of its AllowedValues");
            findings.wrong("E0116", allowed.line, what, format!("give one of {}", texts.join(", ")));
        }
    }
    Given { values, file }
}

/// Whether the value of a parameter is the name of something in AWS Systems Manager.
pub(super) fn is_kept_elsewhere(parameter: &Node) -> bool {
    parameter.get("Type").and_then(Node::scalar).is_some_and(|kind| kind.starts_with("AWS::SSM::"))
}

/// The overrides of the SAM CLI for an environment, and the file that has them.
fn of_samconfig(
    findings: &mut Findings,
    root: &Path,
    environment: Option<&str>,
) -> (BTreeMap<String, String>, Option<PathBuf>) {
    let mut values = BTreeMap::new();
    let found = FILES.iter().find_map(|name| match read_bytes(&root.join(name)) {
        Ok(bytes) => Some((name, Ok(bytes?))),
        Err(error) => Some((name, Err(error.to_string()))),
    });
    let Some((name, bytes)) = found else { return (values, None) };
    findings.within(Some(name), |findings| {
        let tree = match bytes.map(|bytes| super::super::tree(name, bytes)) {
            Ok(Ok(loaded)) => loaded.root,
            Ok(Err(fault)) => return findings.wrong("E0116", fault.line, fault.what, FIX),
            Err(why) => return findings.wrong("E0116", 1, why, FIX),
        };
        let section = environment.and_then(|name| tree.get(name)).or_else(|| tree.get(ENVIRONMENT));
        let of = |command: &str| section?.at(&[command, "parameters", OVERRIDES]);
        // An option of a command hides the one that is for all.
        if let Some(node) = of("deploy").or_else(|| of("global")) {
            overrides(findings, node, &mut values);
        }
    });
    (values, Some(PathBuf::from(name)))
}

fn overrides(findings: &mut Findings, node: &Node, values: &mut BTreeMap<String, String>) {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        let Some(text) = findings.text(item, OVERRIDES) else { continue };
        for word in words(&text) {
            match pair(&word) {
                Some((name, value)) => drop(values.insert(name.to_owned(), value.to_owned())),
                // Never the word itself: it may be the half of a secret.
                None => findings.wrong("E0116", item.line, "an override is no NAME=VALUE", FIX),
            }
        }
    }
}

/// `Name=value`, or `ParameterKey=Name,ParameterValue=value`.
fn pair(word: &str) -> Option<(&str, &str)> {
    let long = word.strip_prefix("ParameterKey=").and_then(|rest| rest.split_once(",ParameterValue="));
    long.or_else(|| word.split_once('=')).filter(|(name, _)| !name.is_empty())
}

/// What white space separates. A word or its value may stand in quotes, in which a backslash keeps the next character.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let is_begin = word.as_ref().is_none_or(|word| word.ends_with('='));
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, '"' | '\'') if is_begin => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_words_of_names_and_values() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let words = words(text);
            let found: Vec<_> = words.iter().filter_map(|word| pair(word)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("A=b C=d", &[("A", "b"), ("C", "d")]);
        check("  A=b\n\tC=\"d e\" F='g h' ", &[("A", "b"), ("C", "d e"), ("F", "g h")]);
        check(r#"A="say \"b\"" "C=d e""#, &[("A", r#"say "b""#), ("C", "d e")]);
        check("A= B=c=d E=it's", &[("A", ""), ("B", "c=d"), ("E", "it's")]);
        check(
            "ParameterKey=A,ParameterValue=b ParameterKey=C,ParameterValue=\"d e\"",
            &[("A", "b"), ("C", "d e")],
        );
        check("A =b", &[]);
        check("", &[]);
    }
}
