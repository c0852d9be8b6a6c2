//! Which Python runs an app, and why (P-13).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_sandbox::command::{self, Command};
use ingle_types::problem::Problem;

use crate::Error;
use crate::folder::{AppFolder, ReadOptions, find, read_bytes};

mod pyenv;

/// Minor versions of Python 3 that are tested.
const MINOR_MIN: u32 = 9;
const MINOR_MAX: u32 = 13;

/// How long a Python may take to say its version.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Prints executable and version. Nothing of what is installed runs for that: a package may have something to be run at
/// each start.
const PROBE: &str = "import sys; print(sys.executable); print('%d.%d.%d' % tuple(sys.version_info[:3]))";

/// A Python that can run the app.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpreter {
    /// The program itself, never a shim that looks for it.
    pub path: PathBuf,
    pub version: (u32, u32, u32),
    /// E.g. `.venv in the app`.
    pub why: String,
    /// Root of the virtual environment that it belongs to.
    pub environment: Option<PathBuf>,
    pub problems: Vec<Problem>,
}

/// Chooses: `--python`, the active environment, the app's own, `.python-version`, the runtime of a project's function, PATH, pyenv. Starts at most a few
/// short processes, and none for a virtual environment or a pyenv version.
///
/// # Errors
/// No Python from 3.9 on; or the one that was asked for can't be used.
pub fn choose_interpreter(folder: &AppFolder, options: &ReadOptions) -> Result<Interpreter, Error> {
    let search = Search { folder, options };
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let chosen = match &options.python {
        Some(asked) => search.asked(asked, &mut found),
        None => search
            .environments(&mut found)
            .or_else(|| search.version_file(&mut found, &mut problems))
            .or_else(|| search.runtime(&mut found))
            .or_else(|| search.path(&mut found))
            .or_else(|| search.newest_pyenv(&mut found)),
    };
    let Some(mut interpreter) = chosen else { return Err(Error::NoInterpreter { found }) };
    if interpreter.version.1 > MINOR_MAX {
        let (major, minor, _) = interpreter.version;
        let message = format!(
            "Python {major}.{minor} is newer than what is tested here (3.{MINOR_MIN} to 3.{MINOR_MAX})"
        );
        problems.push(
            Problem::warning("E0605", message)
                .fix("if something fails, use an older one: --python python3.13"),
        );
    }
    interpreter.problems = problems;
    if !found.is_empty() && options.python.is_none() {
        interpreter.why = format!("{} ({})", interpreter.why, found.join("; "));
    }
    Ok(interpreter)
}

struct Search<'a> {
    folder: &'a AppFolder,
    options: &'a ReadOptions,
}

