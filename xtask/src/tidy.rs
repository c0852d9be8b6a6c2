//! Rules about files and edges that no compiler checks. Each is a function from the tree to offences, with a
//! test that shows it firing.

mod codes;
mod commands;
mod compatibility;
mod documents;
mod edges;
mod sources;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};

/// Something against a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Offence {
    /// Relative to the repository, with a line where there is one: `docs/http.md:12`.
    place: String,
    message: String,
}

impl Offence {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    /// `line` counts from 0, as `enumerate` does.
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{path}:{}", line + 1), message)
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The repository's own files, read once.
#[derive(Default, Debug)]
struct Tree {
    texts: Vec<Text>,
    /// Every file and folder, relative, with `/` between the parts.
    paths: BTreeSet<String>,
}

/// A file that is text.
#[derive(Debug)]
struct Text {
    path: String,
    content: String,
}

impl Tree {
    fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.add_folder(root, "")?;
        tree.texts.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(tree)
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if is_ours(&name) {
                    self.add_folder(&entry.path(), &format!("{path}/"))?;
                    self.paths.insert(path);
                }
                continue;
            }
            // Bytes that are no text (an image, say) are listed and not read. So is a file that vanishes here.
            if let Ok(content) = std::fs::read_to_string(entry.path()) {
                self.texts.push(Text { path: path.clone(), content });
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    /// The texts whose path begins and ends so.
    fn select(&self, prefix: &str, suffix: &str) -> impl Iterator<Item = &Text> {
        self.texts.iter().filter(move |text| text.path.starts_with(prefix) && text.path.ends_with(suffix))
    }

    fn find(&self, path: &str) -> Option<&Text> {
        self.texts.iter().find(|text| text.path == path)
    }
}

/// Whether a folder is written by us rather than made by a tool.
fn is_ours(name: &str) -> bool {
    match name {
        ".cargo" | ".ci" | ".config" => true,
        "target" | "__pycache__" | "node_modules" => false,
        other => !other.starts_with('.'),
    }
}

type Rule = fn(&Tree) -> Vec<Offence>;

const RULES: [Rule; 13] = [
    sources::length,
    sources::module_docs,
    sources::no_mod_rs,
    sources::forbidden_words,
    sources::embedded_python,
    codes::code_without_page,
    codes::page_without_code,
    commands::command_without_page,
    compatibility::tests_of_the_table,
    compatibility::words_without_row,
    documents::trailing_space,
    documents::changelog,
    documents::links,
];

/// Checks every rule on the repository.
///
/// # Errors
/// If there is an offence; then all of them are listed.
pub(crate) fn tidy(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    let mut offences: Vec<Offence> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    offences.extend(edges::forbidden_edges(&edges::read(root)?));
    offences.sort();
    if offences.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = offences.iter().map(|offence| format!("  {offence}")).collect();
    bail!("{} against the rules of the house:\n{}", lines.len(), lines.join("\n"))
}

#[cfg(test)]
fn check(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    let mut tree = Tree::default();
    for (path, content) in files {
        tree.texts.push(Text { path: (*path).to_owned(), content: (*content).to_owned() });
        let parents = path.match_indices('/').map(|(end, _)| path[..end].to_owned());
        tree.paths.extend(parents.chain([(*path).to_owned()]));
    }
    let offences: Vec<String> = rule(&tree).iter().map(Offence::to_string).collect();
    assert_eq!(offences, expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let root = crate::root().unwrap();
        if let Err(offences) = tidy(&root) {
            panic!("{offences}");
        }
    }

    #[test]
    fn what_tools_make_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "target/debug/b.rs", ".git/c", ".ci/run", "python/__pycache__/d.py"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        std::fs::write(folder.path().join("image.png"), [0xff, 0xfe, 0x00]).unwrap();
        let tree = Tree::read(folder.path()).unwrap();
        let texts: Vec<&str> = tree.texts.iter().map(|text| text.path.as_str()).collect();
        assert_eq!(texts, [".ci/run", "src/a.rs"]);
        let paths: Vec<&str> = tree.paths.iter().map(String::as_str).collect();
        assert_eq!(paths, [".ci", ".ci/run", "image.png", "python", "src", "src/a.rs"]);
    }
}
