//! Requirements without a virtual environment: Ingle builds one, once. No story needs a network: the packages are those
//! of the test's own environment, packed again.

use std::path::Path;

use ingle_testkit::{App, Launch, Python, on_each_python};
use serde_json::Value;

on_each_python!(
    requirements_are_installed_once,
    what_can_not_be_installed_is_named,
    what_an_environment_links_to_is_seen
);

/// Makes wheels of installed distributions, and one of a package of our own (PyPA specifications, "Binary distribution
/// format").
const PACK: &str = r#"
import importlib.metadata as metadata, pathlib, sys, zipfile
target = pathlib.Path(sys.argv[1])
target.mkdir(parents=True)
for name in ("azure-functions", "werkzeug", "markupsafe"):
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    tags = [line[5:] for line in found.read_text("WHEEL").splitlines() if line.startswith("Tag: ")]
    stem = "%s-%s-%s" % (found.metadata["Name"].replace("-", "_"), found.version, tags[0])
    with zipfile.ZipFile(target / (stem + ".whl"), "w") as wheel:
        for file in found.files:
            path = str(file)
            if path.startswith("..") or path.endswith((".pyc", "INSTALLER", "REQUESTED", "direct_url.json")):
                continue
            wheel.write(found.locate_file(file), path)
with zipfile.ZipFile(target / "greeting-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greeting.py", "def greet():\n    return 'Good evening'\n")
    wheel.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    wheel.writestr("greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("greeting-1.0.dist-info/RECORD", "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n")
"#;

/// An app with requirements, a cache of its own, and no index but a folder.
fn launch(python: &Python, requirement: &str) -> Launch {
    let app = App::python(
        r#"
import greeting

@app.route(route="greet")
def greet(req: func.HttpRequest) -> str:
    return greeting.greet() + " from " + sys.prefix
"#,
    )
    .file("requirements.txt", &format!("{requirement}\nazure-functions\n"));
    launch_app(python, &app)
}

pub(crate) fn launch_app(python: &Python, app: &App) -> Launch {
    let base = python.run("import sys; import os; print(os.path.realpath(sys.executable))", &[]);
    let launch = app.launch(&Python { version: python.version, program: base.into() });
    let (packages, cache) = (beside(&launch, "packages"), beside(&launch, "cache"));
    python.run(PACK, &[&packages]);
    launch
        .variable("INGLE_CACHE", &cache)
        .variable("PIP_NO_INDEX", "1")
        .variable("PIP_FIND_LINKS", &packages)
        .variable("UV_NO_INDEX", "1")
        .variable("UV_FIND_LINKS", &packages)
}

pub(crate) fn beside(launch: &Launch, name: &str) -> String {
    launch.folder().parent().unwrap_or(Path::new("/")).join(name).display().to_string()
}

/// Makes an environment with nothing in it but two links: to the SDK, and to a folder of the author's.
const LINKED: &str = r#"
import pathlib, sys, sysconfig, venv
venv.create(sys.argv[1], symlinks=True)
site, = pathlib.Path(sys.argv[1], "lib").glob("python3*/site-packages")
(site / "links.pth").write_text(sysconfig.get_path("purelib") + "\n" + sys.argv[2] + "\n")
"#;

/// An editable installation is used where it is, also by functions in a box.
fn what_an_environment_links_to_is_seen(python: &Python) {
    let launch = launch(python, "greeting");
    let (library, secret) = (beside(&launch, "library/src"), beside(&launch, "library/secret"));
    std::fs::create_dir_all(&library).unwrap();
    std::fs::write(
        format!("{library}/greeting.py"),
        format!("import os\ndef greet():\n    return str(os.path.exists({secret:?}))\n"),
    )
    .unwrap();
    std::fs::write(&secret, "not for functions").unwrap();
    let environment = launch.folder().join(".venv").display().to_string();
    python.run(LINKED, &[&environment, &library]);
    let server = launch.own_choice_of_python().start();
    assert_eq!(server.get("/api/greet").status(200).text(), format!("False from {environment}"));
}

fn is_progress(event: &&Value) -> bool {
    event["event"] == "progress"
}

fn requirements_are_installed_once(python: &Python) {
    let launch = launch(python, "greeting");
    let first = launch.clone().start();
    let answer = first.get("/api/greet").status(200).text();
    let cache = beside(&launch, "cache");
    assert!(answer.starts_with("Good evening from ") && answer.contains(&cache), "{answer}");
    let events = first.stop().events;
    let progress: Vec<&Value> = events.iter().filter(is_progress).collect();
    assert!(
        progress.iter().any(|event| event["message"].to_string().contains("requirements.txt")),
        "{progress:?}"
    );
    // Without any place to get packages from.
    let nowhere = launch.variable("PIP_FIND_LINKS", "/nowhere").variable("UV_FIND_LINKS", "/nowhere");
    let second = nowhere.start();
    assert_eq!(second.get("/api/greet").status(200).text(), answer);
    let events = second.stop().events;
    assert_eq!(events.iter().filter(is_progress).count(), 0, "the second start built something");
}

fn what_can_not_be_installed_is_named(python: &Python) {
    let launch = launch(python, "a-package-that-nobody-wrote");
    let done = launch.run();
    assert!(matches!(done.code, Some(1 | 3)), "{done:#?}");
    let error = done.json();
    assert!(error["code"].as_str().is_some_and(|code| code.starts_with("E06")), "{error}");
    assert!(
        error["message"].as_str().is_some_and(|message| message.contains("a-package-that-nobody-wrote")),
        "{error}"
    );
    assert!(error["hint"].is_string(), "{error}");
}

/// Which Python it is does not matter.
#[test]
fn a_change_of_requirements_is_installed_on_reload() {
    const PLAIN: &str = r#"
@app.route(route="greet")
def greet(req: func.HttpRequest) -> str:
    return "nothing"
"#;
    let app = App::python(PLAIN).file("requirements.txt", "azure-functions\n");
    let server = launch_app(&Python::any(), &app).start();
    assert_eq!(server.get("/api/greet").status(200).text(), "nothing");
    let write = |file: &str, text: &str| std::fs::write(server.folder().join(file), text).unwrap();
    // The package is not there yet: the last good version keeps serving.
    let greeting = PLAIN.replace("\"nothing\"", "__import__('greeting').greet()");
    write("function_app.py", &App::python(&format!("import greeting\n{greeting}")).text("function_app.py"));
    let kept = server.wait_for("kept", |event| event["event"] == "kept");
    assert_eq!(kept["problems"][0]["code"], "E0203", "{kept}");
    assert_eq!(server.get("/api/greet").status(200).text(), "nothing");
    write("requirements.txt", "greeting\nazure-functions\n");
    let reloaded = server.wait_for("reloaded", |event| event["event"] == "reloaded");
    assert_eq!(reloaded["changed"], serde_json::json!(["requirements.txt"]), "{reloaded}");
    assert_eq!(server.get("/api/greet").status(200).text(), "Good evening");
}
