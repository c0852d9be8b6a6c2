//! Step three: declared functions become functions that can run, or problems that say why not.

use std::collections::{BTreeMap, BTreeSet};

use ingle_types::ids::FunctionName;
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::{AppSpec, DeclaredFunction, Dialect, FunctionSpec};

use crate::bindings::{self, Resolved};
use crate::folder::{AppFolder, place};
use crate::function_json::is_on;
use crate::lambda;
use crate::retry;
use crate::suggest::{correction, did_you_mean, nearest};
use crate::web;

mod routes;

/// Resolves what the source declares: settings filled in, every name checked. `declared` is
/// [`AppFolder::declared`] or what the worker found by importing the app; `more_problems` are the worker's.
///
/// A function with an error does not run; the others do.
pub fn resolve(folder: &AppFolder, declared: Vec<DeclaredFunction>, more_problems: Vec<Problem>) -> AppSpec {
    let mut problems = folder.problems.clone();
    problems.extend(more_problems.into_iter().map(|problem| in_manifest(folder, problem)));
    let declared_count = declared.len();
    let doubles = report_doubles(&declared, &mut problems);
    let mut names: Vec<String> = declared.iter().map(|function| function.name.clone()).collect();
    names.extend(problems.iter().filter_map(|problem| problem.function.clone()));
    report_bounds_without_function(folder, &names, &mut problems);
    let wanted = wanted_names(folder, &names, &mut problems);

    let mut functions = Vec::new();
    for function in &declared {
        let mut own = Vec::new();
        let spec = resolve_function(folder, function, &mut own);
        problems
            .retain(|known| known.function.as_ref() != Some(&function.name) || !is_explained(known, &own));
        let failed = has_error(&own) || doubles.contains(&function.name.to_lowercase());
        let refused = problems.iter().any(|problem| {
            problem.severity == Severity::Error && problem.function.as_ref() == Some(&function.name)
        });
        problems.append(&mut own);
        let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(&function.name.to_lowercase()));
        if let Some(spec) = spec.filter(|_| !failed && !refused && is_wanted) {
            functions.push(spec);
        }
    }
    functions.sort_by_cached_key(|function| function.name.as_str().to_lowercase());
    routes::report_conflicts(&functions, &mut problems);
    report_warm_up(folder, &functions, &mut problems);
    if functions.is_empty() {
        problems.push(nothing_runs(folder, declared_count, wanted.is_some(), has_error(&problems)));
    }
    AppSpec {
        name: folder.name.clone(),
        root: folder.root.clone(),
        dialect: folder.dialect,
        host: folder.host.clone(),
        functions,
        problems,
    }
}

/// A table `[functions.NAME]` of ingle.toml that bounds nothing.
fn report_bounds_without_function(folder: &AppFolder, names: &[String], problems: &mut Vec<Problem>) {
    for bounded in folder.admission.named_functions() {
        if names.iter().all(|name| name.to_lowercase() != *bounded) {
            let near = nearest(bounded, names.iter().map(String::as_str));
            let message = format!("functions.{bounded} of ingle.toml is about no function of this app");
            problems.push(Problem::warning("E0114", message).at("ingle.toml", None).fix(correction(near)));
        }
    }
}

/// `workers.warm_up` of ingle.toml that warms nothing.
fn report_warm_up(folder: &AppFolder, functions: &[FunctionSpec], problems: &mut Vec<Problem>) {
    let Some(warm_up) = &folder.workers.warm_up else { return };
    let name = &warm_up.function;
    let (what, fix) = match functions
        .iter()
        .find(|function| function.name.as_str().eq_ignore_ascii_case(name))
    {
        None => {
            let near = nearest(name, functions.iter().map(|function| function.name.as_str()));
            ("is no function of this app".to_owned(), correction(near))
        }
        Some(function) => {
            let why = function.needs_input().or(function.disabled.then(|| "is disabled".to_owned()));
            let Some(why) = why else { return };
            let fix =
                "name a function that answers GET without parameters in its route, or has a warmupTrigger";
            (why, fix.to_owned())
        }
    };
    let problem = Problem::error("E0114", format!("workers.warm_up is \"{name}\", which {what}"));
    problems.push(problem.at("ingle.toml", Some(warm_up.line)).fix(fix));
}

fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// Whether what the worker found is said already, or only follows from what is wrong with the declaration itself: next
/// to a misspelled trigger nobody wants to read that there is none.
fn is_explained(of_worker: &Problem, own: &[Problem]) -> bool {
    own.iter().any(|own| {
        matches!(
            (own.code.as_str(), of_worker.code.as_str()),
            ("E0207", "E0207")
                | ("E0208", "E0208")
                | ("E0225", "E0225")
                | ("E0224", "E0207" | "E0210")
                | ("E0229", "E0209")
        )
    })
}

/// The worker does not know the lines of function.json; what it finds wrong in there gets its line here.
fn in_manifest(folder: &AppFolder, problem: Problem) -> Problem {
    let Some((name, manifest)) =
        problem.function.as_deref().and_then(|name| folder.places.get_key_value(name))
    else {
        return problem;
    };
    let file = format!("{name}/function.json");
    match (problem.code.as_str(), manifest.get("entryPoint")) {
        ("E0212", Some(entry_point)) => place(problem, &file, entry_point),
        _ if problem.line.is_none() && problem.file.as_deref() == Some(file.as_str()) => {
            place(problem, &file, manifest)
        }
        _ => problem,
    }
}

