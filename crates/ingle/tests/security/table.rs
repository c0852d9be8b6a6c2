//! The table of results in the documentation, compared with what was found, or written anew.

use std::fs::{self, File};
use std::path::PathBuf;

use ingle_testkit::workspace;
use rustix::fs::{FlockOperation, flock};

/// One attack and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) result: String,
    /// Why that is not what came of it in the class that is compared with.
    pub(crate) why: &'static str,
}

impl Row {
    pub(crate) fn new(id: &'static str, what: impl Into<String>, result: impl Into<String>) -> Self {
        Self { id, what: what.into(), result: result.into(), why: "" }
    }

    fn line(&self, has_reasons: bool) -> String {
        let line = format!("| {} | {} | {} |", self.id, self.what, self.result);
        if has_reasons { format!("{line} {} |", self.why) } else { line }
    }
}

const HEAD: &str = "| id | what is tried | result |\n|---|---|---|\n";
const HEAD_WITH_REASONS: &str =
    "| id | what is tried | result | why it is not as in a box |\n|---|---|---|---|\n";

fn path() -> PathBuf {
    workspace().join("docs/security-results.md")
}

/// Compares what was found with the part of the table below `heading`; writes that part if that is wished.
pub(crate) fn settle(heading: &str, rows: &[Row]) {
    let has_reasons = rows.iter().any(|row| !row.why.is_empty());
    let found: String = rows.iter().map(|row| row.line(has_reasons) + "\n").collect();
    #[expect(clippy::disallowed_methods, reason = "a test is asked to write its file by whoever runs it")]
    let update = std::env::var_os("INGLE_UPDATE_SECURITY").is_some();
    if update {
        // Tests run beside each other, each with a part of its own.
        let file = File::options().read(true).write(true).open(path()).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let text = fs::read_to_string(path()).unwrap();
        let head = if has_reasons { HEAD_WITH_REASONS } else { HEAD };
        fs::write(path(), replaced(&text, heading, &format!("{head}{found}"))).unwrap();
        return;
    }
    let text = fs::read_to_string(path()).unwrap();
    let told = part(&text, heading);
    let (told, found): (Vec<&str>, Vec<&str>) = (told.lines().collect(), found.lines().collect());
    let new: Vec<_> = found.iter().filter(|line| !told.contains(line)).collect();
    let gone: Vec<_> = told.iter().filter(|line| line.starts_with("| T-") && !found.contains(line)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "what came of the attacks is not what docs/security-results.md tells below \"{heading}\".\nfound: {new:#?}\n\
         told: {gone:#?}\nA result that got worse is a hole. If it is as it should be, run this test with \
         INGLE_UPDATE_SECURITY=1 and commit the file."
    );
}

/// Compares what was found with what is told below another heading: nothing may be left out, and whatever came out otherwise
/// has its reason.
pub(crate) fn compare(heading: &str, rows: &[Row]) {
    let file = File::open(path()).unwrap();
    flock(&file, FlockOperation::LockShared).unwrap();
    let text = fs::read_to_string(path()).unwrap();
    let others = part(&text, heading).lines().filter(|line| line.starts_with("| T-"));
    let cells = |line: &str| line.split(" | ").map(|cell| cell.trim_matches([' ', '|']).to_owned()).collect();
    let others: Vec<Vec<String>> = others.map(cells).collect();
    assert!(!others.is_empty(), "there is nothing below \"{heading}\" to compare with");
    for other in &others {
        let [id, what, result, ..] = &other[..] else { panic!("no row: {other:?}") };
        let own = rows.iter().find(|row| row.id == id && row.what == *what);
        let own = own.unwrap_or_else(|| panic!("{id} is not tried here: {what}"));
        let differs = own.result != *result;
        assert_eq!(differs, !own.why.is_empty(), "{own:?} against {other:?}: a difference has a reason");
    }
    for row in rows {
        let is_known = others.iter().any(|other| other[0] == row.id && other[1] == row.what);
        assert!(is_known, "{row:?} is not tried below \"{heading}\"");
    }
}

fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let from =
        text.find(&format!("\n## {heading}\n")).map_or("", |at| text.get(at + 1..).unwrap_or_default());
    let end = from.find("\n## ").unwrap_or(from.len());
    from.get(..end).unwrap_or_default()
}

fn replaced(text: &str, heading: &str, rows: &str) -> String {
    let old = part(text, heading);
    let new = format!("## {heading}\n\n{rows}");
    if old.is_empty() { format!("{}\n\n{new}", text.trim_end()) } else { text.replace(old, &new) }
}
