//! Folders in, findings out: a folder is built from a map of files, and everything that is found wrong in it is
//! compared as a person reads it.

use std::path::Path;

use ingle_types::problem::Problem;
use ingle_types::spec::{AppSpec, AuthLevel, BindingKind, DeclaredFunction, Dialect, TriggerSpec};
use serde_json::json;

use super::*;

mod bindings;
mod blobs;
mod environments;
mod host;
mod timers;

const HOST: (&str, &str) = ("host.json", r#"{"version": "2.0"}"#);
const HTTP: &str = r#"{"bindings": [{"type": "httpTrigger", "name": "req"}, {"type": "http", "direction": "out", "name": "$return"}]}"#;

type Files<'a> = &'a [(&'a str, &'a str)];

fn write(root: &Path, files: Files<'_>) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn options(environment: &[(&str, &str)]) -> ReadOptions {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ReadOptions { environment, ..ReadOptions::default() }
}

fn shown(problems: &[Problem]) -> Vec<String> {
    let first_line = |problem: &Problem| problem.to_string().lines().next().unwrap_or_default().to_owned();
    problems.iter().map(first_line).collect()
}

/// Reads and resolves with options and, for v2, declared functions.
fn resolved(
    files: Files<'_>,
    options: &ReadOptions,
    declared: Option<Vec<DeclaredFunction>>,
) -> (AppFolder, AppSpec) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    let app = read(folder.path(), options).unwrap();
    let declared = declared.unwrap_or_else(|| app.declared.clone());
    let spec = resolve(&app, declared, Vec::new());
    (app, spec)
}

/// The door: what is wrong in these files, and which functions run all the same.
fn check(files: Files<'_>, problems: &[&str], functions: &[&str]) -> AppSpec {
    check_with(files, &ReadOptions::default(), problems, functions)
}

fn check_with(files: Files<'_>, options: &ReadOptions, problems: &[&str], functions: &[&str]) -> AppSpec {
    let mut all = vec![HOST];
    all.extend(files);
    let (_, spec) = resolved(&all, options, None);
    assert_eq!(shown(&spec.problems), problems);
    let silent: Vec<&Problem> = spec.problems.iter().filter(|problem| problem.fix.is_none()).collect();
    assert!(silent.is_empty(), "nothing says what to do about {silent:?}");
    let names: Vec<&str> = spec.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, functions);
    spec
}

fn read_error(files: Files<'_>) -> Error {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    read(folder.path(), &ReadOptions::default()).unwrap_err()
}

#[test]
fn a_v1_app_is_read_and_resolved() {
    let files = [
        ("hello/function.json", HTTP),
        ("hello/__init__.py", ""),
        (
            "Work/function.json",
            r#"{"scriptFile": "../shared/work.py", "entryPoint": "run", "bindings": [
            {"type": "QUEUETRIGGER", "direction": "IN", "name": "msg", "queueName": "%Q%", "dataType": "BINARY", "connection": "AzureWebJobsStorage"},
            {"type": "cosmosDB", "direction": "out", "name": "doc", "databaseName": "shop", "collectionName": "Orders", "partitionKey": "customer", "connectionStringSetting": "Shop"}]}"#,
        ),
        ("shared/work.py", ""),
        (
            "local.settings.json",
            r#"{"IsEncrypted": false, "Values": {"Q": "Orders", "Shop__accountEndpoint": "x"}}"#,
        ),
    ];
    let spec = check(&files, &[], &["hello", "Work"]);
    let hello = &spec.functions[0];
    let TriggerSpec::Http(http) = &hello.trigger else { panic!("{hello:?}") };
    assert_eq!((http.route.as_str(), http.methods.len(), http.auth_level), ("hello", 0, AuthLevel::Function));
    assert_eq!(
        (hello.trigger_parameter.as_str(), hello.location.as_deref()),
        ("req", Some("hello/function.json:1"))
    );
    let work = &spec.functions[1];
    assert!(matches!(&work.trigger, TriggerSpec::Queue(queue) if queue.queue == "orders"));
    let BindingKind::DocumentOutput(output) = &work.bindings[0].kind else { panic!("{work:?}") };
    assert_eq!(output.container.as_literal(), Some("Orders"));
    assert_eq!(output.partition_key_path.as_deref(), Some("/customer"));
}

