//! What an app needs to have installed: `requirements.txt`, else `uv.lock` with `pyproject.toml`, else
//! `pyproject.toml` alone (P-19).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ingle_types::problem::Problem;

use crate::folder::read_bytes;
use crate::{Error, encoding};

/// Files within files; more is a circle or a mistake.
const INCLUDE_DEPTH_MAX: usize = 8;

/// Where the requirements stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequirementsSource {
    #[default]
    Nothing,
    RequirementsTxt,
    Pyproject,
    /// With the dependencies of pyproject.toml for those who have no uv.
    UvLock,
}

impl RequirementsSource {
    /// The file, relative to the app.
    pub fn file(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::RequirementsTxt => Some("requirements.txt"),
            Self::Pyproject => Some("pyproject.toml"),
            Self::UvLock => Some("uv.lock"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    pub source: RequirementsSource,
    /// Normalised names that are needed in any case, sorted. Requirements with a marker (`; python_version < "3.8"`) are not
    /// among them.
    pub names: Vec<String>,
    /// Every name that is mentioned, also under a marker.
    pub mentioned: Vec<String>,
    /// Everything that decides what is installed: the files with those they include. For hashing.
    pub text: String,
    /// `[project] dependencies` of pyproject.toml, as written.
    pub dependencies: Vec<String>,
    /// All files that were read for it, with links resolved.
    pub files: Vec<PathBuf>,
    /// Something of it is not in an index: a folder or file beside it.
    pub is_local: bool,
    /// Packages, and folders of packages, that are outside of the app's folder.
    pub places: Vec<PathBuf>,
}

pub(crate) struct Read {
    pub(crate) requirements: Requirements,
    pub(crate) problems: Vec<Problem>,
}

/// # Errors
/// A file is there, but the system refuses to read it.
pub(crate) fn read(root: &Path) -> Result<Read, Error> {
    let mut reader = Reader { root: root.to_owned(), ..Reader::default() };
    if root.join("requirements.txt").is_file() {
        reader.requirements.source = RequirementsSource::RequirementsTxt;
        reader.file(root, &root.join("requirements.txt"), 0)?;
    } else if let Some(bytes) = read_bytes(&root.join("pyproject.toml"))? {
        reader.pyproject(&String::from_utf8_lossy(&bytes));
        if let Some(lock) = read_bytes(&root.join("uv.lock"))? {
            reader.requirements.source = RequirementsSource::UvLock;
            reader.requirements.text.push_str(&String::from_utf8_lossy(&lock));
        }
    }
    reader.requirements.files = reader.seen.into_iter().collect();
    reader.requirements.names = reader.names.into_iter().collect();
    reader.requirements.mentioned = reader.mentioned.into_iter().collect();
    Ok(Read { requirements: reader.requirements, problems: reader.problems })
}

#[derive(Default)]
struct Reader {
    root: PathBuf,
    requirements: Requirements,
    names: BTreeSet<String>,
    mentioned: BTreeSet<String>,
    problems: Vec<Problem>,
    seen: BTreeSet<PathBuf>,
}

impl Reader {
    fn file(&mut self, root: &Path, path: &Path, depth: usize) -> Result<(), Error> {
        // One spelling for each file, so that a circle is recognised.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if depth > INCLUDE_DEPTH_MAX || !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let Some(bytes) = read_bytes(path)? else { return Ok(()) };
        let readable = || String::from_utf8_lossy(&bytes).replace(['\0', '\u{fffd}'], "");
        let text = encoding::text(bytes.clone(), &shown).unwrap_or_else(|problem| {
            self.problems.push(*problem);
            // The names are plain letters in any encoding, and what is not installed gets a finding of its own.
            readable()
        });
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (number, line) in logical_lines(text) {
            if let Some((include, is_constraint)) = included(&line) {
                let target = path.parent().unwrap_or(root).join(include);
                if !target.is_file() && !include.contains("://") {
                    let problem = Problem::error("E0106", format!("{include} is not there"));
                    let fix = "create it, or correct the line";
                    self.problems.push(problem.at(shown.clone(), Some(number)).fix(fix));
                } else if is_constraint {
                    // Constraints require nothing, but decide versions.
                    let text = read_bytes(&target)?.unwrap_or_default();
                    self.requirements.text.push_str(&String::from_utf8_lossy(&text));
                    self.seen.extend(target.canonicalize());
                } else {
                    self.file(root, &target, depth + 1)?;
                }
            } else {
                self.requirement(&line);
            }
        }
        self.requirements.text.push_str(text);
        self.requirements.text.push('\n');
        Ok(())
    }

    fn requirement(&mut self, line: &str) {
        if is_local(line) {
            self.requirements.is_local = true;
            let place = self.root.join(path_of(line)).canonicalize().ok();
            let place = place.filter(|place| !place.starts_with(&self.root) && holds_packages(place));
            self.requirements.places.extend(place);
        }
        if let Some(name) = name_of(line) {
            if !line.contains(';') {
                self.names.insert(name.clone());
            }
            self.mentioned.insert(name);
        }
    }

    fn pyproject(&mut self, text: &str) {
        const FILE: &str = "pyproject.toml";
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map(|span| line_of(text, span.start));
                let message = format!(
                    "pyproject.toml is no TOML: {}",
                    error.message().lines().next().unwrap_or_default()
                );
                self.problems.push(Problem::error("E0106", message).at(FILE, line).fix("correct it there"));
                return;
            }
        };
        let dependencies = table.get("project").and_then(|project| project.get("dependencies"));
        if let Some(list) = dependencies.and_then(toml::Value::as_array) {
            self.requirements.source = RequirementsSource::Pyproject;
            self.requirements.dependencies =
                list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
            for dependency in self.requirements.dependencies.clone() {
                self.requirement(&dependency);
            }
            self.requirements.text = self.requirements.dependencies.join("\n") + "\n";
        } else if table
            .get("tool")
            .and_then(|tool| tool.get("poetry"))
            .and_then(|poetry| poetry.get("dependencies"))
            .is_some()
        {
            let message = "dependencies under [tool.poetry] are not read";
            let fix =
                "list them under [project] dependencies, or export them: poetry export -o requirements.txt";
            self.problems.push(Problem::warning("E0106", message).at(FILE, None).fix(fix));
        }
    }
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).unwrap_or(text);
    u32::try_from(before.matches('\n').count()).map_or(u32::MAX, |count| count.saturating_add(1))
}

