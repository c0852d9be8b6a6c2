//! `ingle check --fix`: makes the changes that findings carry, where there is only one right change.

use std::collections::BTreeMap;
use std::path::Path;

use ingle_apps::{Requirements, RequirementsSource, json_place};
use ingle_types::problem::{Mend, Problem};

use crate::exit::CommandError;
use crate::files;

/// One change, as it is shown. Values of settings are never among the lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// `host.json:4`.
    pub(crate) place: String,
    pub(crate) before: Option<String>,
    pub(crate) after: String,
}

/// The new contents of files, by path relative to the app, and what is different in them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    files: BTreeMap<String, String>,
    pub(crate) changes: Vec<Change>,
}

impl Plan {
    /// Reads the files that are concerned; writes nothing. `requirements`: those of an app for Azure Functions.
    pub(crate) fn new(root: &Path, problems: &[Problem], requirements: Option<&Requirements>) -> Self {
        let mut plan = Self::default();
        let with_place = || {
            problems
                .iter()
                .filter_map(|problem| Some((problem, problem.file.as_deref()?, problem.mend.as_ref()?)))
        };
        // Those that keep the lines where they are come first.
        for (problem, file, mend) in with_place() {
            if let (Mend::RenameKey { from, to }, Some(line)) = (mend, problem.line) {
                plan.rename(root, (file, line), from, to);
            }
        }
        for (_, file, mend) in with_place() {
            if let Mend::AddMember { text } = mend {
                plan.add_member(root, file, text);
            }
        }
        let mut settings: Vec<&str> = Vec::new();
        for problem in problems {
            if let Some(Mend::AddSetting { name }) = &problem.mend
                && !settings.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                settings.push(name);
            }
        }
        plan.add_settings(root, &settings);
        requirements.into_iter().for_each(|requirements| plan.add_requirement(root, requirements));
        plan
    }

    /// Writes each file as a whole.
    pub(crate) fn write(&self, root: &Path) -> Result<(), CommandError> {
        self.files.iter().try_for_each(|(file, content)| files::replace(&root.join(file), content))
    }

    fn text(&self, root: &Path, file: &str) -> Option<String> {
        self.files.get(file).cloned().or_else(|| files::read(&root.join(file)).ok())
    }

    fn rename(&mut self, root: &Path, (file, line): (&str, u32), from: &str, to: &str) {
        let Some(text) = self.text(root, file) else { return };
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let Some(found) = line.checked_sub(1).and_then(|index| lines.get_mut(index as usize)) else { return };
        let Some(renamed) = rename_key(found, from, to) else { return };
        let change = Change {
            place: format!("{file}:{line}"),
            before: Some(found.trim().to_owned()),
            after: renamed.trim().to_owned(),
        };
        *found = renamed;
        self.put(file, lines.join("\n"), change);
    }

    fn add_member(&mut self, root: &Path, file: &str, member: &str) {
        let Some(text) = self.text(root, file) else { return };
        let Some((head, tail)) = text.split_once('{') else { return };
        let is_last = tail.trim_start().starts_with('}');
        let (comma, tail) = if is_last { ("\n", tail.trim_start()) } else { (",", tail) };
        let change = Change { place: file.to_owned(), before: None, after: member.to_owned() };
        self.put(file, format!("{head}{{\n  {member}{comma}{tail}"), change);
    }

    fn add_settings(&mut self, root: &Path, names: &[&str]) {
        let old = self.text(root, files::SETTINGS);
        let (Some(text), added) = files::with_settings(old.as_deref(), names) else { return };
        for name in added {
            let change = Change {
                place: files::SETTINGS.to_owned(),
                before: None,
                after: format!("\"{name}\": \"\""),
            };
            self.put(files::SETTINGS, text.clone(), change);
        }
    }

    /// The cloud installs what requirements.txt names, and nothing else.
    fn add_requirement(&mut self, root: &Path, requirements: &Requirements) {
        const NEEDED: &str = "azure-functions";
        let is_there = requirements.mentioned.iter().any(|name| name == NEEDED);
        if is_there || requirements.source != RequirementsSource::RequirementsTxt {
            return;
        }
        let Some(mut text) = self.text(root, "requirements.txt") else { return };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let change = Change { place: "requirements.txt".to_owned(), before: None, after: NEEDED.to_owned() };
        self.put("requirements.txt", format!("{text}{NEEDED}\n"), change);
    }

    /// What would no longer be JSON is not written.
    fn put(&mut self, file: &str, text: String, change: Change) {
        if file.ends_with(".json") && json_place::read(&text).is_err() {
            return;
        }
        self.files.insert(file.to_owned(), text);
        self.changes.push(change);
    }
}