#[test]
fn a_v2_app_is_resolved_from_what_its_import_declared() {
    let function = |name: &str, line: u32, bindings: serde_json::Value| DeclaredFunction {
        name: name.to_owned(),
        directory: String::new(),
        script_file: "function_app.py".to_owned(),
        entry_point: name.to_owned(),
        bindings: serde_json::from_value(bindings).unwrap(),
        is_async: true,
        streams: false,
        file: Some("function_app.py".to_owned()),
        line: Some(line),
        disabled: false,
        retry: None,
    };
    let declared = vec![
        function(
            "menu",
            5,
            json!([
                {"direction": "OUT", "type": "http", "name": "$return"},
                {"direction": "IN", "type": "httpTrigger", "name": "req", "methods": ["get", "GET"], "authLevel": "ANONYMOUS", "route": "/menu/{day}"}
            ]),
        ),
        function(
            "broken",
            12,
            json!([{"direction": "IN", "type": "queueTrigger", "name": "m", "queueName": "%NOPE%"}]),
        ),
        function("MENU", 20, json!([{"direction": "IN", "type": "timerTrigger", "name": "t"}])),
    ];
    let (app, spec) = resolved(&[HOST, ("function_app.py", "")], &ReadOptions::default(), Some(declared));
    assert_eq!((app.dialect, app.why.as_str()), (Dialect::AzureV2, "function_app.py with decorators (v2)"));
    let expected = [
        "error[E0211] function_app.py:20: the name MENU is already taken at function_app.py:5",
        "error[E0220] function_app.py:12: queueName needs the app setting NOPE, which is not set",
        "error[E0232] function_app.py:20: a binding of MENU has no schedule",
        "error[E0206]: each of the 3 functions has an error or is left out",
    ];
    assert_eq!(shown(&spec.problems), expected);
}

#[test]
fn a_folder_without_an_app_says_what_is_near() {
    let check_near = |files: Files<'_>, expected: &str| {
        let error = read_error(files);
        assert_eq!((error.code(), error.hint().as_deref()), ("E0103", Some(expected)), "{error}");
    };
    check_near(&[("functionapp.py", "")], "functionapp.py is nearly function_app.py: rename it");
    check_near(
        &[("handlers.py", "import azure.functions as func")],
        "handlers.py uses azure.functions: rename it to function_app.py, or set PYTHON_SCRIPT_FILE_NAME=handlers.py",
    );
    check_near(&[("main.py", "")], "main.py is Python, but uses no azure.functions");
    check_near(
        &[("shop/host.json", "{}"), ("shop/function_app.py", "")],
        "shop looks like an app: name that folder",
    );
    check_near(
        &[("a/b/function.json", "{}")],
        "a/b/function.json lies too deep: it must be in a folder right below the app",
    );
    check_near(&[(".venv/lib/x.py", "")], "run it in the folder that holds host.json, or name that folder");
    check_near(
        &[("local.settings.json", r#"{"Values": {"PYTHON_SCRIPT_FILE_NAME": "../x.py"}}"#)],
        "PYTHON_SCRIPT_FILE_NAME is `../x.py`, which is no name of a Python file in this folder",
    );
}

#[test]
fn a_folder_that_can_not_be_an_app_is_refused() {
    let missing = read(Path::new("/does/not/exist"), &ReadOptions::default()).unwrap_err();
    assert_eq!(missing.code(), "E0101");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("file", "")]);
    assert_eq!(read(&folder.path().join("file"), &ReadOptions::default()).unwrap_err().code(), "E0102");
    assert_eq!(read(&folder.path().join("file/x"), &ReadOptions::default()).unwrap_err().code(), "E0102");
    let both = read_error(&[("function_app.py", ""), ("hello/function.json", "{}")]);
    let message =
        "the app is written in two models at once: function_app.py (decorators) and hello/function.json";
    assert_eq!((both.code(), both.to_string().as_str()), ("E0104", message));
}

#[test]
fn the_script_of_a_v2_app_can_have_another_name() {
    let settings = ("local.settings.json", r#"{"Values": {"PYTHON_SCRIPT_FILE_NAME": "shop.py"}}"#);
    let (app, spec) = resolved(&[HOST, settings, ("shop.py", "")], &ReadOptions::default(), None);
    assert_eq!(app.script_file, "shop.py");
    assert_eq!(shown(&spec.problems), ["error[E0206]: shop.py was imported, but declares no function"]);
}

/// T-026: no path in a function.json leads out of the app.
#[test]
fn paths_that_lead_out_of_the_app_are_refused() {
    let check_script = |script: &str, problem: &str| {
        let text = format!("{{\n\"scriptFile\": \"{script}\",\n{}", &HTTP[1..]);
        check(&[("F/function.json", &text)], &[problem, "error[E0206]: no function.json can be used"], &[]);
    };
    check_script(
        "../../x.py",
        "error[E0221] F/function.json:2: scriptFile `../../x.py` leads out of the app",
    );
    check_script(
        "..\\\\..\\\\x.py",
        "error[E0221] F/function.json:2: scriptFile `..\\..\\x.py` leads out of the app",
    );
    check_script(
        "/etc/passwd",
        "error[E0221] F/function.json:2: scriptFile `/etc/passwd` leads out of the app",
    );
    check_script("gone.py", "error[E0213] F/function.json:2: the script F/gone.py is not there");
}

/// T-026: a link that leads out is no way either.
#[test]
fn links_that_lead_out_of_the_app_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), &[("x.py", "")]);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[HOST, ("F/function.json", HTTP)]);
    std::os::unix::fs::symlink(outside.path().join("x.py"), folder.path().join("F/__init__.py")).unwrap();
    let app = read(folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(
        shown(&app.problems),
        ["error[E0221] F/function.json:1: scriptFile `__init__.py` leads out of the app"]
    );
}

