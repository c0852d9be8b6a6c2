//! A function for AWS Lambda in Rust, whose runtime is AWS's own crate.
#![expect(clippy::disallowed_methods, reason = "a story builds a program, as users do")]

use ingle_testkit::{App, Python, workspace};
use serde_json::json;

use crate::custom_runtimes::invoke_named;

/// The example in Rust, on AWS's own crate: built as its user would, once for all runs of the tests.
#[test]
fn a_function_in_rust_is_served() {
    let folder = workspace().join("examples/lambda-rust");
    let target = workspace().join("target/lambda-rust");
    let mut cargo = std::process::Command::new("cargo");
    let built =
        cargo.args(["build", "--locked", "--quiet"]).current_dir(folder).env("CARGO_TARGET_DIR", &target);
    let built = built.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let python = Python::any();
    let app = App::default().copied("bootstrap", &target.join("debug/bootstrap"));
    let app = app.file("ingle.toml", "[lambda]\ntimeout = \"20s\"\n");
    let server = app.launch(&python).may_complain("E0301").start();
    let answer = server.get("/?name=Ada").status(200);
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(answer.text(), "Hello Ada, from app");
    server.log("greeting Ada");
    let (error, result, _) =
        invoke_named(&python, &server, "app", &json!({"queryStringParameters": {"name": "nobody"}}));
    assert_eq!((&error, &result["errorMessage"]), (&json!("Unhandled"), &json!("there is nobody to greet")));
}
