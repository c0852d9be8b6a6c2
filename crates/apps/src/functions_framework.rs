//! Functions for Google's Functions Framework: a script whose function takes a request or an event.
//!
//! The app's own framework makes a WSGI or ASGI app of the function (`functions_framework.create_app`), which is hosted as any other.
//! Its settings are those of the framework's documentation: target, source and signature type.

use std::path::Path;

use ingle_types::spec::Dialect;

use crate::Error;
use crate::detect::{Detected, of_handler};
use crate::folder::{find as find_setting, read_bytes};
use crate::kinds::Looked;
use crate::lambda::{Handler, script_of};
use crate::web::Maker;

/// The package that makes the app.
pub(crate) const PACKAGE: &str = "functions-framework";
/// Its module.
const MODULE: &str = "functions_framework";
const SOURCE: &str = "main.py";
const TARGET_VARIABLE: &str = "FUNCTION_TARGET";
const SOURCE_VARIABLE: &str = "FUNCTION_SOURCE";
const SIGNATURE_VARIABLE: &str = "FUNCTION_SIGNATURE_TYPE";
/// Decorators that make a function a target.
const DECORATORS: [&str; 3] = ["http", "cloud_event", "typed"];
pub(crate) const SIGNATURES: [&str; 4] = ["http", "cloudevent", "event", "typed"];

/// `[function]` of ingle.toml.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct FunctionTarget {
    pub(crate) target: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) signature: Option<String>,
}

/// The function that ingle.toml or the environment names.
///
/// # Errors
/// What is named is not in the folder (E0249).
pub(crate) fn named(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let variable = |name: &str| find_setting(looked.environment, name).filter(|value| !value.is_empty());
    let own = looked.targets.function.as_ref();
    // As everywhere, the shell wins over the file.
    let target = variable(TARGET_VARIABLE).map(|name| (name, TARGET_VARIABLE));
    let of_file = || own.and_then(|own| Some((own.target.as_deref()?, "target in [function] of ingle.toml")));
    let source = variable(SOURCE_VARIABLE).or_else(|| own?.source.as_deref()).unwrap_or(SOURCE);
    let Some((target, named_by)) = target.or_else(of_file) else {
        // A table that names no target asks for the one that is found.
        return if own.is_some() { found_in(looked, source) } else { Ok(None) };
    };
    let Some(text) = read(looked.root, source) else {
        // The variable may be left over from elsewhere; who wrote the table meant this folder.
        if own.is_none() && variable(SOURCE_VARIABLE).is_none() {
            return Ok(None);
        }
        return Err(Error::Target {
            what: format!("{named_by} names the function {target}, but there is no {source}"),
            found: Vec::new(),
            setting: SETTING,
        });
    };
    let candidates = functions(&text);
    if !candidates.iter().any(|name| name == target) && !imports_all(&text) {
        return Err(Error::Target {
            what: format!("{named_by} names {target}, which {source} does not define"),
            found: candidates,
            setting: SETTING,
        });
    }
    detected(looked, source, target, &format!("named by {named_by}")).map(Some)
}

/// The one function that `main.py` declares with a decorator of the framework.
///
/// # Errors
/// There are several, or none (E0249).
pub(crate) fn found(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let text = read(looked.root, SOURCE).filter(|text| uses_framework(text));
    text.map_or(Ok(None), |_| found_in(looked, SOURCE))
}

const SETTING: &str = "[function]\ntarget = \"NAME\"";

fn found_in(looked: &Looked<'_>, source: &str) -> Result<Option<Detected>, Error> {
    let Some(text) = read(looked.root, source) else { return Ok(None) };
    let declared = declared(&text);
    if let [only] = declared.as_slice() {
        return detected(looked, source, only, "with a decorator of functions_framework").map(Some);
    }
    let (what, found) = match declared.len() {
        0 => ("names no function with a decorator of functions_framework", functions(&text)),
        _ => ("has several functions for the Functions Framework, which serves one", declared),
    };
    Err(Error::Target { what: format!("{source} {what}"), found, setting: SETTING })
}

fn detected(looked: &Looked<'_>, source: &str, target: &str, how: &str) -> Result<Detected, Error> {
    let variable = find_setting(looked.environment, SIGNATURE_VARIABLE);
    let variable = variable.filter(|text| SIGNATURES.contains(text)).map(str::to_owned);
    let signature = variable.or_else(|| looked.targets.function.as_ref()?.signature.clone());
    let name = format!("{}.{target}", source.trim_end_matches(".py"));
    let Some(script_file) = script_of(looked.root, &name) else {
        return Err(Error::NoHandler { name, named_by: "[function] of ingle.toml".to_owned() });
    };
    let why = format!("{source} with the function {target} for the Functions Framework, {how}");
    let maker = Maker::FunctionsFramework { target: target.to_owned(), signature };
    Ok(Detected { maker: Some(maker), ..of_handler(Dialect::Web, Handler { name, script_file, why }) })
}

fn read(root: &Path, source: &str) -> Option<String> {
    script_of(root, &format!("{}.x", source.strip_suffix(".py")?))?;
    let bytes = read_bytes(&root.join(source)).ok().flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn uses_framework(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        let first = words.next();
        matches!(first, Some("import" | "from"))
            && words
                .any(|word| word.trim_end_matches(',') == MODULE || word.starts_with("functions_framework."))
    })
}

