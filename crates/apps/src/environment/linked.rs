//! Folders that a virtual environment makes Python find besides its own: editable installations, and what its author adds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ingle_sandbox::boxes::machine;

use crate::folder::read_bytes;

/// The folders that exist, by the files in `lib/python3.*/site-packages`: lines of `*.pth` (Python's `site` module), and the
/// table of the finders that setuptools writes for packages whose folder is not named as they are.
pub(super) fn folders(environment: &Path) -> Vec<PathBuf> {
    let versions = entries(&environment.join("lib"));
    let mut found = BTreeSet::new();
    for site in versions.iter().map(|version| version.join("site-packages")) {
        for file in entries(&site) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_finder = name.starts_with("__editable__") && name.ends_with("_finder.py");
            if !is_finder && !name.ends_with(".pth") {
                continue;
            }
            let Ok(Some(bytes)) = read_bytes(&file) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let named = if is_finder { of_mapping(&text) } else { of_lines(&text) };
            // As they are named: Python looks for them there, also if a link is on the way.
            found.extend(named.into_iter().map(|path| site.join(path)));
        }
    }
    // What is in the environment is seen with it.
    let environment = machine::real(environment);
    // A finder names a package by its folder, and a module without its ending.
    let existing = |path: PathBuf| {
        let module = path.with_extension("py");
        [path, module].into_iter().find(|path| path.exists())
    };
    let is_elsewhere = |path: &PathBuf| !machine::real(path).starts_with(&environment);
    found.into_iter().filter_map(existing).filter(is_elsewhere).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Lines that begin with `import` are programs.
fn of_lines(text: &str) -> Vec<&str> {
    let is_code = |line: &str| line.starts_with("import ") || line.starts_with("import\t");
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !is_code(line))
        .collect()
}

/// The values of `MAPPING: dict[str, str] = {'name': '/folder'}`, which is one line.
fn of_mapping(text: &str) -> Vec<&str> {
    let line = text.lines().find(|line| line.starts_with("MAPPING")).unwrap_or_default();
    line.split(['\'', '"']).filter(|part| part.starts_with('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_editable_installations_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = machine::real(folder.path());
        let at = |path: &str| root.join(path);
        let site = at("venv/lib/python3.11/site-packages");
        for path in ["venv/lib/python3.11/site-packages/inside", "library/src", "other/package", "relative"] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        let write = |name: &str, text: String| std::fs::write(site.join(name), text).unwrap();
        let lines = format!(
            "# a comment\n\nimport os; os.sep\n{}\ninside\n/nowhere/at/all\n",
            at("library/src").display()
        );
        write("library.pth", lines);
        write("relative.pth", "../../../../relative\n".to_owned());
        let table = format!(
            "MAPPING: dict[str, str] = {{'package': '{}'}}\nNAMESPACES = {{}}\n",
            at("other/package").display()
        );
        write("__editable___other_1_0_finder.py", table);
        std::fs::write(at("other/single.py"), "").unwrap();
        let single = format!("MAPPING: dict[str, str] = {{'single': '{}'}}\n", at("other/single").display());
        write("__editable___single_1_0_finder.py", single);
        write("unrelated.py", format!("MAPPING = '{}'", at("library").display()));
        let found: Vec<PathBuf> = folders(&at("venv")).iter().map(|path| machine::real(path)).collect();
        assert_eq!(found, ["library/src", "other/package", "other/single.py", "relative"].map(at));
        assert_eq!(folders(&at("library")), Vec::<PathBuf>::new());
    }
}