/// `"from" :` becomes `"to" :`, if it stands on the line exactly once.
fn rename_key(line: &str, from: &str, to: &str) -> Option<String> {
    let quoted = format!("\"{from}\"");
    let mut keys =
        line.match_indices(&quoted).filter(|(at, _)| line[at + quoted.len()..].trim_start().starts_with(':'));
    let (at, _) = keys.next()?;
    if keys.next().is_some() {
        return None;
    }
    Some(format!("{}\"{to}\"{}", &line[..at], &line[at + quoted.len()..]))
}

#[cfg(test)]
mod tests {
    use ingle_apps::{ReadOptions, resolve};

    use super::*;

    /// Files as `name: content`; the changes as they are shown; what is found again afterwards.
    fn check(files: &[(&str, &str)], changes: &[&str], codes_after: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let look = || {
            let read = ingle_apps::read(folder.path(), &ReadOptions::default()).unwrap();
            let app = resolve(&read, read.declared.clone(), Vec::new());
            (read, app.problems)
        };
        let (read, problems) = look();
        let plan = Plan::new(folder.path(), &problems, Some(&read.requirements));
        let shown: Vec<String> = plan
            .changes
            .iter()
            .map(|change| {
                let before = change.before.as_ref().map(|before| format!(" - {before}")).unwrap_or_default();
                format!("{}{before} + {}", change.place, change.after)
            })
            .collect();
        assert_eq!(shown, changes);
        plan.write(folder.path()).unwrap();
        let codes: Vec<String> = look().1.into_iter().map(|problem| problem.code).collect();
        assert_eq!(codes, codes_after);
        let (read, problems) = look();
        assert_eq!(
            Plan::new(folder.path(), &problems, Some(&read.requirements)).changes,
            [],
            "twice is once"
        );
    }

    const SCRIPT: (&str, &str) = ("f/__init__.py", "def main(m): ...\n");

    #[test]
    fn a_misspelled_key_gets_its_name() {
        let host = "{\n  // kept\n  \"version\": \"2.0\",\n  \"functionTimout\": \"00:01:00\"\n}";
        let json = r#"{"bindings": [{"type": "queueTrigger", "direction": "in", "name": "m",
            "queueName": "work", "dataTyp": "string"}]}"#;
        check(
            &[("host.json", host), SCRIPT, ("f/function.json", json)],
            &[
                "host.json:4 - \"functionTimout\": \"00:01:00\" + \"functionTimeout\": \"00:01:00\"",
                "f/function.json:2 - \"queueName\": \"work\", \"dataTyp\": \"string\"}]} + \"queueName\": \"work\", \"dataType\": \"string\"}]}",
            ],
            &["E0112"],
        );
    }

    #[test]
    fn what_is_missing_is_added() {
        let json = r#"{"bindings": [{"type": "queueTrigger", "direction": "in", "name": "m",
            "queueName": "work", "connection": "Jobs"}]}"#;
        check(
            &[
                ("host.json", "{}"),
                ("requirements.txt", "requests"),
                ("local.settings.json", r#"{"IsEncrypted": false, "Values": {"TOKEN": "secret"}}"#),
                SCRIPT,
                ("f/function.json", json),
            ],
            &[
                "host.json + \"version\": \"2.0\"",
                "local.settings.json + \"Jobs\": \"\"",
                "requirements.txt + azure-functions",
            ],
            &[],
        );
    }

    #[test]
    fn a_key_is_renamed_only_when_it_is_the_only_one() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(rename_key(line, "a", "b").as_deref(), expected, "{line}");
        };
        check("  \"a\" : \"a\",", Some("  \"b\" : \"a\","));
        check("{\"a\": {\"a\": 1}}", None);
        check("\"x\": \"a\"", None);
    }
}