#[test]
fn odd_function_files_are_reported_and_the_others_run() {
    let files = [
        ("a/function.json", "{\"bindings\": {}}"),
        ("b/function.json", "{,}"),
        ("c/function.json", "{\"entryPoint\": \"x-y\", \"bindings\": []}"),
        ("c/only.py", ""),
        ("d/function.json", "{\"bindings\": []}"),
        ("e/function.json", HTTP),
        ("e/only.py", ""),
        ("9x/function.json", HTTP),
        ("9x/__init__.py", ""),
        ("f/function.json", "{\"disabled\": \"OFF\", \"retry\": {}, \"bindings\": [5]}"),
        ("f/__init__.py", ""),
        ("a/__init__.py", ""),
    ];
    let spec = check(
        &files,
        &[
            "error[E0232] a/function.json:1: bindings is an object instead of a list",
            "error[E0112] b/function.json:1: b/function.json is no JSON: a key in double quotes is missing, at column 2",
            "error[E0232] c/function.json:1: entryPoint `x-y` is no name of a Python function",
            "error[E0213] d/function.json:1: d has no script",
            "error[E0232] f/function.json:1: a binding is a number instead of an object",
            "error[E0234] 9x/function.json:1: `9x` can't be the name of a function",
        ],
        &["e"],
    );
    assert_eq!(spec.problems[0].function.as_deref(), Some("a"));
}

#[test]
fn functions_can_be_disabled_and_filtered() {
    let off = format!("{{\"disabled\": true, {}", &HTTP[1..]);
    let named = format!("{{\"disabled\": \"OFF\", {}", &HTTP[1..]);
    let files = [
        ("a/function.json", off.as_str()),
        ("a/__init__.py", ""),
        ("b/function.json", named.as_str()),
        ("b/__init__.py", ""),
        ("c/function.json", HTTP),
        ("c/__init__.py", ""),
        ("d/function.json", HTTP),
        ("d/__init__.py", ""),
    ];
    let settings = [("OFF", "True"), ("AzureWebJobs.C.Disabled", "1"), ("AzureWebJobs_d_Disabled", "0")];
    let spec = check_with(&files, &options(&settings), &[], &["a", "b", "c", "d"]);
    let disabled: Vec<bool> = spec.functions.iter().map(|function| function.disabled).collect();
    assert_eq!(disabled, [true, true, true, false]);
    let mut filtered = options(&[("AzureFunctionsJobHost__functions__0", "A")]);
    check_with(&files, &filtered, &[], &["a"]);
    filtered.functions = vec!["D".to_owned(), "cc".to_owned()];
    check_with(
        &files,
        &filtered,
        &["error[E0231]: --functions names `cc`, which the app does not declare; did you mean `c`?"],
        &["d"],
    );
}

#[test]
fn functions_with_one_route_are_warned_about_with_the_winner() {
    let with_route = |route: &str, method: &str| {
        format!(
            r#"{{"bindings": [{{"type": "httpTrigger", "name": "req", "route": "{route}", "methods": ["{method}"]}}]}}"#
        )
    };
    let (zulu, alpha, other) = (
        with_route("Items/{id}", "get"),
        with_route("items/{name}", "GET"),
        with_route("items/{name}", "put"),
    );
    let files = [
        ("zulu/function.json", zulu.as_str()),
        ("zulu/__init__.py", ""),
        ("Alpha/function.json", alpha.as_str()),
        ("Alpha/__init__.py", ""),
        ("other/function.json", other.as_str()),
        ("other/__init__.py", ""),
    ];
    check(
        &files,
        &[
            "warning[E0226] zulu/function.json:1: Alpha (Alpha/function.json:1) and zulu (zulu/function.json:1) have the same route `Items/{id}`; Alpha answers, as its name comes first",
        ],
        &["Alpha", "other", "zulu"],
    );
}

