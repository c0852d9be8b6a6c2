//! `ingle new`: one more function, at the end of the script or in a folder of its own. Nothing is overwritten.

use std::path::Path;

use ingle_apps::python_names;
use ingle_apps::suggest::{did_you_mean, nearest};
use ingle_types::spec::Dialect;
use serde_json::{Value, json};

use crate::cli::{AppArguments, NewArguments};
use crate::exit::{APP, CommandError, MACHINE, USAGE, chain};
use crate::files;
use crate::printer::{Style, write_out};
use crate::project::ProjectArguments;
use crate::surroundings::Surroundings;
use crate::templates::{self, TEMPLATES, Template};

pub(crate) fn run(
    arguments: &NewArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let Some(wanted) = &arguments.template else {
        list(style);
        return Ok(0);
    };
    let template = template(wanted)?;
    let app = AppArguments {
        folder: arguments.folder.clone(),
        python: None,
        functions: Vec::new(),
        state: None,
        handler: None,
        project: ProjectArguments::default(),
    };
    let read = ingle_apps::read(&arguments.folder, &surroundings.read_options(&app, None));
    let read = match read {
        // An app of folders that has none yet, as `ingle init --model v1 --sample none` leaves it.
        Err(ingle_apps::Error::NoApp { root, near_misses, .. })
            if near_misses.is_empty() && root.join("host.json").is_file() =>
        {
            let files = folder(&root, template, arguments.name.clone())?;
            return finish(&root, template, &files, style);
        }
        read => read,
    };
    let read = read.map_err(|error| {
        let exit = if error.blame() == ingle_types::outcome::Blame::App { APP } else { MACHINE };
        let mut told = CommandError::new(exit, error.code(), chain(&error));
        told.hint =
            if error.code() == "E0103" { Some("`ingle init` makes an app".to_owned()) } else { error.hint() };
        told
    })?;
    let name = arguments.name.clone();
    let files = match read.dialect {
        Dialect::AzureV2 => vec![append(&read.root.join(&read.script_file), template, name)?],
        Dialect::AzureV1 => folder(&read.root, template, name)?,
        Dialect::Lambda | Dialect::Web => {
            let message = format!(
                "this folder holds {}, and the templates are functions of Azure",
                if read.dialect == Dialect::Web { "a web app" } else { "a handler for AWS Lambda" }
            );
            return Err(CommandError::new(USAGE, "E0703", message));
        }
    };
    finish(&read.root, template, &files, style)
}

/// Adds the settings, and tells what was made.
fn finish(root: &Path, template: &Template, files: &[String], style: Style) -> Result<u8, CommandError> {
    add_settings(root, template.settings)?;
    let shown: Vec<String> = files
        .iter()
        .map(|file| Path::new(file).strip_prefix(root).unwrap_or(Path::new(file)).display().to_string())
        .collect();
    if style.json {
        write_out(&format!("{}\n", json!({"event": "made", "template": template.name, "files": shown})));
    } else {
        write_out(&format!("{} now: {}\n", template.about, shown.join(", ")));
    }
    Ok(0)
}

fn list(style: Style) {
    if style.json {
        let shown: Vec<Value> = TEMPLATES
            .iter()
            .map(|template| json!({"name": template.name, "about": template.about}))
            .collect();
        write_out(&format!("{}\n", json!({"templates": shown})));
        return;
    }
    let text: String =
        TEMPLATES.iter().map(|template| format!("{:18} {}\n", template.name, template.about)).collect();
    write_out(&text);
}

/// A template by name.
pub(crate) fn template(wanted: &str) -> Result<&'static Template, CommandError> {
    templates::find(wanted).ok_or_else(|| {
        let meant = did_you_mean(nearest(wanted, TEMPLATES.iter().map(|template| template.name)));
        let message = format!("there is no template '{wanted}'{meant}");
        CommandError::new(USAGE, "E0703", message).hint("`ingle new` lists the templates")
    })
}

/// Adds settings that a template names, without a value: the embedded store needs none.
pub(crate) fn add_settings(root: &Path, names: &[&str]) -> Result<(), CommandError> {
    let path = root.join(files::SETTINGS);
    let old = if path.exists() { Some(files::read(&path)?) } else { None };
    match files::with_settings(old.as_deref(), names) {
        (Some(text), added) if !added.is_empty() => files::replace(&path, &text),
        // A file with comments is left alone; `ingle check` will say what it lacks.
        _ => Ok(()),
    }
}

