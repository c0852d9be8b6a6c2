//! Every error code that a user can meet has a page, and every page a code.

use std::collections::BTreeSet;

use super::{Offence, Tree};

const PAGES: &str = "docs/errors/";

/// Pages that are written before the code that needs them. Take a code out when it is first used.
const WRITTEN_AHEAD: &[&str] = &[];

/// A code in the sources has a page.
pub(super) fn code_without_page(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for text in tree.select("crates/", ".rs").chain(tree.select("python/", ".py")) {
        for (number, line) in text.content.lines().enumerate() {
            let lacking = codes(line).filter(|code| !tree.paths.contains(&page(code)));
            offences.extend(lacking.map(|code| {
                Offence::at(&text.path, number, format!("{code} has no page; write {}", page(code)))
            }));
        }
    }
    offences
}

/// A page has its code as title, stands in the index, and its code is in the sources.
pub(super) fn page_without_code(tree: &Tree) -> Vec<Offence> {
    let sources = tree.select("crates/", ".rs").chain(tree.select("python/", ".py"));
    let used: BTreeSet<&str> = sources.flat_map(|text| codes(&text.content)).collect();
    let index = tree.find("docs/errors/README.md").map_or("", |text| text.content.as_str());
    let mut offences = Vec::new();
    for text in tree.select(PAGES, ".md") {
        let name = text.path[PAGES.len()..].trim_end_matches(".md");
        if name == "README" {
            continue;
        }
        if codes(name).next() != Some(name) {
            offences.push(Offence::new(&text.path, "is not named after a code such as E0201"));
            continue;
        }
        if !text.content.starts_with(&format!("# {name}: ")) {
            offences.push(Offence::at(&text.path, 0, format!("does not begin with `# {name}: `")));
        }
        if !index.contains(&format!("({name}.md)")) {
            offences.push(Offence::new(&text.path, "is not in the index docs/errors/README.md"));
        }
        match (used.contains(name), WRITTEN_AHEAD.contains(&name)) {
            (false, false) => offences.push(Offence::new(&text.path, "no source uses this code")),
            (true, true) => {
                offences.push(Offence::new(&text.path, "is in use: take it out of WRITTEN_AHEAD"));
            }
            (true, false) | (false, true) => {}
        }
    }
    offences
}

fn page(code: &str) -> String {
    format!("{PAGES}{code}.md")
}

/// The codes in a text: `E0` and three digits, not inside a longer word.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = text.as_bytes();
    text.match_indices("E0").filter_map(move |(start, _)| {
        let code = text.get(start..start + 5)?;
        let is_code = code[2..].bytes().all(|byte| byte.is_ascii_digit());
        let stands_alone =
            !is_word(start.checked_sub(1).and_then(|at| bytes.get(at))) && !is_word(bytes.get(start + 5));
        (is_code && stands_alone).then_some(code)
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn codes_are_found_as_whole_words() {
        let text = "\"E0201\" (E0202), E0203. NOTE0204 E02055 E0x06 E02é7 1E0208 E0299";
        assert_eq!(codes(text).collect::<Vec<_>>(), ["E0201", "E0202", "E0203", "E0299"]);
        assert_eq!(codes("E020").count(), 0);
    }

    #[test]
    fn a_code_without_page_offends() {
        let files = [
            ("crates/a/src/lib.rs", "//! A.\nconst CODE: &str = \"E0999\";\n"),
            ("python/ingle_worker/b.py", "CODE = 'E0998'\n"),
            ("docs/errors/E0998.md", "# E0998: b\n"),
        ];
        let expected = ["crates/a/src/lib.rs:2: E0999 has no page; write docs/errors/E0999.md"];
        check(code_without_page, &files, &expected);
    }

    #[test]
    fn a_page_without_code_title_or_entry_in_the_index_offends() {
        let files = [
            ("crates/a/src/lib.rs", "// E0901 E0902"),
            ("docs/errors/README.md", "[E0901](E0901.md)"),
            ("docs/errors/E0901.md", "# E0901: fine\n"),
            ("docs/errors/E0902.md", "# Something\n"),
            ("docs/errors/E0903.md", "# E0903: unused\n"),
            ("docs/errors/notes.md", ""),
        ];
        let expected = [
            "docs/errors/E0902.md:1: does not begin with `# E0902: `",
            "docs/errors/E0902.md: is not in the index docs/errors/README.md",
            "docs/errors/E0903.md: is not in the index docs/errors/README.md",
            "docs/errors/E0903.md: no source uses this code",
            "docs/errors/notes.md: is not named after a code such as E0201",
        ];
        check(page_without_code, &files, &expected);
    }
}
