//! The list of all that a box may do on x86_64, compared with the one that was reviewed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::seccomp::conditions::{BASE, EGRESS, WORKER, ZYGOTE};
use crate::seccomp::rules::{Answer, Call, Condition, Section, Test};

/// T-004: what a box may do grows only when somebody has looked at it.
#[test]
fn the_inventory_is_as_reviewed() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/seccomp/inventory.x86_64.txt");
    let found = inventory();
    #[expect(clippy::disallowed_methods, reason = "a test is asked to write its file by whoever runs it")]
    let update = std::env::var_os("INGLE_UPDATE_INVENTORY").is_some();
    if update {
        std::fs::write(&path, &found).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let (reviewed, found): (BTreeSet<&str>, BTreeSet<&str>) =
        (reviewed.lines().collect(), found.lines().collect());
    let grown: Vec<_> = found.difference(&reviewed).collect();
    let gone: Vec<_> = reviewed.difference(&found).collect();
    assert!(
        grown.is_empty() && gone.is_empty(),
        "the system calls of a box have changed.\nnew: {grown:#?}\ngone: {gone:#?}\nEach new line is a wider door for \
         code that nobody trusts: it has to be reviewed as such, with its reason in the list. Then run this test with \
         INGLE_UPDATE_INVENTORY=1 and commit the file with the list."
    );
}

/// Each line says program, answer, call and conditions, so that lines can be compared one by one.
fn inventory() -> String {
    let zygote = [ZYGOTE];
    let programs = [("base", BASE), ("zygote", &zygote[..]), ("worker", &[WORKER]), ("egress", &[EGRESS])];
    let mut text = String::new();
    for (program, sections) in programs {
        for (place, section) in sections.iter().enumerate() {
            let mut lines: Vec<String> = section
                .entries()
                .flat_map(|entry| entry.calls.iter().map(|call| line(section, call, entry.when)))
                .collect();
            lines.sort();
            for line in lines {
                writeln!(text, "{program} {}: {line}", place + 1).unwrap();
            }
        }
    }
    text
}

fn line(section: &Section, call: &Call, when: &[&[Condition]]) -> String {
    let answer = match section.answer {
        Answer::Allow => "allow".to_owned(),
        Answer::Refuse(number) => format!("refuse with error {number}"),
        Answer::Notify => "ask about".to_owned(),
    };
    let name = call.name.strip_prefix("SYS_").unwrap();
    let mut alternatives: Vec<String> = when.iter().map(|conditions| alternative(conditions)).collect();
    alternatives.sort();
    let when =
        if alternatives.is_empty() { String::new() } else { format!(" if {}", alternatives.join(" or ")) };
    format!("{answer} {name}{when}")
}

fn alternative(conditions: &[Condition]) -> String {
    let conditions = conditions.iter().map(|Condition { argument, test }| match test {
        Test::Is(value) => format!("argument {argument} = {value:#x}"),
        Test::IsNot(value) => format!("argument {argument} != {value:#x}"),
        Test::HasBits { mask, value } => format!("argument {argument} & {mask:#x} = {value:#x}"),
    });
    format!("({})", conditions.collect::<Vec<_>>().join(", "))
}
