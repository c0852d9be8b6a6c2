//! Apps with mistakes: each is reported with its code and place, and what is good runs all the same.

use std::collections::BTreeSet;

use ingle_testkit::{App, Done, Python, on_each_python};
use serde_json::Value;

on_each_python!(
    each_mistake_of_the_v2_app_is_reported_where_it_stands,
    each_mistake_of_the_v1_app_is_reported_where_it_stands,
    each_finding_says_what_is_wrong_and_what_to_do,
    good_functions_are_served_beside_broken_ones,
    an_app_without_functions_is_an_error,
    an_app_that_can_not_be_imported_says_why,
);

/// What a report says: code, file, and the line in a range of lines.
fn reported(done: &Done) -> Vec<(String, String, u64)> {
    let report = done.json();
    assert_eq!(report["event"], "checked");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problems = report["problems"].as_array().cloned().unwrap_or_default();
    problems
        .iter()
        .map(|problem| {
            (text(&problem["code"]), text(&problem["file"]), problem["line"].as_u64().unwrap_or(0))
        })
        .collect()
}

fn each_mistake_of_the_v2_app_is_reported_where_it_stands(python: &Python) {
    let app = App::folder("examples/broken");
    let done = app.launch(python).check().code(1);
    let reported = reported(&done);
    let source = app.text("function_app.py");
    let lines: Vec<&str> = source.lines().collect();
    let mut promised = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(code) = line.strip_prefix("# E").and_then(|rest| rest.get(..4)) else { continue };
        let end = lines[index..].iter().position(|line| line.is_empty()).unwrap_or(lines.len() - index);
        let stands = (index as u64 + 2)..=(index as u64 + end as u64);
        let code = format!("E{code}");
        let found = reported
            .iter()
            .any(|(known, file, line)| *known == code && file == "function_app.py" && stands.contains(line));
        assert!(found, "{code} is not reported in lines {stands:?}: {reported:#?}");
        promised.insert(code);
    }
    // The README's only other mistake is in host.json.
    let in_host: Vec<_> = reported.iter().filter(|(_, file, _)| file == "host.json").collect();
    assert_eq!(in_host.len(), 1, "{in_host:?}");
    assert!(in_host[0].2 == 5, "{in_host:?}");
    let unexpected: Vec<_> =
        reported.iter().filter(|(code, file, _)| file != "host.json" && !promised.contains(code)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

fn each_mistake_of_the_v1_app_is_reported_where_it_stands(python: &Python) {
    let app = App::folder("examples/broken-v1");
    let reported = reported(&app.launch(python).check().code(1));
    let mut folders = BTreeSet::new();
    for path in app.paths().filter(|path| path.ends_with("/__init__.py")) {
        let folder = path.trim_end_matches("/__init__.py");
        let text = app.text(path);
        let Some(code) = text.strip_prefix("\"\"\"E").and_then(|rest| rest.get(..4)) else { continue };
        let code = format!("E{code}");
        let found = reported.iter().find(|(known, file, _)| *known == code && file.starts_with(folder));
        assert!(found.is_some(), "{code} is not reported for {folder}: {reported:#?}");
        assert!(found.is_some_and(|(_, _, line)| *line > 0), "no line for {folder}: {reported:#?}");
        folders.insert(folder.to_owned());
    }
    assert!(folders.len() >= 8, "{folders:?}");
    for (folder, code) in [("missing_script", "E0213"), ("path_outside", "E0221")] {
        let found = reported.iter().any(|(known, file, _)| known == code && file.starts_with(folder));
        assert!(found, "{code} is not reported for {folder}: {reported:#?}");
    }
    assert!(!reported.iter().any(|(_, file, _)| file.starts_with("good")), "{reported:#?}");
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
