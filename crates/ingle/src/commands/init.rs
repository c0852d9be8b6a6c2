//! `ingle init`: a new app that runs at once. At most three questions, and none where there is no terminal.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use crate::cli::{InitArguments, Model};
use crate::commands::new;
use crate::exit::{CommandError, USAGE};
use crate::files;
use crate::printer::{Style, write_out};
use crate::templates::{self, Template};

const SCRIPT: &str = "function_app.py";

pub(crate) fn run(arguments: &InitArguments, style: Style) -> Result<u8, CommandError> {
    let folder = &arguments.folder;
    refuse_app(folder)?;
    let asks = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !style.json;
    let model = match arguments.model {
        Some(model) => model,
        None if asks && ask("Model: v2 (decorators) or v1 (function.json)?", "v2").starts_with("v1") => {
            Model::V1
        }
        None => Model::V2,
    };
    let sample = match &arguments.sample {
        Some(sample) => sample.clone(),
        None if asks => ask("First function (`none`, or a template of `ingle new`)?", "http"),
        None => "http".to_owned(),
    };
    let sample = if sample.eq_ignore_ascii_case("none") { None } else { Some(new::template(&sample)?) };
    let python = match &arguments.python {
        Some(python) => Some(python.clone()),
        None if asks => Some(ask("Python version to pin (empty: whatever is found)?", "")),
        None => None,
    };
    let python = python.filter(|version| !version.is_empty());
    let (made, kept) = write(folder, model, python.as_deref(), sample)?;
    let next = if folder == Path::new(".") { String::new() } else { format!("cd {} && ", folder.display()) };
    if style.json {
        write_out(&format!("{}\n", json!({"event": "made", "files": made, "kept": kept})));
    } else {
        let mut text: String = made.iter().map(|file| format!("made  {file}\n")).collect();
        text.extend(kept.iter().map(|file| format!("kept  {file}: it was there\n")));
        write_out(&format!("{text}\nnext: {next}ingle start\n"));
    }
    Ok(0)
}

/// An app is never made over another.
fn refuse_app(folder: &Path) -> Result<(), CommandError> {
    let refuse = |what: &str| {
        let message = format!("there is an app already: {what}");
        Err(CommandError::new(USAGE, "E0704", message).hint("`ingle new` adds a function to it"))
    };
    if folder.exists() && !folder.is_dir() {
        let message = format!("{} is not a folder", folder.display());
        return Err(CommandError::new(USAGE, "E0102", message));
    }
    if folder.join(SCRIPT).exists() {
        return refuse(SCRIPT);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().join("function.json").exists() {
            return refuse(&format!("{}/function.json", entry.file_name().to_string_lossy()));
        }
    }
    Ok(())
}

/// What was made, and what was there.
fn write(
    folder: &Path,
    model: Model,
    python: Option<&str>,
    sample: Option<&'static Template>,
) -> Result<(Vec<String>, Vec<String>), CommandError> {
    let mut files: Vec<(String, String)> =
        templates::APP.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect();
    if let Some(python) = python {
        files.push((".python-version".to_owned(), format!("{python}\n")));
    }
    let name = sample.map(|template| template.function).unwrap_or_default();
    match (model, sample) {
        (Model::V2, sample) => {
            let function = sample.and_then(|template| template.v2(name, templates::SCRIPT));
            files.push((SCRIPT.to_owned(), format!("{}{}", templates::SCRIPT, function.unwrap_or_default())));
        }
        (Model::V1, Some(template)) => {
            let own = template.v1(name).into_iter();
            files.extend(own.map(|(file, content)| (format!("{name}/{file}"), content)));
        }
        (Model::V1, None) => {}
    }
    let (mut made, mut kept) = (Vec::new(), Vec::new());
    for (path, content) in files {
        let is_new = files::create(&folder.join(&path), &content)?;
        if is_new { made.push(path) } else { kept.push(path) }
    }
    new::add_settings(folder, sample.map_or(&[], |template| template.settings))?;
    Ok((made, kept))
}

fn ask(question: &str, default: &str) -> String {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    write_out(&format!("{question}{shown} "));
    std::io::stdout().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    let answer = answer.trim();
    if answer.is_empty() { default.to_owned() } else { answer.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_app_keeps_what_is_there_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".gitignore"), "mine\n").unwrap();
        let http = new::template("http").unwrap();
        refuse_app(folder.path()).unwrap();
        let (made, kept) = write(folder.path(), Model::V2, Some("3.12"), Some(http)).unwrap();
        assert_eq!(kept, [".gitignore"]);
        assert!(made.contains(&SCRIPT.to_owned()) && made.contains(&".vscode/tasks.json".to_owned()));
        assert_eq!(std::fs::read_to_string(folder.path().join(".gitignore")).unwrap(), "mine\n");
        assert_eq!(refuse_app(folder.path()).unwrap_err().code, "E0704");
    }

    #[test]
    fn a_v1_app_has_its_function_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let queue = new::template("http-to-cosmos-db").unwrap();
        write(folder.path(), Model::V1, None, Some(queue)).unwrap();
        assert!(folder.path().join("save_document/function.json").is_file());
        assert!(!folder.path().join(SCRIPT).exists());
        let settings = std::fs::read_to_string(folder.path().join(files::SETTINGS)).unwrap();
        assert!(settings.contains("CosmosDBConnection"));
        assert_eq!(refuse_app(folder.path()).unwrap_err().code, "E0704");
    }
}