impl Search<'_> {
    fn variable(&self, name: &str) -> Option<&str> {
        find(&self.options.environment, name).filter(|value| !value.is_empty())
    }

    /// Keeps what serves; otherwise remembers why not.
    fn accept(candidate: Result<Interpreter, String>, found: &mut Vec<String>) -> Option<Interpreter> {
        let refused = match candidate {
            Ok(interpreter) if interpreter.version >= (3, MINOR_MIN, 0) => return Some(interpreter),
            Ok(interpreter) => {
                let (major, minor, patch) = interpreter.version;
                format!("{} is {major}.{minor}.{patch}, which is too old", interpreter.path.display())
            }
            Err(reason) => reason,
        };
        if !found.contains(&refused) {
            found.push(refused);
        }
        None
    }

    /// `--python`: a path, a virtual environment, a name on PATH, or a version.
    fn asked(&self, asked: &Path, found: &mut Vec<String>) -> Option<Interpreter> {
        let why = "--python";
        let text = asked.to_string_lossy();
        // Components, so that `./env` loses its dot; links stay, as a virtual environment is known by its path.
        let path: PathBuf = self.options.directory.join(asked).components().collect();
        if path.is_dir() {
            return Self::accept(environment_at(&path, why), found);
        }
        if text.contains('/') {
            return Self::accept(self.probe(&path, why), found);
        }
        if let Some(home) = pyenv::find(&self.pyenv_root(), &text) {
            return Self::accept(self.pyenv(&home, why), found);
        }
        let is_version = text.starts_with(|first: char| first.is_ascii_digit());
        let name = if is_version { format!("python{text}") } else { text.clone().into_owned() };
        match self.on_path(&name).next() {
            Some(path) => Self::accept(self.probe(&path, why), found),
            None => {
                found.push(format!("{text} is neither a file nor on PATH"));
                None
            }
        }
    }

    /// `python3.12` of a project's function, if it is here.
    fn runtime(&self, found: &mut Vec<String>) -> Option<Interpreter> {
        let member = self.options.member.as_ref()?;
        let runtime = member.function.runtime.as_deref()?;
        let why = format!("Runtime of {}", member.place());
        let version = runtime.strip_prefix("python")?;
        if let Some(home) = pyenv::find(&self.pyenv_root(), version) {
            return Self::accept(self.pyenv(&home, &why), found);
        }
        match self.on_path(runtime).next() {
            Some(path) => Self::accept(self.probe(&path, &why), found),
            None => {
                found.push(format!("{runtime}, the {why}, is not installed"));
                None
            }
        }
    }

    fn environments(&self, found: &mut Vec<String>) -> Option<Interpreter> {
        if let Some(active) = self.variable("VIRTUAL_ENV") {
            let why = "the active virtual environment";
            if let Some(interpreter) = Self::accept(environment_at(Path::new(active), why), found) {
                return Some(interpreter);
            }
        }
        let project = self.options.member.iter().map(|member| (&member.root, "the project"));
        let places = std::iter::once((&self.folder.root, "the app")).chain(project);
        let mut named = places.flat_map(|place| [".venv", "venv", "env"].map(|name| (place, name)));
        named.find_map(|((folder, place), name)| {
            let root = folder.join(name);
            let is_environment = root.join("pyvenv.cfg").is_file();
            let candidate = is_environment.then(|| environment_at(&root, &format!("{name} in {place}")))?;
            Self::accept(candidate, found)
        })
    }

    /// `.python-version` in the app's folder or one above it.
    fn version_file(&self, found: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Interpreter> {
        let file = self
            .folder
            .root
            .ancestors()
            .map(|folder| folder.join(".python-version"))
            .find(|file| file.is_file())?;
        let text = String::from_utf8_lossy(&read_bytes(&file).ok()??).into_owned();
        let versions: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        for version in &versions {
            let why = format!(".python-version asks for {version}");
            if let Some(interpreter) = self.version(version, &why, found) {
                return Some(interpreter);
            }
        }
        let wanted: Vec<&str> = versions.into_iter().filter(|version| *version != "system").collect();
        if !wanted.is_empty() {
            let message = format!(
                ".python-version asks for Python {}, which is not installed; another one is used",
                wanted.join(" or ")
            );
            let shown = file.strip_prefix(&self.folder.root).map_or_else(|_| file.clone(), Path::to_owned);
            let fix = format!("install it, e.g. pyenv install {}", wanted[0]);
            problems
                .push(Problem::warning("E0606", message).at(shown.display().to_string(), Some(1)).fix(fix));
        }
        None
    }

    fn version(&self, version: &str, why: &str, found: &mut Vec<String>) -> Option<Interpreter> {
        if let Some(home) = pyenv::find(&self.pyenv_root(), version) {
            return Self::accept(self.pyenv(&home, why), found);
        }
        let number = pyenv::number(version);
        let minor = number.split('.').take(2).collect::<Vec<_>>().join(".");
        let path = self.on_path(&format!("python{minor}")).next()?;
        let interpreter = Self::accept(self.probe(&path, why), found)?;
        let (major, minor, patch) = interpreter.version;
        let whole = format!("{major}.{minor}.{patch}");
        (whole == number || whole.starts_with(&format!("{number}."))).then_some(interpreter)
    }

    fn path(&self, found: &mut Vec<String>) -> Option<Interpreter> {
        let newest_first = (MINOR_MIN..=MINOR_MAX).rev().map(|minor| format!("python3.{minor}"));
        let names = ["python3".to_owned(), "python".to_owned()].into_iter().chain(newest_first);
        for name in names {
            for path in self.on_path(&name) {
                let why = format!("{name} on PATH");
                let candidate =
                    if is_shim(&path) { self.behind_shim(&path, &why) } else { self.probe(&path, &why) };
                if let Some(interpreter) = Self::accept(candidate, found) {
                    return Some(interpreter);
                }
            }
        }
        None
    }

    /// The Python that pyenv's version files name; other shims are asked for theirs.
    fn behind_shim(&self, shim: &Path, why: &str) -> Result<Interpreter, String> {
        let root = self.pyenv_root();
        if !shim.starts_with(&root) {
            return self.probe(shim, why);
        }
        let global = || {
            read_bytes(&root.join("version"))
                .ok()
                .flatten()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let chosen = self.variable("PYENV_VERSION").map(str::to_owned).or_else(global).unwrap_or_default();
        let home = chosen
            .split([':', '\n'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .find_map(|line| pyenv::find(&root, line));
        match home {
            Some(home) => self.pyenv(&home, &format!("{why}, through pyenv")),
            None => Err(format!("{} is a shim of pyenv without a version behind it", shim.display())),
        }
    }

    fn newest_pyenv(&self, found: &mut Vec<String>) -> Option<Interpreter> {
        (MINOR_MIN..=MINOR_MAX).rev().find_map(|minor| {
            let home = pyenv::find(&self.pyenv_root(), &format!("3.{minor}"))?;
            Self::accept(self.pyenv(&home, "the newest of pyenv"), found)
        })
    }

    fn pyenv_root(&self) -> PathBuf {
        self.variable("PYENV_ROOT").map_or_else(|| self.options.home.join(".pyenv"), PathBuf::from)
    }

    /// A version of pyenv; its folder's name says the version.
    fn pyenv(&self, home: &Path, why: &str) -> Result<Interpreter, String> {
        if home.join("pyvenv.cfg").is_file() {
            return environment_at(home, why);
        }
        let path = home.join("bin/python3");
        let name = home.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match parse_version(&name) {
            Some(version) if is_program(&path) => Ok(Interpreter {
                path,
                version,
                why: why.to_owned(),
                environment: None,
                problems: Vec::new(),
            }),
            _ => self.probe(&path, why),
        }
    }

    /// Every program of that name on PATH, in order.
    fn on_path(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        programs(self.variable("PATH").unwrap_or_default(), name)
    }

    /// Asks the program itself.
    fn probe(&self, path: &Path, why: &str) -> Result<Interpreter, String> {
        let output = command::run_blocking(Command {
            program: path.to_owned(),
            args: vec!["-I".into(), "-S".into(), "-c".into(), PROBE.into()],
            env: self.options.environment.clone(),
            cwd: self.folder.root.clone(),
            timeout: PROBE_TIMEOUT,
        });
        let output = output.map_err(|error| error.to_string())?;
        let mut lines = output.stdout.lines();
        let (executable, version) = (lines.next().unwrap_or_default(), lines.next().and_then(parse_version));
        let Some(version) = version.filter(|_| output.status.success() && !executable.is_empty()) else {
            return Err(format!("{} did not answer as a Python 3 does", path.display()));
        };
        let path = PathBuf::from(executable);
        // As Python itself knows it (PEP 405).
        let environment =
            path.parent().and_then(Path::parent).filter(|root| root.join("pyvenv.cfg").is_file());
        let environment = environment.map(Path::to_owned);
        Ok(Interpreter { path, version, why: why.to_owned(), environment, problems: Vec::new() })
    }
}

/// Every program of that name in the folders of a PATH.
pub(crate) fn programs(path: &str, name: &str) -> impl Iterator<Item = PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let name = name.to_owned();
    folders
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .map(move |folder| folder.join(&name))
        .filter(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// A script that looks for the real program on each start: slow, and its answer may change.
pub(crate) fn is_shim(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == "shims")
}

/// The Python of a virtual environment, by its `pyvenv.cfg`, without starting it.
fn environment_at(root: &Path, why: &str) -> Result<Interpreter, String> {
    let shown = root.display();
    let Some(version) = configured(root, &["version", "version_info"]).as_deref().and_then(parse_version)
    else {
        return Err(format!("{shown} is no virtual environment"));
    };
    let path = ["bin/python", "bin/python3"].iter().map(|name| root.join(name)).find(|path| is_program(path));
    let path = path.ok_or_else(|| format!("{shown} is broken: its Python is gone"))?;
    if path.canonicalize().is_ok_and(|real| is_shim(&real)) {
        return Err(format!("{shown} is broken: its Python is a shim"));
    }
    Ok(Interpreter {
        path,
        version,
        why: why.to_owned(),
        environment: Some(root.to_owned()),
        problems: Vec::new(),
    })
}

/// The value of the first of the keys in a `pyvenv.cfg`.
pub(crate) fn configured(root: &Path, keys: &[&str]) -> Option<String> {
    let text = String::from_utf8_lossy(&read_bytes(&root.join("pyvenv.cfg")).ok()??).into_owned();
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    keys.iter()
        .find_map(|wanted| lines.iter().find(|(key, _)| key == wanted).map(|(_, value)| (*value).to_owned()))
}

/// `3.11.7`, with whatever follows (`3.13.0rc1`, `3.11.7.final.0`).
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.trim().split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let patch = parts.next().unwrap_or("0");
    let digits = patch.find(|character: char| !character.is_ascii_digit()).unwrap_or(patch.len());
    Some((major, minor, patch[..digits].parse().ok()?))
}
