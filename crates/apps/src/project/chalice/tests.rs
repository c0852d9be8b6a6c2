//! Settings of Chalice projects, with what an imported app would say of itself.

use serde_json::{Value, json};

use super::*;

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".chalice")).unwrap();
    std::fs::write(folder.path().join(CONFIG), config).unwrap();
    std::fs::write(folder.path().join(SCRIPT), "").unwrap();
    folder
}

fn project(config: &str, said: &Value) -> Project {
    let folder = folder(config);
    let chalice = find(folder.path(), &ProjectOptions::default()).unwrap().unwrap();
    let settings = json!({"chalice": said}).as_object().cloned().unwrap();
    let api = chalice.api();
    let imported = DeclaredFunction {
        name: api.function.name,
        directory: String::new(),
        script_file: SCRIPT.to_owned(),
        entry_point: "app".to_owned(),
        bindings: vec![settings],
        is_async: false,
        streams: false,
        file: None,
        line: None,
        disabled: false,
        retry: None,
    };
    chalice.project(Some(&imported), Vec::new())
}

fn shown(project: &Project) -> Vec<String> {
    let function = |one: &ProjectFunction| {
        let (name, seconds, memory) = (&one.name, one.timeout.as_secs(), one.memory_mb);
        let variables: Vec<String> =
            one.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{name} {seconds} {memory} {}", variables.join(" "))
    };
    project.functions.iter().map(function).collect()
}

fn problems(project: &Project) -> Vec<String> {
    let place = |one: &Problem| (one.file.clone().unwrap_or_default(), one.line.unwrap_or_default());
    project.problems.iter().map(|one| format!("{} {}:{}", one.code, place(one).0, place(one).1)).collect()
}

const SAID: &str = r#"{"routes": [{"path": "/", "method": "GET", "line": 3}],
    "functions": [{"kind": "lambda", "name": "count", "handler": "app.count", "line": 7}]}"#;

fn said() -> Value {
    serde_json::from_str(SAID).unwrap()
}

#[test]
fn the_most_special_place_of_a_setting_wins() {
    let check = |config: &str, expected: [&str; 2]| {
        assert_eq!(shown(&project(config, &said())), expected, "{config}")
    };
    check(r#"{"app_name": "a"}"#, ["a-dev 60 128 ", "a-dev-count 60 128 "]);
    check(
        r#"{"app_name": "a", "lambda_timeout": 5, "environment_variables": {"X": "1", "Y": "1"},
            "lambda_functions": {"count": {"lambda_timeout": 6, "lambda_memory_size": 256}},
            "stages": {"dev": {"environment_variables": {"Y": "2"},
                "lambda_functions": {"count": {"lambda_memory_size": 512, "environment_variables": {"Y": "3"}}}}}}"#,
        ["a-dev 5 128 X=1 Y=2", "a-dev-count 6 512 X=1 Y=3"],
    );
    // A stage wins over a function that is not of a stage, as in Chalice.
    check(
        r#"{"app_name": "a", "stages": {"dev": {"lambda_timeout": 7}}, "lambda_functions": {"count": {"lambda_timeout": 6}}}"#,
        ["a-dev 7 128 ", "a-dev-count 7 128 "],
    );
    // The only stage that there is, and of several the one that Chalice takes.
    check(
        r#"{"app_name": "a", "stages": {"test": {"lambda_timeout": 9}}}"#,
        ["a-test 9 128 ", "a-test-count 9 128 "],
    );
    check(
        r#"{"app_name": "a", "stages": {"test": {"lambda_timeout": 9}, "dev": {}}}"#,
        ["a-dev 60 128 ", "a-dev-count 60 128 "],
    );
}

