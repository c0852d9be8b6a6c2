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
}

impl Row {
    fn line(&self) -> String {
        format!("| {} | {} | {} |", self.id, self.what, self.result)
    }
}

const HEAD: &str = "| id | what is tried | result |\n|---|---|---|\n";

fn path() -> PathBuf {
    workspace().join("docs/security-results.md")
}

/// Compares what was found with the part of the table below `heading`; writes that part if that is wished.
pub(crate) fn settle(heading: &str, rows: &[Row]) {
    let found: String = rows.iter().map(|row| row.line() + "\n").collect();
    #[expect(clippy::disallowed_methods, reason = "a test is asked to write its file by whoever runs it")]
    let update = std::env::var_os("INGLE_UPDATE_SECURITY").is_some();
    if update {
        // Tests run beside each other, each with a part of its own.
        let file = File::options().read(true).write(true).open(path()).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let text = fs::read_to_string(path()).unwrap();
        fs::write(path(), replaced(&text, heading, &found)).unwrap();
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

fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let from =
        text.find(&format!("\n## {heading}\n")).map_or("", |at| text.get(at + 1..).unwrap_or_default());
    let end = from.find("\n## ").unwrap_or(from.len());
    from.get(..end).unwrap_or_default()
}

fn replaced(text: &str, heading: &str, rows: &str) -> String {
    let old = part(text, heading);
    let new = format!("## {heading}\n\n{HEAD}{rows}");
    if old.is_empty() { format!("{}\n\n{new}", text.trim_end()) } else { text.replace(old, &new) }
}