/// Names that come from elsewhere can't be seen here.
fn imports_all(text: &str) -> bool {
    let is_left = |line: &str| !line.starts_with(char::is_whitespace);
    text.lines().any(|line| line.starts_with("from ") || (is_left(line) && line.contains(" = ")))
}

/// Functions at the left edge.
fn functions(text: &str) -> Vec<String> {
    text.lines().filter_map(defined).map(str::to_owned).collect()
}

fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ")?;
    rest.split_once('(').map(|(name, _)| name.trim())
}

/// Functions below a decorator of the framework.
fn declared(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_target = false;
    for line in text.lines() {
        if let Some(decorator) = line.strip_prefix('@') {
            let name = decorator.split(['(', ' ', '#']).next().unwrap_or_default();
            is_target |= name.rsplit('.').next().is_some_and(|last| DECORATORS.contains(&last));
        } else if let Some(name) = defined(line) {
            if is_target {
                found.push(name.to_owned());
            }
            is_target = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ingle_toml::Targets;
    use crate::kinds;

    const ONE: &str =
        "import functions_framework\n\n@functions_framework.http\ndef hello(request):\n    return 'x'\n";
    const TWO: &str = "from functions_framework import http\n@http\ndef a(request): ...\n\n@functions_framework.cloud_event\nasync def b(event): ...\ndef c(): ...\n";

    fn look(
        files: &[(&str, &str)],
        function: Option<FunctionTarget>,
        environment: &[(&str, &str)],
    ) -> Result<Option<(String, Option<Maker>)>, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let targets = Targets { function, ..Targets::default() };
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let looked = Looked {
            runtime: ingle_types::spec::LambdaRuntime::Worker,
            root: folder.path(),
            script: None,
            handler: None,
            targets: &targets,
            environment: &environment,
        };
        let found = kinds::find(&looked)?;
        Ok(found.and_then(|found| Some((found.handler?.name, found.maker))))
    }

    fn maker(target: &str, signature: Option<&str>) -> Option<Maker> {
        let signature = signature.map(str::to_owned);
        Some(Maker::FunctionsFramework { target: target.to_owned(), signature })
    }

    #[test]
    fn a_target_is_the_only_one_or_that_which_is_named() {
        let named = |target: &str, signature: Option<&str>| FunctionTarget {
            target: Some(target.to_owned()),
            signature: signature.map(str::to_owned),
            ..FunctionTarget::default()
        };
        assert_eq!(
            look(&[("main.py", ONE)], None, &[]).unwrap(),
            Some(("main.hello".to_owned(), maker("hello", None)))
        );
        let found = look(&[("main.py", TWO)], Some(named("b", None)), &[]).unwrap();
        assert_eq!(found, Some(("main.b".to_owned(), maker("b", None))));
        // The shell wins, and tells the signature of what has no decorator.
        let shell = [("FUNCTION_TARGET", "c"), ("FUNCTION_SIGNATURE_TYPE", "event")];
        let found = look(&[("main.py", TWO)], Some(named("b", None)), &shell).unwrap();
        assert_eq!(found, Some(("main.c".to_owned(), maker("c", Some("event")))));
        let found =
            look(&[("main.py", "def plain(request): ...")], Some(named("plain", Some("http"))), &[]).unwrap();
        assert_eq!(found, Some(("main.plain".to_owned(), maker("plain", Some("http")))));
        // A variable that is left over does not make an app of a folder without its file.
        assert_eq!(look(&[("other.py", ONE)], None, &shell).unwrap(), None);
    }

    #[test]
    fn what_is_not_certain_is_asked_for() {
        let check = |text: &str, function: Option<FunctionTarget>, parts: &[&str]| {
            let error = look(&[("main.py", text)], function, &[]).unwrap_err();
            assert_eq!(error.code(), "E0249");
            let said = format!("{error}\n{}", error.hint().unwrap_or_default());
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        };
        check(TWO, None, &["several", "a, b", "[function]"]);
        check(
            "import functions_framework\ndef x(request): ...\n",
            None,
            &["no function with a decorator", "x"],
        );
        let named = FunctionTarget { target: Some("gone".to_owned()), ..FunctionTarget::default() };
        check(
            "import functions_framework\ndef x(request): ...\n",
            Some(named.clone()),
            &["gone", "does not define"],
        );
        let elsewhere = FunctionTarget { source: Some("src.py".to_owned()), ..named };
        check(ONE, Some(elsewhere), &["there is no src.py"]);
    }

    /// T-026.
    #[test]
    fn t_026_no_source_leads_out_of_the_folder() {
        for source in ["../main.py", "/etc/passwd", "a/../../main.py", "main.txt"] {
            let function = FunctionTarget {
                target: Some("hello".to_owned()),
                source: Some(source.to_owned()),
                ..FunctionTarget::default()
            };
            assert_eq!(
                look(&[("main.py", ONE)], Some(function), &[]).unwrap_err().code(),
                "E0249",
                "{source}"
            );
        }
    }
}
