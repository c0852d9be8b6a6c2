//! Interpreters and environments, with small shell scripts in place of Python: nothing is downloaded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{HOST, shown, write};
use crate::{
    AppFolder, Environment, Error, Failures, Interpreter, Progress, ReadOptions, Site, choose_interpreter,
    prepare_environment, read,
};

/// A home with an app in it.
struct World {
    root: tempfile::TempDir,
    options: ReadOptions,
}

/// Answers as Python does: the probe, `-m venv`, `-m pip`, `-m compileall`. `HOME/pip` decides what pip does.
const PYTHON: &str = r#"#!/bin/sh
case "$*" in
  -I*) echo "$0"; echo VERSION; echo "" ;;
  "-m venv --clear --without-pip "*) mkdir -p "$5/bin"; cp "$0" "$5/bin/python"; echo "venv without pip" >> "$HOME/calls" ;;
  "-m venv "*) [ ! -f "$HOME/no-ensurepip" ] || { echo "ensurepip is not available"; exit 1; }; mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo venv >> "$HOME/calls" ;;
  "-m pip "*) echo "pip: $*" >> "$HOME/calls"; echo "Collecting things"; [ ! -f "$HOME/pip" ] || . "$HOME/pip" ;;
  "-m compileall "*) echo compile >> "$HOME/calls"; exit 1 ;;
esac
"#;

