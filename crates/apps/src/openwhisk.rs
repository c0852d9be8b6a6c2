//! Actions of Apache OpenWhisk: a function of one dictionary that gives one, or a program that reads JSON and writes it.
//!
//! They are hosted as web actions, for which the worker has the rules (`openwhisk.py`; OpenWhisk's documentation, "Web Actions").

use ingle_types::spec::Dialect;

use crate::Error;
use crate::detect::{Detected, of_handler};
use crate::folder::read_bytes;
use crate::kinds::Looked;
use crate::lambda::{Handler, script_of};
use crate::web::Maker;

/// Of an action that is a zip, as OpenWhisk has it; and of one file, by custom.
const SCRIPTS: [&str; 2] = ["__main__.py", "main.py"];
const MAIN: &str = "main";
/// What the parameter of an action is called where nothing else says that it is one.
const PARAMETERS: [&str; 3] = ["args", "params", "dict"];
const SETTING: &str = "[openwhisk]\nfile = \"NAME\"";

/// `[openwhisk]` of ingle.toml.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Action {
    /// The script, or the program that `exec` says is run.
    pub(crate) file: Option<String>,
    /// The function.
    pub(crate) main: Option<String>,
    /// It gets the query and the body as they are.
    pub(crate) raw: bool,
    /// The file is a program: JSON on its standard input, the result on the last line of what it writes.
    pub(crate) exec: bool,
}

/// The action that ingle.toml names.
///
/// # Errors
/// Its file is not there (E0249).
pub(crate) fn named(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let Some(action) = &looked.targets.openwhisk else { return Ok(None) };
    let is_there = |file: &str| is_own(file) && looked.root.join(file).is_file();
    let file = match &action.file {
        Some(file) => Some(file.as_str()).filter(|file| is_there(file)),
        None => SCRIPTS.into_iter().find(|file| is_there(file)),
    };
    let wanted = action.file.as_deref().unwrap_or("__main__.py or main.py");
    let Some(file) = file else {
        let what = format!("[openwhisk] of ingle.toml wants {wanted}, which is not there");
        return Err(Error::Target { what, found: Vec::new(), setting: SETTING });
    };
    if action.exec {
        let maker = Maker::Program { file: file.to_owned(), raw: action.raw };
        let why = format!("the program {file}, an action of OpenWhisk named by [openwhisk] of ingle.toml");
        let handler = Handler { name: format!("{file}.{MAIN}"), script_file: file.to_owned(), why };
        return Ok(Some(Detected { maker: Some(maker), ..of_handler(Dialect::Web, handler) }));
    }
    let main = action.main.as_deref().unwrap_or(MAIN);
    of_function(looked, file, main, action.raw, "named by [openwhisk] of ingle.toml").map(Some)
}

/// `__main__.py` with `def main(args)`, and nothing that says that it is a program of its own. A `main.py` could be anything.
pub(crate) fn found(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let [script, _] = SCRIPTS;
    let bytes = read_bytes(&looked.root.join(script)).ok().flatten().unwrap_or_default();
    if !is_action(&String::from_utf8_lossy(&bytes)) {
        return Ok(None);
    }
    of_function(looked, script, MAIN, false, "with main(args)").map(Some)
}

/// Why a file that looks like an action is not taken for one.
pub(crate) fn near_miss(text: &str, name: &str) -> Option<String> {
    let is_script = SCRIPTS.contains(&name);
    (is_script && text.lines().any(|line| parameter_of(line).is_some())).then(|| {
        format!("{name} may hold an action of OpenWhisk: write [openwhisk] into ingle.toml, or name a handler with --handler")
    })
}

fn is_action(text: &str) -> bool {
    let takes_arguments =
        text.lines().filter_map(parameter_of).any(|parameter| PARAMETERS.contains(&parameter));
    takes_arguments && !text.contains("__name__")
}

/// The parameter of `def main(parameter)`.
fn parameter_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("def main(")?;
    let parameter = rest.split([')', ':', '=']).next()?.trim();
    (!parameter.is_empty() && !parameter.contains(',')).then_some(parameter)
}