/// Lines without comments, with `\` at the end continued; each with the number of its first line. Empty ones are left
/// out.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (number, line) in (1_u32..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let continues = line.trim_end().ends_with('\\');
        let piece = line.trim_end().trim_end_matches('\\');
        let (first, mut whole) = open.take().unwrap_or((number, String::new()));
        whole.push_str(piece);
        if continues {
            open = Some((first, whole));
        } else {
            lines.push((first, whole));
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// A `#` opens a comment at the start or after a blank; within an address it does not.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let end = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
    end.map_or(line, |end| &line[..end])
}

/// The file that `-r` or `-c` names, and whether it is a constraint.
fn included(line: &str) -> Option<(&str, bool)> {
    for (option, is_constraint) in
        [("--requirement", false), ("-r", false), ("--constraint", true), ("-c", true)]
    {
        if let Some(rest) = line.strip_prefix(option) {
            let file = rest.trim_start_matches(['=', ' ', '\t']).trim();
            return (!file.is_empty()).then_some((file, is_constraint));
        }
    }
    None
}

/// Whether a line is about files that are found from where the installer runs. What is not understood is.
fn is_local(line: &str) -> bool {
    const HARMLESS: [&str; 14] = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "--no-index",
        "--no-binary",
        "--only-binary",
        "--prefer-binary",
        "--require-hashes",
        "--pre",
        "--trusted-host",
        "--use-feature",
        "-f",
        "--find-links",
        "--hash",
    ];
    let (first, rest) = line.split_once(['=', ' ', '\t']).unwrap_or((line, ""));
    if line.starts_with('-') {
        let is_address = rest.contains("://") && !rest.contains("file:");
        let finds_files = matches!(first, "-f" | "--find-links" | "-i" | "--index-url" | "--extra-index-url");
        return !HARMLESS.contains(&first) || (finds_files && !is_address);
    }
    let where_it_is = match name_of(line) {
        Some(_) => match line.split_once('@') {
            // `name @ address`; another @ may stand in a hash or marker.
            Some((_, address)) => address,
            None => return false,
        },
        None => line,
    };
    !where_it_is.contains("://") || where_it_is.contains("file:")
}

/// The path in a line that is about files.
fn path_of(line: &str) -> &str {
    const OPTIONS: [&str; 4] = ["--editable", "-e", "--find-links", "-f"];
    let option = OPTIONS.iter().find_map(|option| line.strip_prefix(option));
    let rest = option.unwrap_or(line).trim_start_matches(['=', ' ', '\t']);
    let rest = rest.split_once(" @ ").map_or(rest, |(_, place)| place);
    let rest = rest.strip_prefix("file://").or_else(|| rest.strip_prefix("file:")).unwrap_or(rest);
    rest.split(['[', ';', '#']).next().unwrap_or(rest).trim()
}

/// Whether it is what requirements are about. A line may name anything of the machine, and what is named is shown to
/// those who build packages.
fn holds_packages(place: &Path) -> bool {
    let is_package = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        [".whl", ".tar.gz", ".zip"].iter().any(|end| name.ends_with(end))
    };
    if !place.is_dir() {
        return is_package(place);
    }
    if ["pyproject.toml", "setup.py"].iter().any(|name| place.join(name).is_file()) {
        return true;
    }
    std::fs::read_dir(place).is_ok_and(|entries| entries.flatten().any(|entry| is_package(&entry.path())))
}

/// The normalised name at the start of a requirement (PEP 508); `None` for options, paths and addresses.
fn name_of(requirement: &str) -> Option<String> {
    let end = requirement
        .find(|character: char| !(character.is_ascii_alphanumeric() || "._-".contains(character)))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let rest = rest.trim_start();
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let follows = rest.is_empty() || rest.starts_with(['=', '<', '>', '!', '~', '[', ';', '@', '(']);
    (is_name && follows && !name.to_lowercase().ends_with(".whl")).then(|| normalise(name))
}

