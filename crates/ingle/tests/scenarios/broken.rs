//! Apps with mistakes: each is reported with its code and place, and what is good runs all the same.

use std::collections::{BTreeMap, BTreeSet};

use ingle_testkit::{App, Done, Python, on_each_python};
use serde_json::Value;

on_each_python!(
    each_mistake_of_the_v2_app_is_reported_where_it_stands,
    each_mistake_of_the_v1_app_is_reported_where_it_stands,
    each_finding_says_what_is_wrong_and_what_to_do,
    good_functions_are_served_beside_broken_ones,
    an_app_without_functions_is_an_error,
    an_app_that_can_not_be_imported_says_why,
    a_folder_that_hides_a_module_of_python_is_named,
);

/// What `ingle check` says: code, file, and line (0 without one).
fn reported(done: &Done) -> Vec<(String, String, u64)> {
    let report = done.json();
    assert_eq!(report["event"], "checked");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = |problem: &Value| {
        (text(&problem["code"]), text(&problem["file"]), problem["line"].as_u64().unwrap_or(0))
    };
    report["problems"].as_array().into_iter().flatten().map(found).collect()
}

/// Places with the codes that stand there.
type Findings = BTreeMap<String, BTreeSet<String>>;

fn note(findings: &mut Findings, place: &str, code: &str) {
    findings.entry(place.to_owned()).or_default().insert(code.to_owned());
}

fn assert_same(reported: &Findings, promised: &Findings) {
    let differences: Vec<String> = reported
        .keys()
        .chain(promised.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|place| reported.get(*place) != promised.get(*place))
        .map(|place| {
            format!("{place}: promised {:?}, reported {:?}", promised.get(place), reported.get(place))
        })
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The app's comments promise a code for each block of lines; the README promises one for host.json.
fn each_mistake_of_the_v2_app_is_reported_where_it_stands(python: &Python) {
    let app = App::folder("examples/broken");
    let source = app.text("function_app.py");
    let mut promised = Findings::new();
    // Which block a line belongs to: that of the comment above it.
    let mut blocks = Vec::new();
    let mut block = "the head".to_owned();
    for line in source.lines() {
        let code = line.strip_prefix("# ").and_then(|comment| comment.get(..5));
        if let Some(code) = code.filter(|code| code.starts_with("E0")) {
            block = format!("{code} in line {}", blocks.len() + 1);
            note(&mut promised, &block, code);
        }
        blocks.push(block.clone());
    }
    note(&mut promised, "host.json:5", "E0111");
    let mut found = Findings::new();
    for (code, file, line) in reported(&app.launch(python).check().code(1)) {
        let index = usize::try_from(line).unwrap_or(0).wrapping_sub(1);
        let place = match blocks.get(index) {
            Some(block) if file == "function_app.py" => block.clone(),
            _ => format!("{file}:{line}"),
        };
        note(&mut found, &place, &code);
    }
    assert_same(&found, &promised);
}

/// The modules' docstrings promise a code for each folder; two folders have no module.
fn each_mistake_of_the_v1_app_is_reported_where_it_stands(python: &Python) {
    let app = App::folder("examples/broken-v1");
    let mut promised = Findings::new();
    for path in app.paths().filter(|path| path.ends_with("/__init__.py")) {
        let text = app.text(path);
        let code = text.strip_prefix("\"\"\"").and_then(|text| text.get(..5));
        if let Some(code) = code.filter(|code| code.starts_with("E0")) {
            note(&mut promised, path.trim_end_matches("/__init__.py"), code);
        }
    }
    note(&mut promised, "missing_script", "E0213");
    note(&mut promised, "path_outside", "E0221");
    let mut found = Findings::new();
    for (code, file, _) in reported(&app.launch(python).check().code(1)) {
        note(&mut found, file.split('/').next().unwrap_or_default(), &code);
    }
    assert_same(&found, &promised);
}

fn each_finding_says_what_is_wrong_and_what_to_do(python: &Python) {
    let mut silent = Vec::new();
    for folder in ["examples/broken", "examples/broken-v1"] {
        let report = App::folder(folder).launch(python).check().code(1).json();
        for problem in report["problems"].as_array().into_iter().flatten() {
            let says = |name: &str| problem[name].as_str().is_some_and(|text| !text.is_empty());
            if !(says("message") && says("fix") && says("file") && problem["line"].is_u64()) {
                silent.push(problem.to_string());
            }
        }
    }
    assert!(silent.is_empty(), "cause, fix, file or line is missing in {silent:#?}");
}

fn good_functions_are_served_beside_broken_ones(python: &Python) {
    for folder in ["examples/broken", "examples/broken-v1"] {
        let server = App::folder(folder).start(python);
        let ready = server.ready();
        assert!(ready["problems"].as_array().is_some_and(|problems| problems.len() > 5), "{ready}");
        assert_eq!(server.get("/api/good").status(200).text(), "I am fine.");
        assert_eq!(server.stop().code, Some(0));
    }
}

fn an_app_without_functions_is_an_error(python: &Python) {
    let app = App::python("");
    let done = app.launch(python).run().code(1);
    assert!(done.stdout.contains("E0206"), "{done:#?}");
    let done = app.launch(python).check().code(1);
    assert!(reported(&done).iter().any(|(code, _, _)| code == "E0206"), "{done:#?}");
}

fn an_app_that_can_not_be_imported_says_why(python: &Python) {
    let check = |text: &str, code: &str, line: u64| {
        let app = App::python(text);
        let done = app.launch(python).check().code(1);
        let reported = reported(&done);
        let found = reported
            .iter()
            .any(|(known, file, at)| known == code && file == "function_app.py" && *at == line);
        assert!(found, "{code} in line {line} is not in {reported:#?}");
        assert!(app.launch(python).run().code(1).stdout.contains(code));
    };
    check("import a_module_that_nobody_wrote\n", "E0203", 2);
    check("value = 1 /\n", "E0202", 2);
    check("\nvalue = 1 / 0\n", "E0201", 3);
}

/// What breaks is somewhere else, so the cause has to be told.
fn a_folder_that_hides_a_module_of_python_is_named(python: &Python) {
    const BINDINGS: &str = r#"{"bindings": [{"type": "httpTrigger", "direction": "in", "name": "req"},
        {"type": "http", "direction": "out", "name": "$return"}]}"#;
    const MAIN: &str = "from wsgiref import simple_server\n\ndef main(req):\n    return str(simple_server)\n";
    let app = App::files(&[
        ("http/function.json", BINDINGS),
        ("http/__init__.py", MAIN),
        ("data/function.json", BINDINGS),
        ("data/__init__.py", MAIN),
        ("html/page.py", ""),
    ]);
    let launch = app.launch(python);
    let done = launch.check();
    let found: Vec<(String, String, u64)> =
        reported(&done).into_iter().filter(|(code, _, _)| code == "E0239").collect();
    assert_eq!(found, [("E0239".to_owned(), "http".to_owned(), 0)], "{done:?}");
    let ready = launch.start().ready();
    let named = ready["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == "E0239");
    assert!(named, "{ready}");
}