fn resolve_function(
    folder: &AppFolder,
    declared: &DeclaredFunction,
    problems: &mut Vec<Problem>,
) -> Option<FunctionSpec> {
    if folder.dialect == Dialect::Lambda {
        return Some(lambda::function(declared, &folder.lambda, location(declared)));
    }
    if folder.dialect == Dialect::Web {
        return Some(web::function(declared, location(declared)));
    }
    check_name(declared, problems);
    let Resolved { trigger, trigger_parameter, bindings } = bindings::resolve(folder, declared, problems)?;
    let retry = retry::resolve(folder, declared, problems);
    Some(FunctionSpec {
        retry,
        name: FunctionName::new(&declared.name),
        trigger,
        trigger_parameter,
        bindings,
        disabled: declared.disabled || is_disabled_by_setting(folder, &declared.name),
        is_async: declared.is_async,
        streams: declared.streams,
        location: location(declared),
    })
}

pub(crate) fn at_function(problem: Problem, declared: &DeclaredFunction) -> Problem {
    let file = declared.file.clone().unwrap_or_else(|| declared.script_file.clone());
    problem.at(file, declared.line).function(&declared.name)
}

fn location(declared: &DeclaredFunction) -> Option<String> {
    let file = declared.file.as_ref()?;
    Some(declared.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
}

fn is_disabled_by_setting(folder: &AppFolder, name: &str) -> bool {
    [format!("AzureWebJobs.{name}.Disabled"), format!("AzureWebJobs_{name}_Disabled")]
        .iter()
        .any(|setting| folder.setting(setting).is_some_and(is_on))
}

/// Names appear in URLs, in paths and in settings, so only plain ones are let in (T-026).
fn check_name(declared: &DeclaredFunction, problems: &mut Vec<Problem>) {
    let name = &declared.name;
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    let is_fine = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(plain)
        && !name.eq_ignore_ascii_case("host");
    if !is_fine {
        let problem = Problem::error("E0234", format!("`{name}` can't be the name of a function"));
        let fix = "a name starts with a letter, goes on with letters, digits, `_` and `-`, has at most 128 characters and is not `host`";
        problems.push(at_function(problem, declared).fix(fix));
    }
}

/// Which of two functions of one name is meant can't be known, so neither runs. Returns such names in lower case.
fn report_doubles(declared: &[DeclaredFunction], problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let mut first: BTreeMap<String, &DeclaredFunction> = BTreeMap::new();
    let mut doubles = BTreeSet::new();
    for function in declared {
        let key = function.name.to_lowercase();
        if let Some(other) = first.get(&key) {
            let elsewhere = location(other).unwrap_or_else(|| other.script_file.clone());
            let problem = Problem::error(
                "E0211",
                format!("the name {} is already taken at {elsewhere}", function.name),
            );
            problems.push(
                at_function(problem, function)
                    .fix("give one of the two another name; until then neither runs"),
            );
            doubles.insert(key);
        } else {
            first.insert(key, function);
        }
    }
    doubles
}

/// The functions that shall run, in lower case; `None` means all. The command line wins over host.json.
fn wanted_names(
    folder: &AppFolder,
    names: &[String],
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<String>> {
    let (filter, source) = match (folder.filter.as_slice(), folder.host.functions.as_slice()) {
        ([], []) => return None,
        ([], listed) => (listed, "functions in host.json"),
        (asked, _) => (asked, "--functions"),
    };
    for wanted in filter {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
            let meant = did_you_mean(nearest(wanted, names.iter().map(String::as_str)));
            let message = format!("{source} names `{wanted}`, which the app does not declare{meant}");
            let problem = Problem::error("E0231", message);
            problems.push(problem.fix(format!("correct the name, or take it out of {source}")));
        }
    }
    Some(filter.iter().map(|name| name.to_lowercase()).collect())
}

fn nothing_runs(folder: &AppFolder, declared_count: usize, is_filtered: bool, has_error: bool) -> Problem {
    let (message, fix) = match (declared_count, folder.dialect) {
        (0, Dialect::AzureV2) if has_error => (
            format!("no function was found, as {} could not be read to its end", folder.script_file),
            "mend the errors above",
        ),
        (0, Dialect::Lambda) => {
            (format!("the handler {} can't be used", folder.script_file), "mend the errors above")
        }
        (0, Dialect::Web) => {
            (format!("the web app in {} can't be used", folder.script_file), "mend the errors above")
        }
        (0, Dialect::AzureV1) => ("no function.json can be used".to_owned(), "mend the errors above"),
        (0, Dialect::AzureV2) => (
            format!("{} was imported, but declares no function", folder.script_file),
            "declare one: @app.route(route=\"hello\") above a function, with app = func.FunctionApp()",
        ),
        (_, _) if is_filtered && !has_error => (
            "the app has functions, but the filter leaves none".to_owned(),
            "name one of them, or drop the filter",
        ),
        (1, _) => ("the only function has an error or is left out".to_owned(), "mend the errors above"),
        (count, _) => {
            (format!("each of the {count} functions has an error or is left out"), "mend the errors above")
        }
    };
    Problem::error("E0206", message).fix(fix)
}

/// For messages: where the function of a trigger is defined.
fn shown_place(function: &FunctionSpec) -> String {
    match &function.location {
        Some(location) => format!("{} ({location})", function.name),
        None => function.name.to_string(),
    }
}

/// The route of an HTTP function that is not disabled.
fn active_route(function: &FunctionSpec) -> Option<(&str, &[String])> {
    let http = function.trigger.http().filter(|_| !function.disabled)?;
    Some((&http.route, &http.methods))
}