/// One spelling for all (PEP 503): lower case, runs of `-`, `_`, `.` as one `-`.
pub(crate) fn normalise(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        if !"-_.".contains(character) {
            normal.extend(character.to_lowercase());
        } else if !normal.ends_with('-') {
            normal.push('-');
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(files: &[(&str, &str)], names: &[&str], problems: &[&str]) -> Requirements {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let read = read(folder.path()).unwrap();
        assert_eq!(read.requirements.names, names);
        assert_eq!(read.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), problems);
        read.requirements
    }

    #[test]
    fn requirements_and_what_they_include_are_read() {
        let text = "# top\nFlask==3.0 # web\n  \nazure.functions>=1.24,<2\npydantic[email] ; python_version > \"3\"\n\
            -r more/others.txt\n-c limits.txt\n-e ./local\n./wheel.whl\nhttps://example.org/x.zip#egg=x\n\
            name @ https://example.org/y.zip\nnum\\\npy==1\n--index-url https://example.org\n-r gone.txt";
        let requirements = check(
            &[
                ("requirements.txt", text),
                ("more/others.txt", "-r ../requirements.txt\nPandas"),
                ("limits.txt", "six<2"),
            ],
            &["azure-functions", "flask", "name", "numpy", "pandas"],
            &[
                "error[E0106] requirements.txt:15: gone.txt is not there\n  fix: create it, or correct the line",
            ],
        );
        assert_eq!(requirements.source, RequirementsSource::RequirementsTxt);
        assert!(requirements.mentioned.contains(&"pydantic".to_owned()));
        assert!(requirements.text.contains("Pandas") && requirements.text.contains("six<2"));
    }

    #[test]
    fn what_is_beside_the_app_is_known() {
        let check = |line: &str, expected: bool| assert_eq!(is_local(line), expected, "{line}");
        for line in [
            "flask",
            "flask[async]==3.0 ; python_version > '3'",
            "name @ https://example.org/x.whl",
            "https://example.org/x.zip",
            "git+https://example.org/x@v1",
            "--index-url=https://example.org/simple",
            "--extra-index-url https://example.org",
            "-f https://example.org/files",
            "--no-index",
            "six==1 --hash=sha256:00",
        ] {
            check(line, false);
        }
        for line in [
            "-e .",
            "./x",
            "x.whl",
            "wheels/x-1.0.tar.gz",
            "name @ file:///x.whl",
            "-f wheels",
            "--find-links=./wheels",
            "-i file:///index",
            "--editable ../x[extra]",
            "--unknown",
        ] {
            check(line, true);
        }
        assert_eq!(path_of("-e ../x[extra] ; python_version > '3'"), "../x");
        assert_eq!(path_of("name @ file:///srv/x.whl#sha256=0"), "/srv/x.whl");
    }

    /// T-008: what is shown to builders is what packages look like.
    #[test]
    fn t_008_a_line_shows_no_folder_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["app", "secret", "package"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::fs::write(root.join("secret/key"), "").unwrap();
        std::fs::write(root.join("package/pyproject.toml"), "").unwrap();
        std::fs::write(root.join("app/requirements.txt"), "-e ../secret\n-e ../package\n../secret/key\n")
            .unwrap();
        assert_eq!(super::read(&root.join("app")).unwrap().requirements.places, [root.join("package")]);
    }

    #[test]
    fn pyproject_and_its_lock_are_read() {
        let project =
            "[project]\nname = 'x'\ndependencies = ['Requests>=2', 'tomli; python_version < \"3.11\"']\n";
        let requirements = check(&[("pyproject.toml", project)], &["requests"], &[]);
        assert_eq!(requirements.source, RequirementsSource::Pyproject);
        assert_eq!(requirements.dependencies.len(), 2);
        let locked = check(&[("pyproject.toml", project), ("uv.lock", "version = 1")], &["requests"], &[]);
        assert_eq!(locked.source, RequirementsSource::UvLock);
        assert_ne!(locked.text, requirements.text);
        check(&[("pyproject.toml", project), ("requirements.txt", "six")], &["six"], &[]);
    }

    #[test]
    fn what_is_odd_in_pyproject_is_said() {
        check(
            &[("pyproject.toml", "[tool.poetry.dependencies]\nsix = '*'")],
            &[],
            &[
                "warning[E0106] pyproject.toml: dependencies under [tool.poetry] are not read\n  fix: list them under [project] dependencies, or export them: poetry export -o requirements.txt",
            ],
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pyproject.toml"), "[project]\nx = \n").unwrap();
        let problems = read(folder.path()).unwrap().problems;
        assert_eq!(problems[0].place().as_deref(), Some("pyproject.toml:2"));
    }

    proptest! {
        #[test]
        fn no_line_panics(text in "[a-z#\\\\; =\\[\\]@:/.\n-]{0,40}") {
            for (_, line) in logical_lines(&text) {
                name_of(&line);
                included(&line);
            }
        }
    }
}
