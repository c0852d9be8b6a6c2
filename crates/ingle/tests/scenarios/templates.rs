//! `ingle init` and `ingle new`: what they make has no error, in both models.

use std::path::Path;

use ingle_testkit::{Call, Python};
use serde_json::json;

fn make(model: &str) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("app");
    Call::new(&["init", "--model", model, "--sample", "http"]).path(&folder).run().code(0);
    let listed = Call::new(&["new", "--json"]).run().code(0).json();
    let names: Vec<String> = listed["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 11, "{names:?}");
    for name in names.iter().filter(|name| *name != "http") {
        Call::new(&["new", name, "--json", "--app"]).path(&folder).run().code(0);
    }
    assert_right(&folder, names.len());
}

#[track_caller]
fn assert_right(folder: &Path, functions: usize) {
    let call = Call::new(&["check", "--json"]).path(folder).word("--python").path(&Python::any().program);
    let report = call.run().json();
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(report["functions"].as_array().map(Vec::len), Some(functions), "{report:#}");
}

#[test]
fn every_template_is_right_in_v1() {
    make("v1");
}

#[test]
fn every_template_is_right_in_v2() {
    make("v2");
}

/// An app without functions takes its first one later, in both models.
#[test]
fn an_app_without_functions_takes_its_first_one() {
    for model in ["v1", "v2"] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("app");
        Call::new(&["init", "--model", model, "--sample", "none"]).path(&folder).run().code(0);
        Call::new(&["new", "http", "--app"]).path(&folder).run().code(0);
        assert_eq!(folder.join("hello/function.json").is_file(), model == "v1");
        assert_right(&folder, 1);
    }
}

#[test]
fn a_new_app_says_hello() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("app");
    Call::new(&["init"]).path(&folder).run().code(0);
    assert_right(&folder, 1);
    Call::new(&["init"]).path(&folder).run().code(2);
}
