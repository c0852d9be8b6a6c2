//! What reading a project finds besides functions: problems, and what has no effect here. And values of the kinds that
//! settings have, with a finding for every other.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use ingle_types::problem::{Problem, Severity};

use super::Ignored;
use super::node::{Kind, Member, Node};

/// Names that are listed before the rest is only counted.
const SUBJECTS_SHOWN: usize = 3;
/// Findings that are listed; nobody reads more, and each new one is compared with all.
const PROBLEMS_MAX: usize = 200;
const GROUPS_MAX: usize = 1000;

/// Collects while a project is read.
pub(super) struct Findings {
    /// The file, relative to the project's folder.
    pub(super) file: String,
    /// It, if that is another than the project's own.
    within: Option<PathBuf>,
    /// The function that is being read.
    pub(super) function: Option<String>,
    problems: Vec<Problem>,
    /// With those that are not listed.
    errors: usize,
    groups: Vec<Group>,
    groups_left_out: usize,
}

/// The same thing, ignored in several places.
struct Group {
    /// Another than the project's own.
    file: Option<PathBuf>,
    line: u32,
    what: String,
    /// The first of them.
    subjects: Vec<String>,
    /// The last one, as a subject comes with all that is said about it.
    last: String,
    count: usize,
    why: String,
    is_missing: bool,
}

