//! The properties of one binding: found without regard to case, settings filled in, every finding at its place.

use ingle_types::account::Account;
use ingle_types::expression::{Template, fill_settings};
use ingle_types::problem::{Mend, Problem};
use ingle_types::spec::DeclaredFunction;
use serde_json::{Map, Value};

use super::Reported;
use crate::folder::{AppFolder, place};
use crate::host_json::rename;
use crate::json_place::{Kind, Node};
use crate::resolve::at_function;
use crate::suggest::{correction, did_you_mean, nearest};

const WHOLE: &str = "write a whole number from 0";

pub(super) struct Properties<'a> {
    folder: &'a AppFolder,
    declared: &'a DeclaredFunction,
    object: &'a Map<String, Value>,
    /// The binding in function.json, for lines; v2 has none.
    node: Option<&'a Node>,
    problems: &'a mut Vec<Problem>,
    /// Keys that have been asked for.
    used: Vec<String>,
    /// Where the data of the binding are, once its connection has been read.
    pub(super) account: Account,
}

impl<'a> Properties<'a> {
    pub(super) fn new(
        folder: &'a AppFolder,
        declared: &'a DeclaredFunction,
        index: usize,
        object: &'a Map<String, Value>,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        let bindings = folder.places.get(&declared.name).and_then(|root| root.get("bindings"));
        let node = match bindings.map(|node| &node.kind) {
            Some(Kind::List(items)) => items.get(index),
            _ => None,
        };
        Self { folder, declared, object, node, problems, used: Vec::new(), account: Account::Embedded }
    }