fn append(script: &Path, template: &Template, name: Option<String>) -> Result<String, CommandError> {
    let text = files::read(script)?;
    let is_taken = |name: &str| {
        text.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("async ");
            let rest = line.strip_prefix("def ").or_else(|| line.strip_prefix("class "));
            rest.and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        }) || text.contains(&format!("\"{name}\""))
            || text.contains(&format!("'{name}'"))
    };
    let name = choose(template, name, is_taken)?;
    let function = template.v2(&name, &text).ok_or_else(|| {
        let message = format!("{} makes no FunctionApp", script.display());
        CommandError::new(APP, "E0204", message).hint("write `app = func.FunctionApp()` at its top")
    })?;
    files::replace(script, &(text + &function))?;
    Ok(script.display().to_string())
}

fn folder(root: &Path, template: &Template, name: Option<String>) -> Result<Vec<String>, CommandError> {
    let name = choose(template, name, |name| root.join(name).symlink_metadata().is_ok())?;
    if python_names::MODULES.contains(&name.as_str()) {
        let message = format!("a folder named '{name}' would take the place of Python's module {name}");
        return Err(CommandError::new(USAGE, "E0703", message).hint("choose another name with --name"));
    }
    let mut made = Vec::new();
    for (file, content) in template.v1(&name) {
        let path = root.join(&name).join(file);
        files::create(&path, &content)?;
        made.push(path.display().to_string());
    }
    Ok(made)
}

/// The name that was asked for, or the template's with a number that is free.
fn choose(
    template: &Template,
    asked: Option<String>,
    is_taken: impl Fn(&str) -> bool,
) -> Result<String, CommandError> {
    let Some(name) = asked else {
        let base = template.function;
        let numbered = (2..1000).map(|number| format!("{base}_{number}"));
        let free = std::iter::once(base.to_owned()).chain(numbered).find(|name| !is_taken(name));
        return free.ok_or_else(|| taken(base));
    };
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let fits = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(plain)
        && name.len() <= 128
        && !name.eq_ignore_ascii_case("host")
        && !python_names::WORDS.contains(&name.as_str());
    if !fits {
        let message = format!("'{name}' can't be the name of a function");
        return Err(CommandError::new(USAGE, "E0703", message).hint("use letters, digits and `_`"));
    }
    if is_taken(&name) { Err(taken(&name)) } else { Ok(name) }
}

fn taken(name: &str) -> CommandError {
    let message = format!("there is something named '{name}' already");
    CommandError::new(USAGE, "E0704", message).hint("choose another name with --name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_appended_and_nothing_before_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("function_app.py");
        let before = format!("{}\n\ndef hello_2(): ...", templates::SCRIPT);
        std::fs::write(&script, &before).unwrap();
        let http = template("http").unwrap();
        append(&script, http, None).unwrap();
        append(&script, http, None).unwrap();
        let text = std::fs::read_to_string(&script).unwrap();
        assert!(text.starts_with(&before));
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("def ")?.split('(').next()).collect();
        assert_eq!(names, ["hello_2", "hello", "hello_3"]);
        assert_eq!(append(&script, http, Some("hello".to_owned())).unwrap_err().code, "E0704");
        assert_eq!(std::fs::read_to_string(&script).unwrap(), text);
    }

    #[test]
    fn a_v1_function_gets_a_folder_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("work_off")).unwrap();
        let made = super::folder(root.path(), template("queue").unwrap(), None).unwrap();
        assert!(made[0].ends_with("work_off_2/function.json"), "{made:?}");
        let shadow = super::folder(root.path(), template("queue").unwrap(), Some("queue".to_owned()));
        assert_eq!(shadow.unwrap_err().code, "E0703");
        assert_eq!(std::fs::read_dir(root.path().join("work_off")).unwrap().count(), 0);
    }

    /// T-026: a name is no path, and nothing that Python can't read.
    #[test]
    fn names_are_plain() {
        let http = template("http").unwrap();
        let check = |name: &str, good: bool| {
            assert_eq!(choose(http, Some(name.to_owned()), |_| false).is_ok(), good, "{name}");
        };
        check("Order_1", true);
        for bad in ["", "../x", "a/b", "1a", "a-b", "class", "host", "ä", "a b", "app"] {
            check(bad, false);
        }
        assert!(template("htp").unwrap_err().message.contains("did you mean `http`"));
    }
}