impl Findings {
    pub(super) fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            within: None,
            function: None,
            problems: Vec::new(),
            errors: 0,
            groups: Vec::new(),
            groups_left_out: 0,
        }
    }

    /// Problems in the order of their lines, and what is ignored, in the same order.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Ignored>) {
        self.problems.sort_by_key(|problem| problem.line);
        self.groups.sort_by_key(|group| group.line);
        let mut ignored: Vec<Ignored> = self.groups.iter().map(Group::shown).collect();
        if let Some(last) = ignored.last().filter(|_| self.groups_left_out > 0) {
            let what = format!("{} more", self.groups_left_out);
            ignored.push(Ignored {
                file: None,
                line: last.line,
                what,
                why: "the list is too long".to_owned(),
                is_missing: false,
            });
        }
        if let Some(line) = self.problems.last().and_then(|last| last.line)
            && self.errors > self.listed()
        {
            let what = format!("there are {} more errors", self.errors - self.listed());
            let fix = "mend those above first";
            self.problems.push(Problem::error("E0116", what).at(self.file, Some(line)).fix(fix));
        }
        (self.problems, ignored)
    }

    /// Finds in another file of the project than its own.
    pub(super) fn within<Found>(
        &mut self,
        file: Option<&str>,
        find: impl FnOnce(&mut Self) -> Found,
    ) -> Found {
        let Some(file) = file else { return find(self) };
        let own = std::mem::replace(&mut self.file, file.to_owned());
        let before = self.within.replace(PathBuf::from(file));
        let found = find(self);
        (self.file, self.within) = (own, before);
        found
    }

    /// Errors that are listed.
    fn listed(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// Something that has no effect, and of which nothing is missing.
    pub(super) fn ignore(&mut self, line: u32, what: impl Into<String>, why: impl Into<String>) {
        self.add_once(Group::one(line, what, why));
    }

    /// Something that starts, guards or is a function elsewhere, and does not here.
    pub(super) fn missing(&mut self, line: u32, what: impl Into<String>, why: impl Into<String>) {
        self.add_once(Group { is_missing: true, ..Group::one(line, what, why) });
    }

    /// Something in another file than the project's own that has no effect.
    pub(super) fn ignore_in(&mut self, file: &str, line: u32, what: String, why: &str) {
        self.add(Group { file: Some(PathBuf::from(file)), ..Group::one(line, what, why) });
    }

    /// Something in another file than the project's own that is missing here.
    pub(super) fn missing_in(&mut self, file: &str, line: u32, what: String, why: &str) {
        self.add(Group { file: Some(PathBuf::from(file)), is_missing: true, ..Group::one(line, what, why) });
    }

    /// How much was missing so far.
    pub(super) fn missing_count(&self) -> usize {
        self.groups.iter().filter(|group| group.is_missing).map(|group| group.count.max(1)).sum()
    }

    fn add_once(&mut self, group: Group) {
        let is_same = |one: &Group| (one.line, &one.what, &one.why) == (group.line, &group.what, &group.why);
        if !self.groups.iter().any(is_same) {
            self.add(Group { file: self.within.clone(), ..group });
        }
    }

    fn add(&mut self, group: Group) {
        if self.groups.len() < GROUPS_MAX {
            self.groups.push(group);
        } else {
            self.groups_left_out += 1;
        }
    }

    /// A function that is not served; without a word if it was said why.
    pub(super) fn left_out(&mut self, line: u32, id: &str) {
        let what = format!("the function {id}");
        if !self.groups.iter().any(|group| group.line == line && group.what == what) {
            self.missing(line, what, "what it needs is not known here");
        }
    }

    /// Something that has no effect, and stands in several places: `Policies` of this function and of that.
    pub(super) fn ignore_of(&mut self, line: u32, what: &str, subject: &str, why: &str) {
        self.add_of(Group::one(line, what, why), subject);
    }

    /// Something that stands in several places, and is missing in each.
    pub(super) fn missing_of(&mut self, line: u32, what: &str, subject: &str, why: &str) {
        self.add_of(Group { is_missing: true, ..Group::one(line, what, why) }, subject);
    }

    fn add_of(&mut self, new: Group, subject: &str) {
        let own = self.within.clone();
        let same = |group: &&mut Group| {
            !group.subjects.is_empty()
                && (&group.what, &group.why, group.is_missing) == (&new.what, &new.why, new.is_missing)
                && group.file == own
        };
        match self.groups.iter_mut().find(same) {
            Some(group) if group.last == subject => {}
            Some(group) => {
                group.line = group.line.min(new.line);
                group.count += 1;
                subject.clone_into(&mut group.last);
                if group.subjects.len() < SUBJECTS_SHOWN {
                    group.subjects.push(subject.to_owned());
                }
            }
            None => {
                let last = subject.to_owned();
                let file = self.within.clone();
                self.add(Group { file, subjects: vec![last.clone()], last, count: 1, ..new });
            }
        }
    }

    /// Something that is wrong; the function that is being read does not run.
    pub(super) fn wrong(&mut self, code: &str, line: u32, what: impl Into<String>, fix: impl Into<String>) {
        let mut problem = Problem::error(code, what).at(self.file.clone(), Some(line)).fix(fix);
        problem.function.clone_from(&self.function);
        if self.problems.contains(&problem) {
            return;
        }
        self.errors += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// Something that keeps nothing from running, and that somebody should mend.
    pub(super) fn odd(&mut self, code: &str, line: u32, what: impl Into<String>, fix: impl Into<String>) {
        let problem = Problem::warning(code, what).at(self.file.clone(), Some(line)).fix(fix);
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A value of another kind than `what` takes.
    pub(super) fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        match &node.kind {
            Kind::Unknown(unknown) if unknown.is_error => {
                let fix = "write a value, a fallback behind a comma, or set what it names";
                self.wrong("E0118", node.line, format!("{what} has no value: {}", unknown.why), fix);
            }
            Kind::Unknown(unknown) => self.ignore(node.line, what, unknown.why.clone()),
            _ => {
                let found = format!("{what} is {}", node.describe());
                self.wrong("E0116", node.line, found, format!("write {wanted}"));
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match node.scalar() {
            Some(text) if !node.is_null() => Some(text.to_owned()),
            _ => {
                self.wrong_kind(node, what, "a text");
                None
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, what: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(text) = node.scalar() else {
            self.wrong_kind(node, what, "a whole number");
            return None;
        };
        let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten().filter(|number| range.contains(number));
        if number.is_none() {
            let fix = format!("write a whole number from {} to {}", range.start(), range.end());
            self.wrong("E0116", node.line, format!("{what} is `{}`", shortened(text)), fix);
        }
        number
    }

    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let flag = node.flag();
        if flag.is_none() {
            self.wrong_kind(node, what, "true or false");
        }
        flag
    }

    /// The members of a map; none, with a finding, if it is something else. A value that is empty is an empty map.
    pub(super) fn members<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Member] {
        if !matches!(node.kind, Kind::Map(_)) && !node.is_null() {
            self.wrong_kind(node, what, "a map of keys and values");
        }
        node.members()
    }

    /// The items of a list; none, with a finding, if it is something else.
    pub(super) fn items<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        if !matches!(node.kind, Kind::List(_)) && !node.is_null() {
            self.wrong_kind(node, what, "a list");
        }
        node.items()
    }

    /// One text, or a list of them.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| self.text(item, what)).collect(),
            _ => self.text(node, what).into_iter().collect(),
        }
    }

    /// A member that is optional, read by one of the functions above.
    pub(super) fn optional<Value>(
        &mut self,
        node: &Node,
        key: &str,
        read: impl FnOnce(&mut Self, &Node, &str) -> Option<Value>,
    ) -> Option<Value> {
        let value = node.get(key)?;
        read(self, value, key)
    }
}

impl Group {
    fn one(line: u32, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            file: None,
            line,
            what: what.into(),
            subjects: Vec::new(),
            last: String::new(),
            count: 0,
            why: why.into(),
            is_missing: false,
        }
    }

    fn shown(&self) -> Ignored {
        let shown = self.subjects.join(", ");
        let what = match self.count - self.subjects.len() {
            _ if self.subjects.is_empty() => self.what.clone(),
            0 => format!("{} of {shown}", self.what),
            more => format!("{} of {shown} and {more} more", self.what),
        };
        let (file, why) = (self.file.clone(), self.why.clone());
        Ignored { file, line: self.line, what, why, is_missing: self.is_missing }
    }
}

/// A value for a message: files may hold anything.
pub(super) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let mut short: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}
