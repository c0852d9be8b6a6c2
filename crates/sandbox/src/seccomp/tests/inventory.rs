//! The lists of all that a box may do, one for each architecture, compared with those that were reviewed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

#[cfg(target_arch = "x86_64")]
use crate::seccomp::allowed::{LEGACY, LEGACY_OF_AARCH64};
use crate::seccomp::conditions::{BASE, EGRESS, GVISOR, WORKER, ZYGOTE};
#[cfg(target_arch = "x86_64")]
use crate::seccomp::conditions::{LEGACY_ACTING_FILES, LEGACY_CONDITIONAL};
use crate::seccomp::rules::{Answer, Call, Condition, Entry, Section, Test};

/// A section as it is on one architecture.
type Listed = (Answer, Vec<&'static Entry>);

/// T-004: what a box may do grows only when somebody has looked at it.
#[test]
fn the_inventory_is_as_reviewed() {
    check(std::env::consts::ARCH, &listed(BASE));
}

/// T-004: what it may do on the other architecture, too, by whoever changes it on this one.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_inventory_of_aarch64_is_as_reviewed() {
    let older: BTreeSet<&str> = [LEGACY, LEGACY_CONDITIONAL, LEGACY_ACTING_FILES]
        .into_iter()
        .flatten()
        .flat_map(|entry| entry.calls.iter().map(|call| call.name))
        .collect();
    let mut base = listed(BASE);
    for (_, entries) in &mut base {
        entries.retain(|entry| !entry.calls.iter().any(|call| older.contains(call.name)));
    }
    // What has no conditions comes last.
    base.last_mut().unwrap().1.extend(LEGACY_OF_AARCH64);
    check("aarch64", &base);
}

fn check(architecture: &str, base: &[Listed]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("src/seccomp/inventory.{architecture}.txt"));
    let found = inventory(base);
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
        "the system calls of a box on {architecture} have changed.\nnew: {grown:#?}\ngone: {gone:#?}\nEach new line is a \
         wider door for code that nobody trusts: it has to be reviewed as such, with its reason in the list. Then run this \
         test with INGLE_UPDATE_INVENTORY=1 and commit the file with the list."
    );
}

fn listed(sections: &[Section]) -> Vec<Listed> {
    sections.iter().map(|section| (section.answer, section.entries().collect())).collect()
}

/// Each line says program, answer, call and conditions, so that lines can be compared one by one.
fn inventory(base: &[Listed]) -> String {
    let programs = [
        ("base", base.to_vec()),
        ("zygote", listed(&[ZYGOTE])),
        ("worker", listed(&[WORKER])),
        ("egress", listed(&[EGRESS])),
        ("gvisor", listed(GVISOR)),
    ];
    let mut text = String::new();
    for (program, sections) in programs {
        for (place, (answer, entries)) in sections.iter().enumerate() {
            let mut lines: Vec<String> = entries
                .iter()
                .flat_map(|entry| entry.calls.iter().map(|call| line(*answer, call, entry.when)))
                .collect();
            lines.sort();
            for line in lines {
                writeln!(text, "{program} {}: {line}", place + 1).unwrap();
            }
        }
    }
    text
}

fn line(answer: Answer, call: &Call, when: &[&[Condition]]) -> String {
    let answer = match answer {
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
        Test::IsNull => format!("argument {argument} is null"),
        Test::HasBits { mask, value } => format!("argument {argument} & {mask:#x} = {value:#x}"),
    });
    format!("({})", conditions.collect::<Vec<_>>().join(", "))
}