#[test]
fn problems_of_the_worker_keep_their_function_from_running() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            HOST,
            ("a/function.json", HTTP),
            ("a/__init__.py", ""),
            ("b/function.json", HTTP),
            ("b/__init__.py", ""),
        ],
    );
    let app = read(folder.path(), &ReadOptions::default()).unwrap();
    let problem = Problem::error("E0201", "no module named x").function("a");
    let spec = resolve(&app, app.declared.clone(), vec![problem]);
    assert_eq!(spec.functions.len(), 1);
    let (v2, _) = resolved(&[HOST, ("function_app.py", "")], &ReadOptions::default(), None);
    let spec = resolve(&v2, Vec::new(), vec![Problem::error("E0202", "syntax error")]);
    assert_eq!(
        shown(&spec.problems),
        [
            "error[E0202]: syntax error",
            "error[E0206]: no function was found, as function_app.py could not be read to its end"
        ]
    );
}

/// The worker judges code, the server declarations; of what both see, the reader hears once, and the cause.
#[test]
fn what_follows_from_a_bad_declaration_is_not_said_again() {
    let check_kept = |binding: &str, own: &str, of_worker: &[&str], kept: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{{\"entryPoint\": \"run\", \"bindings\": [\n{binding}]}}");
        write(folder.path(), &[HOST, ("F/function.json", &text), ("F/__init__.py", "")]);
        let app = read(folder.path(), &ReadOptions::default()).unwrap();
        let found = of_worker.iter().map(|code| Problem::error(code, "x").function("F")).collect();
        let spec = resolve(&app, app.declared.clone(), found);
        let codes: Vec<&str> = spec.problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, [kept, &[own, "E0206"]].concat(), "{binding}");
    };
    let queue = |kind: &str, name: &str, queue: &str| {
        format!(r#"{{"type": "{kind}", "name": "{name}", "queueName": "{queue}"}}"#)
    };
    check_kept(&queue("queueTriger", "m", "abc"), "E0224", &["E0207", "E0209", "E0210"], &["E0209"]);
    check_kept(&queue("queueTrigger", "m-n", "abc"), "E0229", &["E0209", "E0210"], &["E0210"]);
    check_kept(&queue("queue", "m", "abc"), "E0207", &["E0207"], &[]);
    check_kept(&queue("queueTrigger", "m", "a"), "E0228", &["E0209", "E0210"], &["E0209", "E0210"]);
}

#[test]
fn what_the_worker_finds_in_a_function_json_gets_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let named = format!("{{\n\"entryPoint\": \"run\",\n{}", &HTTP[1..]);
    let files = [
        HOST,
        ("a/function.json", named.as_str()),
        ("a/__init__.py", ""),
        ("b/function.json", HTTP),
        ("b/__init__.py", ""),
    ];
    write(folder.path(), &files);
    let app = read(folder.path(), &ReadOptions::default()).unwrap();
    let check_place = |problem: Problem, expected: &str| {
        let spec = resolve(&app, app.declared.clone(), vec![problem]);
        assert_eq!(spec.problems[0].place().as_deref(), Some(expected));
    };
    let missing = |name: &str| {
        Problem::error("E0212", "no function").function(name).at(format!("{name}/__init__.py"), Some(1))
    };
    check_place(missing("a"), "a/function.json:2");
    check_place(missing("b"), "b/__init__.py:1");
    check_place(
        Problem::error("E0213", "gone").function("b").at("b/function.json", None),
        "b/function.json:1",
    );
}

/// Values of settings are secrets: no finding shows one.
#[test]
fn no_problem_shows_the_value_of_a_setting() {
    let settings =
        r#"{"IsEncrypted": true, "Values": {"A": "s3cret", "B": ["s3cret"], "PYTHON_SCRIPT": "s3cret"}}"#;
    let trigger =
        r#"{"bindings": [{"type": "queueTrigger", "name": "m", "queueName": "%B%", "connection": "A1"}]}"#;
    let files =
        [HOST, ("local.settings.json", settings), ("F/function.json", trigger), ("F/__init__.py", "")];
    let (app, spec) = resolved(&files, &options(&[("A", "s3cret2")]), None);
    let all = format!("{:?} {:?}", spec.problems, app.notes);
    assert!(!all.contains("s3cret") && spec.problems.len() >= 3, "{all}");
}

/// T-010: what a function may have put into a folder that it may write is not waited for.
#[test]
fn t_010_a_pipe_in_place_of_a_file_is_said_to_be_none() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("Fn/function.json", HTTP)]);
    let pipe = folder.path().join("host.json");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let error = read(folder.path(), &ReadOptions::default()).unwrap_err();
    assert_eq!(error.code(), "E0106");
    assert!(error.to_string().contains("host.json"), "{error}");
}