#[test]
fn what_has_no_effect_is_said() {
    let config = "{\"app_name\": \"a\",\n\"stages\": {\"dev\": {\n\"autogen_policy\": false},\n\"prod\": {}},\n\"stages\": {}}";
    let ignored = project(config, &said()).ignored;
    let lines: Vec<(u32, &str)> = ignored.iter().map(|one| (one.line, one.what.as_str())).collect();
    assert_eq!(lines, [(2, "the key stages")]);
    let config =
        "{\"app_name\": \"a\",\n\"stages\": {\"dev\": {\n\"autogen_policy\": false},\n\"prod\": {}}}";
    let ignored = project(config, &said()).ignored;
    let lines: Vec<(u32, &str)> = ignored.iter().map(|one| (one.line, one.what.as_str())).collect();
    assert_eq!(lines, [(3, "autogen_policy of the stage dev"), (4, "the stage prod")]);
    let mut other = said();
    other["functions"][0] = json!({"kind": "other", "name": "told", "handler": "lib.news.told", "file": "lib/news.py",
        "line": 9, "origin": "SNS news"});
    let ignored = project("{}", &other).ignored;
    assert_eq!((ignored[0].file.as_deref(), ignored[0].line), (Some(Path::new("lib/news.py")), 9));
}

/// What an app declares comes out of its box: it is believed as little as a file.
#[test]
fn what_an_app_declares_is_checked() {
    let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
        let mut said = said();
        change(&mut said);
        let project = project(r#"{"app_name": "a"}"#, &said);
        assert_eq!(problems(&project), expected, "{said}");
        project.functions.len()
    };
    assert_eq!(check(&|_| {}, &[]), 2);
    assert_eq!(check(&|said| said["routes"][0]["path"] = json!("none"), &["E0119 app.py:3"]), 2);
    assert_eq!(check(&|said| said["functions"][0]["handler"] = json!("../x.y"), &["E0215 app.py:7"]), 1);
    assert_eq!(check(&|said| said["functions"][0]["name"] = json!("a/b"), &["E0116 app.py:7"]), 1);
    let schedule = |said: &mut Value| {
        said["functions"][0]["kind"] = json!("schedule");
        said["functions"][0]["expression"] = json!("often");
        said["functions"][0]["file"] = json!("chalicelib/jobs.py");
    };
    assert_eq!(check(&schedule, &["E0243 chalicelib/jobs.py:7"]), 1);
    assert_eq!(check(&|said| said["functions"][0]["batch_size"] = json!("many"), &["E0119 app.py:1"]), 0);
    assert_eq!(check(&|said| said["routes"] = json!(7), &["E0119 app.py:1"]), 0);
    assert_eq!(check(&|said| *said = json!([]), &["E0119 app.py:1"]), 0);
}

#[test]
fn a_schedule_has_the_name_of_its_rule() {
    let mut said = said();
    said["functions"][0]["kind"] = json!("schedule");
    said["functions"][0]["expression"] = json!("rate(1 hour)");
    let project = project(r#"{"app_name": "a"}"#, &said);
    let EventSource::Schedule(schedule) = &project.functions[1].sources[0] else { panic!("{project:?}") };
    assert_eq!((schedule.name.as_str(), schedule.expression.as_str()), ("a-dev-count-event", "rate(1 hour)"));
}

#[test]
fn settings_that_can_t_be_read_have_a_line() {
    let check = |config: &str, expected: u32| {
        let error = find(folder(config).path(), &ProjectOptions::default()).unwrap_err();
        let Error::Project { file, line, .. } = error else { panic!("{error}") };
        assert_eq!((file.as_str(), line), (CONFIG, expected), "{config}");
    };
    check("{\n\"a\" 1}", 2);
    check("[]", 1);
    check("", 1);
    let folder = folder("{}");
    std::fs::remove_file(folder.path().join(SCRIPT)).unwrap();
    assert!(find(folder.path(), &ProjectOptions::default()).is_err());
    assert!(find(tempfile::tempdir().unwrap().path(), &ProjectOptions::default()).unwrap().is_none());
}