    pub(super) fn function(&self) -> &'a str {
        &self.declared.name
    }

    /// An app setting; `None` if it is empty.
    pub(super) fn setting(&self, name: &str) -> Option<&'a str> {
        self.folder.setting(name).filter(|value| !value.trim().is_empty())
    }

    /// An app setting as it is, also an empty one.
    pub(super) fn raw_setting(&self, name: &str) -> Option<&'a str> {
        self.folder.setting(name)
    }

    /// Puts a problem where the property stands: in function.json, or at the function.
    fn at(&self, problem: Problem, key: &str) -> Problem {
        let problem = at_function(problem, self.declared);
        match self.node {
            Some(node) => {
                let file = format!("{}/function.json", self.declared.directory);
                place(problem, &file, node.get(key).unwrap_or(node))
            }
            None => problem,
        }
    }

    pub(super) fn error(
        &mut self,
        code: &str,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Reported {
        let problem = self.at(Problem::error(code, message), key).fix(fix);
        self.problems.push(problem);
        Reported
    }

    fn value(&mut self, key: &str) -> Option<&'a Value> {
        self.used.push(key.to_owned());
        let (_, value) = self.object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(value).filter(|value| !value.is_null())
    }

    /// Marks keys that are accepted without effect here.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        self.used.extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// A text as it is written.
    pub(super) fn plain_text(&mut self, key: &str) -> Result<Option<String>, Reported> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                let what = describe(other);
                Err(self.error(
                    "E0232",
                    key,
                    format!("{key} is {what} instead of a text"),
                    "write it in quotes",
                ))
            }
        }
    }

    /// A text with each `%NAME%` filled in.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Reported> {
        let Some(text) = self.plain_text(key)? else { return Ok(None) };
        match fill_settings(&text, |name| self.folder.setting(name).map(str::to_owned)) {
            Ok(filled) => Ok(Some(filled)),
            Err(missing) => {
                let name = missing.0;
                let meant = did_you_mean(nearest(&name, self.folder.setting_names()));
                let message = format!("{key} needs the app setting {name}, which is not set{meant}");
                let fix = format!("add {name} to Values in local.settings.json, or to the environment");
                let reported = self.error("E0220", key, message, fix);
                self.mend_last_with_setting(name, &meant);
                Err(reported)
            }
        }
    }

    /// As [`Self::text`], but it must be there and not empty.
    pub(super) fn required_text(&mut self, key: &str) -> Result<String, Reported> {
        match self.text(key)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) => {
                Err(self.error("E0232", key, format!("{key} is empty"), format!("give {key} a value")))
            }
            None => {
                let message = format!("a binding of {} has no {key}", self.function());
                Err(self.error("E0232", key, message, format!("add {key} to it")))
            }
        }
    }

    /// A text with `{name}` expressions.
    pub(super) fn template(&mut self, key: &str) -> Result<Option<Template>, Reported> {
        match self.text(key)? {
            Some(text) => self.parse(key, &text).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn parse(&mut self, key: &str, text: &str) -> Result<Template, Reported> {
        let fix = "correct the expression; without one, write braces twice: {{ and }}";
        Template::parse(text).map_err(|error| self.error("E0230", key, format!("{key}: {error}"), fix))
    }

    /// A whole number, also written as a text.
    pub(super) fn whole_number(&mut self, key: &str) -> Result<Option<u32>, Reported> {
        if let Some(Value::Number(number)) = self.value(key) {
            let found = number.as_u64().and_then(|number| u32::try_from(number).ok());
            return match found {
                Some(number) => Ok(Some(number)),
                None => Err(self.error(
                    "E0232",
                    key,
                    format!("{key} is {number} instead of a whole number"),
                    WHOLE,
                )),
            };
        }
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                Err(self.error("E0232", key, format!("{key} is `{text}` instead of a whole number"), WHOLE))
            }
        }
    }

    /// True or false, also written as a text in any case.
    pub(super) fn truth(&mut self, key: &str) -> Result<Option<bool>, Reported> {
        if let Some(Value::Bool(truth)) = self.value(key) {
            return Ok(Some(*truth));
        }
        Ok(self.one_of(key, &["true", "false"])?.map(|word| word == "true"))
    }

    pub(super) fn warn(&mut self, code: &str, key: &str, message: String, fix: &str) {
        let problem = self.at(Problem::warning(code, message), key).fix(fix);
        self.problems.push(problem);
    }

    /// One of a few words, in any case.
    pub(super) fn one_of(
        &mut self,
        key: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Reported> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match words.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
            Some(word) => Ok(Some(word)),
            None => {
                let fix = match *words {
                    _ if key == "direction" && text.eq_ignore_ascii_case("inout") => {
                        "declare two bindings, one with direction in and one with direction out".to_owned()
                    }
                    [word] => format!("write {word}"),
                    _ => format!("write one of {}", words.join(", ")),
                };
                Err(self.error("E0232", key, format!("{key} can't be `{text}`"), fix))
            }
        }
    }

    /// A list of texts, or one text.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, Reported> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                Ok(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => {
                let fix = "write a list such as [\"get\", \"post\"]";
                Err(self.error("E0232", key, format!("{key} is no list of texts"), fix))
            }
        }
    }

    pub(super) fn direction(
        &mut self,
        words: &[&'static str],
        usual: &'static str,
    ) -> Result<&'static str, Reported> {
        Ok(self.one_of("direction", words)?.unwrap_or(usual))
    }

    /// Reads the name of a connection setting whose data are in the embedded store. A name that no setting has is worth
    /// a word, as it will fail in the cloud.
    pub(super) fn connection(&mut self, keys: &[&'static str]) -> Result<(), Reported> {
        for key in keys {
            let Some(name) = self.text(key)? else { continue };
            if name.is_empty()
                || name.eq_ignore_ascii_case("AzureWebJobsStorage")
                || self.has_connection(&name)
            {
                continue;
            }
            let meant = did_you_mean(nearest(&name, self.folder.setting_names()));
            let message = format!(
                "{key} names the setting {name}, which is not set{meant}; the embedded store is used"
            );
            let fix = format!("add {name} to Values in local.settings.json before you deploy to the cloud");
            let problem = self.at(Problem::warning("E0222", message), key).fix(fix);
            self.problems.push(problem);
            self.mend_last_with_setting(name, &meant);
        }
        Ok(())
    }

    /// A setting that is only misspelled must not be added.
    fn mend_last_with_setting(&mut self, name: String, meant: &str) {
        if let Some(last) = self.problems.last_mut().filter(|_| meant.is_empty()) {
            last.mend = Some(Mend::AddSetting { name });
        }
    }

    /// The names under which the cloud's host looks for a connection (facts 5.1).
    fn has_connection(&self, name: &str) -> bool {
        let whole = [name.to_owned(), format!("AzureWebJobs{name}"), format!("ConnectionStrings:{name}")];
        whole.iter().any(|name| self.folder.setting(name).is_some()) || self.section_of(name).is_some()
    }

    /// A setting of the section that a connection by identity has, e.g. `Shop__accountName`.
    pub(super) fn section_of(&self, name: &str) -> Option<String> {
        let sections =
            [format!("azurewebjobs{}__", name.to_lowercase()), format!("{}__", name.to_lowercase())];
        let is_of = |set: &&str| {
            let set = set.to_lowercase();
            sections.iter().any(|section| set.starts_with(section))
        };
        self.folder.setting_names().find(is_of).map(str::to_owned)
    }

    /// Properties that nothing asked for: most likely misspelled.
    pub(super) fn report_unused(&mut self) {
        for key in self.object.keys() {
            if self.used.iter().any(|used| used.eq_ignore_ascii_case(key)) {
                continue;
            }
            let near = nearest(key, self.used.iter().map(String::as_str));
            let is_free = |name: &&str| self.object.keys().all(|other| !other.eq_ignore_ascii_case(name));
            let mend = near.filter(is_free).map(|name| rename(key, name));
            let message = format!("the property `{key}` has no effect{}", did_you_mean(near));
            let mut problem = self.at(Problem::warning("E0233", message), key).fix(correction(near));
            // What decorators declare can't be renamed by text.
            problem.mend = mend.filter(|_| problem.file.as_ref().is_some_and(|file| file.ends_with(".json")));
            self.problems.push(problem);
        }
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
