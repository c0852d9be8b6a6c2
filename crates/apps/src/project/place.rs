//! Paths of a project: everything that it runs or reads is beneath its folder (T-026).

use std::path::{Component, Path, PathBuf};

use super::findings::{Findings, shortened};
use super::node::Node;

/// Why a path is no place of the project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misplaced {
    Outside,
    Missing,
}

/// The path of something in the project, relative to its folder; empty for the folder itself. Links are followed, as
/// what they lead to is what runs.
pub(super) fn beneath(root: &Path, text: &str) -> Result<PathBuf, Misplaced> {
    let mut relative = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => relative.push(name),
            Component::ParentDir if relative.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Misplaced::Outside);
            }
        }
    }
    let real = root.join(&relative).canonicalize().map_err(|_error| Misplaced::Missing)?;
    if real.starts_with(root) { Ok(relative) } else { Err(Misplaced::Outside) }
}

/// The folder or zip file with code that a value names.
pub(super) fn code(findings: &mut Findings, root: &Path, node: &Node, what: &str) -> Option<PathBuf> {
    let text = findings.text(node, what)?;
    let shown = shortened(&text);
    match beneath(root, &text) {
        Ok(path) if root.join(&path).is_dir() || is_zip(&path) => Some(path),
        Ok(_) => {
            let fix = "name a folder, or a file that ends in .zip";
            findings.wrong(
                "E0117",
                node.line,
                format!("{what} is `{shown}`, which is no folder and no zip file"),
                fix,
            );
            None
        }
        Err(Misplaced::Missing) => {
            let fix = format!(
                "make {shown}, or name the folder that holds the code, from the folder of {}",
                findings.file
            );
            findings.wrong("E0117", node.line, format!("{what} is `{shown}`, which is not there"), fix);
            None
        }
        Err(Misplaced::Outside) => {
            let fix = "move the code into the project's folder";
            findings.wrong(
                "E0221",
                node.line,
                format!("{what} is `{shown}`, which is not in the project's folder"),
                fix,
            );
            None
        }
    }
}

fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-026.
    #[test]
    fn t_026_no_path_leads_out_of_the_project() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap().join("project");
        std::fs::create_dir_all(root.join("src/app")).unwrap();
        std::fs::create_dir_all(outer.path().join("other")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("other"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("src/app", root.join("inner")).unwrap();
        let check = |text: &str, expected: Result<&str, Misplaced>| {
            assert_eq!(beneath(&root, text), expected.map(PathBuf::from), "{text}");
        };
        check(".", Ok(""));
        check("./", Ok(""));
        check("src/app/", Ok("src/app"));
        check("./src/../src/app", Ok("src/app"));
        check("inner", Ok("inner"));
        check("src/none", Err(Misplaced::Missing));
        for outside in ["..", "../other", "src/../../other", "/etc", "link", "link/."] {
            check(outside, Err(Misplaced::Outside));
        }
        check("a\0b", Err(Misplaced::Missing));
    }
}
