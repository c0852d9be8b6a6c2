//! Rules about Rust sources, and about the Python that is embedded in the binary.

use super::{Offence, Text, Tree};

/// Longer files are read by nobody. Tests at the foot do not count.
const LINES_MAX: usize = 500;

/// Spelled in two halves, so that this file does not offend against itself.
const FORBIDDEN: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

const SHIM_TABLE: &str = "crates/worker/src/shim.rs";
const SHIM_FOLDER: &str = "python/ingle_worker/";

fn rust(tree: &Tree) -> impl Iterator<Item = &Text> {
    tree.select("crates/", ".rs").chain(tree.select("xtask/", ".rs"))
}

/// Files of tests may be as long as their stories.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// A file has at most 500 lines before its tests.
pub(super) fn length(tree: &Tree) -> Vec<Offence> {
    let own = rust(tree).filter(|text| !is_test(&text.path));
    let long = own.map(|text| (text, lines_before_tests(&text.content)));
    long.filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(text, lines)| {
            Offence::new(&text.path, format!("{lines} lines before its tests, the limit is {LINES_MAX}"))
        })
        .collect()
}

/// The tests begin at the `#[cfg(test)]` that stands over a module with a body.
fn lines_before_tests(content: &str) -> usize {
    let lines: Vec<&str> = content.lines().collect();
    let starts_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(starts_tests).unwrap_or(lines.len())
}

/// A file begins by saying what it is for.
pub(super) fn module_docs(tree: &Tree) -> Vec<Offence> {
    let silent = rust(tree).filter(|text| !text.content.trim_start().starts_with("//!"));
    silent.map(|text| Offence::at(&text.path, 0, "does not begin with `//!` and what it is for")).collect()
}

/// `name.rs` and not `name/mod.rs`: twenty tabs with one name help nobody.
pub(super) fn no_mod_rs(tree: &Tree) -> Vec<Offence> {
    let found = rust(tree).filter(|text| text.path.ends_with("/mod.rs"));
    found.map(|text| Offence::new(&text.path, "is named `mod.rs`; name it after its folder")).collect()
}

/// No placeholders and no left-over printing.
pub(super) fn forbidden_words(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for text in rust(tree) {
        for (number, line) in text.content.lines().enumerate() {
            let found = FORBIDDEN.iter().filter(|word| line.contains(**word));
            offences.extend(found.map(|word| Offence::at(&text.path, number, format!("has `{word}`"))));
        }
    }
    offences
}

/// Each file of the Python worker is in the table of what the binary carries; a missing one would be noticed
/// only on the machine of a user.
pub(super) fn embedded_python(tree: &Tree) -> Vec<Offence> {
    let Some(table) = tree.find(SHIM_TABLE) else {
        return Vec::new();
    };
    let missing = tree.select(SHIM_FOLDER, ".py").filter(|text| {
        let name = &text.path[SHIM_FOLDER.len()..];
        let endings = [format!("\"{name}\""), format!("/{name}\"")];
        !endings.iter().any(|ending| table.content.contains(ending.as_str()))
    });
    missing.map(|text| Offence::new(&text.path, format!("is not embedded by {SHIM_TABLE}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_long_file_offends_and_its_tests_do_not_count() {
        let long = "line\n".repeat(501);
        let expected = ["crates/a/src/b.rs: 501 lines before its tests, the limit is 500"];
        check(length, &[("crates/a/src/b.rs", &long)], &expected);
        let tested = format!("#[cfg(test)]\nfn helper() {{}}\n#[cfg(test)]\nmod tests {{\n{long}");
        check(length, &[("crates/a/src/b.rs", &tested)], &[]);
        let excuse = format!("#[cfg(test)]\nmod tests;\n{long}");
        let expected = ["crates/a/src/b.rs: 503 lines before its tests, the limit is 500"];
        check(length, &[("crates/a/src/b.rs", &excuse)], &expected);
        check(length, &[("crates/a/tests/b.rs", &long), ("crates/a/src/b/tests.rs", &long)], &[]);
    }

    #[test]
    fn a_file_without_module_docs_offends() {
        let expected = ["crates/a/src/lib.rs:1: does not begin with `//!` and what it is for"];
        check(module_docs, &[("crates/a/src/lib.rs", "/// Docs of an item.\nfn f() {}\n")], &expected);
        check(module_docs, &[("xtask/src/main.rs", "//! Chores.\n")], &[]);
    }

    #[test]
    fn a_mod_rs_offends() {
        let files = [("crates/a/src/b/mod.rs", "//! B."), ("crates/a/src/mod.rs.md", "")];
        check(no_mod_rs, &files, &["crates/a/src/b/mod.rs: is named `mod.rs`; name it after its folder"]);
    }

    #[test]
    fn placeholders_offend() {
        for word in FORBIDDEN {
            let content = format!("//! A.\nfn f() {{ {word}) }}\n");
            let expected = format!("crates/a/src/lib.rs:2: has `{word}`");
            check(forbidden_words, &[("crates/a/src/lib.rs", &content)], &[&expected]);
        }
        check(forbidden_words, &[("crates/a/src/lib.rs", "// a todo without a call\n")], &[]);
    }

    #[test]
    fn a_python_file_that_is_not_embedded_offends() {
        let table = "include_str!(\"../../../python/ingle_worker/frames.py\")";
        let files = [
            (SHIM_TABLE, table),
            ("python/ingle_worker/frames.py", ""),
            ("python/ingle_worker/names.py", ""),
            ("python/tests/case.py", ""),
        ];
        let expected = ["python/ingle_worker/names.py: is not embedded by crates/worker/src/shim.rs"];
        check(embedded_python, &files, &expected);
        check(embedded_python, &[("python/ingle_worker/frames.py", "")], &[]);
    }
}