impl World {
    fn new(files: super::Files<'_>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = Self { options: ReadOptions::default(), root };
        write(&world.app(), &[HOST, ("function_app.py", "")]);
        write(&world.app(), files);
        let home = world.path("home");
        std::fs::create_dir_all(&home).unwrap();
        let mut options =
            ReadOptions { home: home.clone(), cache: world.path("cache"), ..ReadOptions::default() };
        let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
        options.environment.insert("PATH".to_owned(), path);
        options.environment.insert("HOME".to_owned(), home.display().to_string());
        Self { options, ..world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn app(&self) -> PathBuf {
        self.path("app")
    }

    /// A program that answers as this version of Python.
    fn python(&self, path: &str, version: &str) -> PathBuf {
        let path = self.path(path);
        program(&path, &PYTHON.replace("VERSION", version));
        path
    }

    fn environment(&self, path: &str, version: &str) {
        self.python(&format!("{path}/bin/python"), version);
        write(&self.path(path), &[("pyvenv.cfg", &format!("home = /usr\nversion = {version}\n"))]);
    }

    /// Only the programs of this world: no Python of the machine is found.
    fn alone(mut self) -> Self {
        self.options.environment.insert("PATH".to_owned(), self.path("bin").display().to_string());
        self
    }

    fn read(&self) -> AppFolder {
        read(&self.app(), &self.options).unwrap()
    }

    /// The chosen program relative to the world, and why; or the error.
    fn check_choice(&self, expected: &str) {
        let got = match choose_interpreter(&self.read(), &self.options) {
            Ok(chosen) => format!("{}: {}", self.relative(&chosen.path), chosen.why),
            Err(error) => format!("{}: {error}", error.code()),
        };
        let got = got.replace(&format!("{}/", self.root.path().display()), "");
        assert_eq!(got, expected);
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.root.path()).unwrap_or(path).display().to_string()
    }

    async fn prepare(&self, interpreter: &Interpreter) -> (Result<Environment, Error>, Vec<Progress>) {
        let mut steps = Vec::new();
        let result =
            prepare_environment(&self.read(), interpreter, &self.options, &mut |step| steps.push(step)).await;
        (result, steps)
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("home/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn plain(path: PathBuf) -> Interpreter {
    Interpreter {
        path,
        version: (3, 11, 7),
        why: "a test".to_owned(),
        environment: None,
        problems: Vec::new(),
    }
}

#[test]
fn a_relative_path_starts_where_the_command_was_typed() {
    let mut world = World::new(&[]).alone();
    world.environment("typed/env", "3.12.1");
    world.options.directory = world.path("typed");
    // `env` alone is a folder too, as a shell would complete it.
    for asked in ["env", "./env", "../typed/env/", "env/bin/python"] {
        world.options.python = Some(PathBuf::from(asked));
        let chosen = choose_interpreter(&world.read(), &world.options).unwrap();
        assert!(chosen.path.starts_with(world.root.path()), "{asked}: {chosen:?}");
        assert!(chosen.path.ends_with("env/bin/python"), "{asked}: {chosen:?}");
    }
    world.options.directory = world.app();
    let error = choose_interpreter(&world.read(), &world.options).unwrap_err();
    assert_eq!(error.code(), "E0601", "{error}");
}

#[test]
fn environments_come_before_versions_and_path() {
    let mut world = World::new(&[]);
    world.python("bin/python3", "3.10.1");
    world.check_choice("bin/python3: python3 on PATH");
    for (version, folder) in [("3.11.7", "3.11.7"), ("3.11.12", "3.11.12")] {
        world.python(&format!("home/.pyenv/versions/{folder}/bin/python3"), version);
    }
    write(&world.app(), &[(".python-version", "# why\n3.11\n")]);
    world.check_choice("home/.pyenv/versions/3.11.12/bin/python3: .python-version asks for 3.11");
    world.environment("app/env", "3.9.2");
    world.check_choice("app/env/bin/python: env in the app");
    world.environment("app/.venv", "3.12.0");
    world.check_choice("app/.venv/bin/python: .venv in the app");
    world.environment("active", "3.13.0");
    world.options.environment.insert("VIRTUAL_ENV".to_owned(), world.path("active").display().to_string());
    world.check_choice("active/bin/python: the active virtual environment");
    world.options.python = Some(PathBuf::from("3.11.7"));
    world.check_choice("home/.pyenv/versions/3.11.7/bin/python3: --python");
    world.options.python = Some(world.path("app/.venv"));
    world.check_choice("app/.venv/bin/python: --python");
}

#[test]
fn what_does_not_serve_is_named() {
    let world = World::new(&[]).alone();
    world.check_choice("E0601: no Python was found");
    world.python("bin/python3", "3.8.18");
    program(&world.path("bin/python"), "#!/bin/sh\nexit 1\n");
    let both = "bin/python3 is 3.8.18, which is too old; bin/python did not answer as a Python 3 does";
    world.check_choice(&format!("E0601: no Python that can be used was found ({both})"));
    world.python("bin/python3.12", "3.12.1");
    world.check_choice(&format!("bin/python3.12: python3.12 on PATH ({both})"));
    let mut asked = World::new(&[]).alone();
    asked.options.python = Some(PathBuf::from("3.12"));
    asked.check_choice("E0601: no Python that can be used was found (3.12 is neither a file nor on PATH)");
}

#[test]
fn a_broken_environment_is_passed_over_with_its_reason() {
    let world = World::new(&[]).alone();
    world.python("bin/python3", "3.11.1");
    world.environment("app/.venv", "3.11.1");
    std::fs::remove_file(world.path("app/.venv/bin/python")).unwrap();
    world.check_choice("bin/python3: python3 on PATH (app/.venv is broken: its Python is gone)");
}

#[test]
fn shims_are_never_started() {
    let mut world = World::new(&[]).alone();
    let shims = world.path("home/.pyenv/shims");
    program(&shims.join("python3"), "#!/bin/sh\ntouch \"$HOME/started\"\n");
    world.options.environment.insert("PATH".to_owned(), shims.display().to_string());
    world.python("home/.pyenv/versions/3.10.4/bin/python3", "3.10.4");
    write(&world.path("home"), &[(".pyenv/version", "2.7.18\n3.10.4\n")]);
    world.check_choice("home/.pyenv/versions/3.10.4/bin/python3: python3 on PATH, through pyenv");
    assert!(!world.path("home/started").exists());
}

/// T-026: a version file names a version, not a path.
#[test]
fn a_version_that_is_not_installed_is_warned_about() {
    let world = World::new(&[(".python-version", "../../../bin\n3.12.9\n")]).alone();
    world.python("bin/python3", "3.14.0");
    let chosen = choose_interpreter(&world.read(), &world.options).unwrap();
    assert_eq!(
        shown(&chosen.problems),
        [
            "warning[E0606] .python-version:1: .python-version asks for Python ../../../bin or 3.12.9, which is not installed; another one is used",
            "warning[E0605]: Python 3.14 is newer than what is tested here (3.9 to 3.13)",
        ]
    );
}

#[tokio::test]
async fn an_environment_is_built_once_and_kept() {
    let world = World::new(&[("requirements.txt", "flask\n")]).alone();
    let mut world = world;
    world.options.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    world.options.environment.insert("PYTHONPATH".to_owned(), "/elsewhere".to_owned());
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    let (first, steps) = world.prepare(&interpreter).await;
    let first = first.unwrap();
    assert!(first.built && first.python.starts_with(world.path("cache/environments")), "{first:?}");
    assert!(
        steps.contains(&Progress::Installing { what: "requirements.txt".to_owned(), with: "pip" }),
        "{steps:?}"
    );
    assert!(steps.contains(&Progress::Line("Collecting things".to_owned())), "{steps:?}");
    let install = "pip: -m pip install --no-input --disable-pip-version-check --progress-bar off -r requirements.txt azure-functions>=1.24,<2";
    assert_eq!(world.calls(), ["venv", install, "compile"]);
    let (second, steps) = world.prepare(&interpreter).await;
    assert_eq!((second.unwrap().python, steps.len(), world.calls().len()), (first.python.clone(), 0, 3));
    // An unfinished build is begun again; other requirements are another environment.
    std::fs::remove_file(first.python.parent().unwrap().with_file_name(".ingle-ready")).unwrap();
    assert!(world.prepare(&interpreter).await.0.unwrap().built);
    write(&world.app(), &[("requirements.txt", "flask\nazure-functions==1.24.0\n")]);
    let third = world.prepare(&interpreter).await.0.unwrap();
    assert!(third.built && third.python != first.python);
    assert!(world.calls()[7].ends_with("-r requirements.txt"), "{:?}", world.calls());
}

/// Debian's Python without the package that holds `ensurepip`, and pip installed for the interpreter.
#[tokio::test]
async fn an_interpreter_without_ensurepip_installs_from_outside() {
    let world = World::new(&[]).alone();
    let mut world = world;
    world.options.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    write(&world.path("home"), &[("no-ensurepip", "")]);
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    let environment = world.prepare(&interpreter).await.0.unwrap();
    assert!(environment.built);
    let calls = world.calls();
    assert_eq!(calls[0], "venv without pip");
    let python = environment.python.display();
    assert!(calls[1].starts_with(&format!("pip: -m pip --python {python} install --no-input")), "{calls:?}");
}

#[tokio::test]
async fn two_starts_build_one_environment() {
    let world = World::new(&[]);
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    let (left, right) = tokio::join!(world.prepare(&interpreter), world.prepare(&interpreter));
    let built = [left.0.unwrap().built, right.0.unwrap().built];
    assert_eq!(built.iter().filter(|built| **built).count(), 1);
    assert!(right.1.contains(&Progress::Waiting) || left.1.contains(&Progress::Waiting));
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test]
async fn a_failed_install_keeps_its_log_and_is_tried_again() {
    let mut world = World::new(&[]);
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    write(
        &world.path("home"),
        &[("pip", "echo 'ERROR: No matching distribution found for flsk' >&2; exit 1")],
    );
    let error = world.prepare(&interpreter).await.0.unwrap_err();
    assert_eq!(error.code(), "E0603");
    let Error::Install { log, tail, .. } = &error else { panic!("{error:?}") };
    // Two pipes: which of the last lines comes first is not settled.
    assert!(tail.contains("No matching distribution found for flsk") && log.is_file(), "{error:?}");
    world.options.failures = Failures::default();
    write(&world.path("home"), &[("pip", "echo 'dns error' >&2; exit 1")]);
    assert_eq!(world.prepare(&interpreter).await.0.unwrap_err().code(), "E0604");
    world.options.failures = Failures::default();
    std::fs::remove_file(world.path("home/pip")).unwrap();
    assert!(world.prepare(&interpreter).await.0.unwrap().built);
}

#[tokio::test]
async fn functions_that_start_together_share_a_failure() {
    let mut world = World::new(&[]);
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    write(&world.path("home"), &[("pip", "echo 'Failed to build x' >&2; exit 1")]);
    let (left, right) = tokio::join!(world.prepare(&interpreter), world.prepare(&interpreter));
    let third = world.prepare(&interpreter).await;
    let details = [left, right, third].map(|(result, _)| result.unwrap_err().detail().unwrap());
    assert!(details.iter().all(|detail| detail.contains("Failed to build x")), "{details:?}");
    assert_eq!(world.calls().len(), 2, "{:?}", world.calls());
    // What is tried anew knows of none.
    std::fs::remove_file(world.path("home/pip")).unwrap();
    world.options.failures = Failures::default();
    assert!(world.prepare(&interpreter).await.0.unwrap().built);
}

#[tokio::test]
async fn uv_is_used_where_it_is() {
    let world = World::new(&[
        ("pyproject.toml", "[project]\ndependencies = ['six']\n"),
        ("uv.lock", "version = 1\n"),
    ]);
    let interpreter = plain(world.python("bin/python3", "3.13.0"));
    let interpreter = Interpreter { version: (3, 13, 0), ..interpreter };
    let uv = "#!/bin/sh\necho \"uv: $1 $2\" >> \"$HOME/calls\"\n[ \"$1\" != venv ] || { mkdir -p \"$5/bin\"; cp \"$4\" \"$5/bin/python\"; }\necho \"$*\" > \"$HOME/last\"\n";
    program(&world.path("bin/uv"), uv);
    let (environment, _) = world.prepare(&interpreter).await;
    assert!(environment.unwrap().built);
    assert_eq!(world.calls(), ["uv: venv --quiet", "uv: export --frozen", "uv: pip install", "compile"]);
    let last = std::fs::read_to_string(world.path("home/last")).unwrap();
    assert!(last.trim_end().ends_with(".requirements.txt azure-functions>=2"), "{last}");
}

#[tokio::test]
async fn an_environment_of_the_user_is_used_and_what_misses_is_named() {
    let world = World::new(&[("requirements.txt", "Flask\nsix\nzope.interface\n")]);
    world.environment("app/.venv", "3.11.7");
    let packages = "app/.venv/lib/python3.11/site-packages";
    for name in ["flask-3.0.dist-info", "zope_interface-5.dist-info", "azure_functions-1.24.0.dist-info"] {
        std::fs::create_dir_all(world.path(packages).join(name)).unwrap();
    }
    let interpreter = choose_interpreter(&world.read(), &world.options).unwrap();
    let environment = world.prepare(&interpreter).await.0.unwrap();
    assert_eq!((environment.built, environment.site), (false, Site::Python));
    assert_eq!(
        shown(&environment.problems),
        ["warning[E0602] requirements.txt: .venv has not installed: six"]
    );
    std::fs::create_dir_all(world.path(packages).join("six-1.17.dist-info")).unwrap();
    assert!(world.prepare(&interpreter).await.0.unwrap().problems.is_empty());
}

#[tokio::test]
async fn packages_beside_the_app_are_used_as_they_are() {
    let world = World::new(&[(".python_packages/lib/site-packages/azure/functions/__init__.py", "")]);
    let interpreter = plain(world.python("bin/python3", "3.11.7"));
    let environment = world.prepare(&interpreter).await.0.unwrap();
    let folder = world.app().canonicalize().unwrap().join(".python_packages/lib/site-packages");
    assert_eq!((environment.site, environment.built), (Site::Folder(folder), false));
}
