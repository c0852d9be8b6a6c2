//! Rules about docs/compatibility.md: its tests exist, and what an app can say has a row.

use super::{Offence, Text, Tree};

const PAGE: &str = "docs/compatibility.md";
const HOST_KEYS: &str = "crates/apps/src/host_json/known.rs";
const BINDING_TYPES: &str = "crates/apps/src/bindings/known.rs";
/// Rows that say that something works, and so have to show it.
const CLAIMS: [&str; 2] = ["works", "differs"];

/// A line of a table.
struct Row<'a> {
    line: usize,
    what: &'a str,
    claim: &'a str,
    shown: &'a str,
}

/// Each test that the page names is there, and each row that claims something names one.
pub(super) fn tests_of_the_table(tree: &Tree) -> Vec<Offence> {
    let Some(page) = tree.find(PAGE) else { return Vec::new() };
    let mut offences = Vec::new();
    for row in rows(&page.content) {
        let tests: Vec<&str> = quoted(row.shown).filter(|word| is_test(word)).collect();
        let claims = CLAIMS.iter().any(|claim| row.claim.starts_with(claim));
        if claims && tests.is_empty() {
            offences.push(Offence::at(PAGE, row.line, "claims something and names no test that shows it"));
        }
        let missing = tests.into_iter().filter(|test| !exists(tree, test));
        offences.extend(
            missing.map(|test| {
                Offence::at(PAGE, row.line, format!("names the test `{test}`, which is not there"))
            }),
        );
    }
    offences
}

/// Each key of host.json and each type of a binding that apps may use stands in the first column.
pub(super) fn words_without_row(tree: &Tree) -> Vec<Offence> {
    let Some(page) = tree.find(PAGE) else { return Vec::new() };
    let known: Vec<&str> = rows(&page.content).flat_map(|row| quoted(row.what).collect::<Vec<_>>()).collect();
    let has_row = |word: &str| {
        known
            .iter()
            .any(|row| word == *row || word.strip_prefix(row).is_some_and(|rest| rest.starts_with('.')))
    };
    let mut offences = Vec::new();
    for (file, list) in [(HOST_KEYS, "const KEYS"), (BINDING_TYPES, "const TYPES")] {
        let words = tree.find(file).map(|text| words_of(text, list)).unwrap_or_default();
        let missing = words.into_iter().filter(|(_, word)| !has_row(word.trim_end_matches(".*")));
        offences.extend(
            missing.map(|(line, word)| Offence::at(file, line, format!("`{word}` has no row in {PAGE}"))),
        );
    }
    offences
}

fn rows(content: &str) -> impl Iterator<Item = Row<'_>> {
    content.lines().enumerate().filter_map(|(line, text)| {
        let mut cells = text.strip_prefix('|')?.split('|').map(str::trim);
        let (what, claim, shown) = (cells.next()?, cells.next()?, cells.next()?);
        (!what.starts_with("---")).then_some(Row { line, what, claim, shown })
    })
}

/// What stands between back-ticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `room::test`, `scenarios::file::test` (or deeper), `test_file.test_name`.
fn is_test(word: &str) -> bool {
    let is_plain =
        word.chars().all(|character| character.is_ascii_alphanumeric() || "_:.".contains(character));
    is_plain && (word.contains("::") || word.starts_with("test_"))
}

fn exists(tree: &Tree, test: &str) -> bool {
    let has = |text: &Text, head: &str, name: &str| text.content.contains(&format!("{head} {name}("));
    if let Some((file, name)) = test.split_once('.') {
        return tree.find(&format!("python/tests/{file}.py")).is_some_and(|text| has(text, "def", name));
    }
    match test.split("::").collect::<Vec<_>>()[..] {
        ["scenarios", ref modules @ .., name] => {
            let path = format!("crates/ingle/tests/scenarios/{}.rs", modules.join("/"));
            tree.find(&path).is_some_and(|text| has(text, "fn", name))
        }
        [room, name] => tree.select(&format!("crates/{room}/src/"), ".rs").any(|text| has(text, "fn", name)),
        _ => false,
    }
}

/// The texts of a list of words, with their lines.
fn words_of<'a>(text: &'a Text, list: &str) -> Vec<(usize, &'a str)> {
    let lines = text.content.lines().enumerate().skip_while(|(_, line)| !line.contains(list)).skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with("];"));
    lines
        .filter_map(|(number, line)| Some((number, line.trim().strip_prefix('"')?.strip_suffix("\",")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_row_without_its_test_offends() {
        let page = "\
| key | | shown by |
|---|---|---|
| `a` | works | `apps::there`, `scenarios::http::there`, `test_load.test_there` |
| `b` | differs: so | [a page](b.md) |
| `c` | works | `apps::gone`, `scenarios::http::gone`, `test_load.test_gone` |
| `d` | not yet | `FunctionApp` |
";
        let files = [
            (PAGE, page),
            ("crates/apps/src/deep/tests.rs", "fn there() {}"),
            ("crates/ingle/tests/scenarios/http.rs", "fn there(python: &Python) {}"),
            ("python/tests/test_load.py", "    def test_there(self):"),
        ];
        let expected = [
            "docs/compatibility.md:4: claims something and names no test that shows it",
            "docs/compatibility.md:5: names the test `apps::gone`, which is not there",
            "docs/compatibility.md:5: names the test `scenarios::http::gone`, which is not there",
            "docs/compatibility.md:5: names the test `test_load.test_gone`, which is not there",
        ];
        check(tests_of_the_table, &files, &expected);
    }

    #[test]
    fn a_word_without_row_offends() {
        let page =
            "| key | | |\n|---|---|---|\n| `logging`, `functions` | not yet | |\n| `queue` | works | |\n";
        let keys = "const KEYS: &[&str] = &[\n    \"functions\",\n    \"logging.level.*\",\n    \"retry.max\",\n];\n";
        let types = "const SUPPORTED: &[&str] = &[\"x\"];\npub(super) const TYPES: &[&str] = &[\n    \"queue\",\n    \"blob\",\n];\n";
        let expected = [
            "crates/apps/src/host_json/known.rs:4: `retry.max` has no row in docs/compatibility.md",
            "crates/apps/src/bindings/known.rs:4: `blob` has no row in docs/compatibility.md",
        ];
        check(words_without_row, &[(PAGE, page), (HOST_KEYS, keys), (BINDING_TYPES, types)], &expected);
    }
}