/// A plain path of the folder (T-026).
fn is_own(file: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && !matches!(word, "." | "..") && !word.contains(['\\', '\0']);
    file.split('/').all(is_word)
}

fn of_function(looked: &Looked<'_>, file: &str, main: &str, raw: bool, how: &str) -> Result<Detected, Error> {
    let name = format!("{}.{main}", file.trim_end_matches(".py"));
    let script_file = script_of(looked.root, &name).filter(|script| script == file);
    let Some(script_file) = script_file else {
        return Err(Error::NoHandler { name, named_by: "[openwhisk] of ingle.toml".to_owned() });
    };
    let why = format!("{file} with the action {main} of OpenWhisk, {how}");
    let maker = Maker::OpenWhisk { raw };
    Ok(Detected { maker: Some(maker), ..of_handler(Dialect::Web, Handler { name, script_file, why }) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ingle_toml::Targets;
    use crate::kinds;

    fn look(
        files: &[(&str, &str)],
        openwhisk: Option<Action>,
    ) -> Result<Option<(String, Option<Maker>)>, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let targets = Targets { openwhisk, ..Targets::default() };
        let environment = BTreeMap::new();
        let root = folder.path();
        let looked = Looked {
            root,
            script: None,
            handler: None,
            runtime: ingle_types::spec::LambdaRuntime::Worker,
            targets: &targets,
            environment: &environment,
        };
        let found = kinds::find(&looked)?;
        Ok(found.and_then(|found| Some((found.handler?.script_file, found.maker))))
    }

    #[test]
    fn an_action_is_known_by_its_function_or_named() {
        let main = "def main(args):\n    return {}\n";
        let check = |files: &[(&str, &str)], action: Option<Action>, expected: Option<(&str, Maker)>| {
            let expected = expected.map(|(file, maker)| (file.to_owned(), Some(maker)));
            assert_eq!(look(files, action).unwrap(), expected, "{files:?}");
        };
        check(&[("__main__.py", main)], None, Some(("__main__.py", Maker::OpenWhisk { raw: false })));
        // What could be something else is not guessed at.
        check(&[("main.py", main)], None, None);
        check(&[("__main__.py", "def main(argv): ...")], None, None);
        check(&[("__main__.py", &format!("{main}if __name__ == '__main__': main({{}})"))], None, None);
        let raw = Action { raw: true, ..Action::default() };
        check(&[("main.py", main)], Some(raw), Some(("main.py", Maker::OpenWhisk { raw: true })));
        let program = Action { file: Some("exec".to_owned()), exec: true, ..Action::default() };
        let maker = Maker::Program { file: "exec".to_owned(), raw: false };
        check(&[("exec", "#!/bin/sh")], Some(program), Some(("exec", maker)));
    }

    #[test]
    fn an_action_has_one_event_at_a_time() {
        let check = |own: &str, expected: Option<usize>| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("__main__.py"), "def main(args): ...").unwrap();
            std::fs::write(folder.path().join("ingle.toml"), own).unwrap();
            let read = crate::read(folder.path(), &crate::ReadOptions::default()).unwrap();
            assert_eq!((read.workers.concurrency, read.problems.len()), (expected, 0), "{:?}", read.problems);
        };
        check("", Some(1));
        check("[openwhisk]\nraw = true\n[workers]\nconcurrency = 4\n", Some(4));
    }

    /// T-026.
    #[test]
    fn t_026_no_action_leads_out_of_the_folder() {
        for file in ["../main.py", "/bin/sh", "gone.py", "a//b", ""] {
            for exec in [true, false] {
                let action = Action { file: Some(file.to_owned()), exec, ..Action::default() };
                let error = look(&[("main.py", "def main(args): ...")], Some(action)).unwrap_err();
                assert_eq!(error.code(), "E0249", "{file}");
            }
        }
    }

    #[test]
    fn what_looks_like_an_action_is_explained() {
        assert!(near_miss("def main(event):\n  ...", "main.py").unwrap().contains("[openwhisk]"));
        assert_eq!(near_miss("def main():\n  ...", "main.py"), None);
        assert_eq!(near_miss("def main(event):\n  ...", "app.py"), None);
    }
}
