//! `ingle_testing`, as users have it: installed, with pytest, against the real binary on a clock that is moved.

use std::path::Path;
use std::process::{Command, Output};

use ingle_testkit::{App, Python, binary, cache, on_each_python};
use tempfile::TempDir;

on_each_python!(users_test_an_app_with_the_package, the_package_keeps_its_promises);

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

/// The package's own tests, with none left out.
fn the_package_keeps_its_promises(python: &Python) {
    let package = installed(python);
    let tests = package.path().join("source/tests");
    let output = pytest(python, &package, &tests, &[]);
    assert!(output.contains("passed") && !output.contains("skipped"), "{output}");
}
