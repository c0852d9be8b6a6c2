//! `ingle_testing`, as users have it: installed, with pytest, against the real binary on a clock that is moved.
#![expect(clippy::disallowed_methods, reason = "a story starts pip and pytest, as users do")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use ingle_testkit::{App, Python, Server, binary, cache, on_each_python};
use serde_json::Value;
use tempfile::TempDir;

on_each_python!(users_test_an_app_with_the_package);

/// The package, built as for an index and installed into a folder of its own.
fn installed(python: &Python) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Building leaves files behind, so it is done on a copy.
    App::folder("python/ingle_testing").write(&folder.path().join("source"));
    let source = folder.path().join("source");
    let site = folder.path().join("site");
    let mut pip = Command::new(&python.program);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    assert_success(&pip.arg(&site).arg(&source).output().unwrap());
    folder
}

/// What pytest printed in this folder, with the package installed.
#[track_caller]
fn pytest(python: &Python, package: &TempDir, folder: &Path, arguments: &[&str]) -> String {
    let mut pytest = Command::new(&python.program);
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]).args(arguments).current_dir(folder);
    pytest.env("PYTHONPATH", package.path().join("site")).env("INGLE", binary()).env("INGLE_CACHE", cache());
    let output = pytest.output().unwrap();
    assert_success(&output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_success(output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{out}{err}");
}

/// S-152, S-154: single functions, and the chain HTTP, queue, blob, timer while a day passes. How long that takes is
/// printed.
#[expect(clippy::print_stdout, reason = "how long a day takes is for whoever reads the test's output")]
fn users_test_an_app_with_the_package(python: &Python) {
    let package = installed(python);
    let app = tempfile::tempdir().unwrap();
    App::folder("examples/tested-app").write(app.path());
    let output = pytest(python, &package, app.path(), &[]);
    assert!(output.contains("10 passed"), "{output}");
    println!("{output}");
}

/// The package's own tests, with none left out. Those that need no server run on each Python elsewhere.
#[test]
fn the_package_keeps_its_promises() {
    let python = Python::any();
    let package = installed(&python);
    let tests = package.path().join("source/tests");
    let output = pytest(&python, &package, &tests, &[]);
    assert!(output.contains("passed") && !output.contains("skipped"), "{output}");
}

const HELLO: &str = r#"
@app.route(route="hello", auth_level="anonymous")
def hello(req: func.HttpRequest) -> str:
    return "hello"
"#;

/// The answer of the admin socket, as it comes.
fn admin(server: &Server, request: &str) -> String {
    let mut socket = UnixStream::connect(server.state_folder().join("admin.sock")).unwrap();
    write!(socket, "{request} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Nobody gets a clock that stands still unasked, and nobody fails to see that it does.
#[test]
fn only_a_server_for_tests_lets_its_clock_be_moved() {
    let server = App::python(HELLO).start(&Python::any());
    assert_eq!(server.ready()["clock"], Value::Null);
    for request in
        ["POST /v1/settle", "POST /v1/clock?to=1", "POST /v1/clock/restart?to=1", "GET /v1/journal"]
    {
        let answer = admin(&server, request);
        assert!(answer.starts_with("HTTP/1.1 404"), "{request}: {answer}");
    }
    let launch = App::python(HELLO).launch(&Python::any()).argument("--clock");
    let server = launch.argument("moved=2030-01-01T08:00:00Z").text().start();
    server.events().wait_for_line("the clock stands still at 2030-01-01T08:00:00");
    let answer = admin(&server, "GET /v1/clock");
    assert!(answer.ends_with(r#"{"now":1893484800000}"#), "{answer}");
    let answer = admin(&server, "POST /v1/clock?to=1893488400000");
    assert!(answer.ends_with(r#"{"now":1893488400000}"#), "{answer}");
    for (request, expected) in [
        ("POST /v1/clock?to=1893484800000", "forward only"),
        ("POST /v1/clock?to=noon", "no number"),
        ("POST /v1/clock", "missing"),
        ("POST /v1/documents?container=shop", "database/container"),
    ] {
        let answer = admin(&server, request);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(expected), "{request}: {answer}");
    }
}
