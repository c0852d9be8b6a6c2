//! What `ingle init` and `ingle new` write. The texts are files in `templates`, carried in the binary; `NEW_NAME` in them
//! becomes the function's name.

/// Stands for the name of the new function.
const NAME: &str = "NEW_NAME";

/// One kind of function, in both models.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Name of the function, where none is asked for. A verb; `http` or `queue` would hide Python's modules.
    pub(crate) function: &'static str,
    /// The decorated function, to be put at the end of the script.
    v2: &'static str,
    v1_function_json: &'static str,
    v1_script: &'static str,
    /// Settings that it names, besides `AzureWebJobsStorage`.
    pub(crate) settings: &'static [&'static str],
}

macro_rules! template {
    ($name:literal, $function:literal, $about:literal $(, $setting:literal)*) => {
        Template {
            name: $name,
            about: $about,
            function: $function,
            v2: include_str!(concat!("../templates/v2/", $name, ".py")),
            v1_function_json: include_str!(concat!("../templates/v1/", $name, "/function.json")),
            v1_script: include_str!(concat!("../templates/v1/", $name, "/__init__.py")),
            settings: &[$($setting),*],
        }
    };
}

pub(crate) const TEMPLATES: &[Template] = &[
    template!("http", "hello", "answers HTTP requests"),
    template!("timer", "every_five_minutes", "runs on a schedule"),
    template!("queue", "work_off", "runs for each message of a queue"),
    template!("blob", "on_upload", "runs for each new or changed blob"),
    template!("cosmos-db", "on_change", "runs for new and changed documents", "CosmosDBConnection"),
    template!("event-grid", "on_event", "runs for each event that is delivered"),
    template!("warmup", "warm_up", "runs in a new worker before its first request"),
    template!("http-to-queue", "enqueue", "puts a request's body into a queue"),
    template!("http-to-blob", "upload", "stores a request's body as a blob"),
    template!("http-to-table", "save_row", "stores a request's body as a row of a table"),
    template!(
        "http-to-cosmos-db",
        "save_document",
        "stores a request's body as a document",
        "CosmosDBConnection"
    ),
];

/// The files of a new app besides its functions: path and content.
pub(crate) const APP: &[(&str, &str)] = &[
    ("host.json", include_str!("../templates/app/host.json")),
    ("local.settings.json", include_str!("../templates/app/local.settings.json")),
    ("requirements.txt", include_str!("../templates/app/requirements.txt")),
    (".gitignore", include_str!("../templates/app/gitignore")),
    (".funcignore", include_str!("../templates/app/funcignore")),
    (".vscode/tasks.json", include_str!("../templates/app/vscode/tasks.json")),
    (".vscode/launch.json", LAUNCH),
    (".vscode/extensions.json", include_str!("../templates/app/vscode/extensions.json")),
];

/// How VS Code attaches to the default port of `--debug`.
pub(crate) const LAUNCH: &str = include_str!("../templates/app/vscode/launch.json");

/// `function_app.py` without functions.
pub(crate) const SCRIPT: &str = include_str!("../templates/v2/app.py");

/// The settings file for an app that has none.
pub(crate) const SETTINGS: &str = include_str!("../templates/app/local.settings.json");

/// A template by name, as people and Azure's tool write it: `cosmosDB`, `Timer trigger`, `http-to-queue`.
pub(crate) fn find(wanted: &str) -> Option<&'static Template> {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|character| character.to_ascii_lowercase())
            .collect()
    };
    let wanted = plain(wanted);
    let wanted = wanted.strip_suffix("trigger").filter(|rest| !rest.is_empty()).unwrap_or(&wanted);
    TEMPLATES.iter().find(|template| plain(template.name) == wanted)
}

impl Template {
    /// What has to follow the text of `script` so that it has this function too. Imports that the script lacks come
    /// first; `app` and the SDK are called as the script calls them. `None`: the script makes no `FunctionApp`.
    pub(crate) fn v2(&self, name: &str, script: &str) -> Option<String> {
        let app = app_variable(script)?;
        let mut text = String::new();
        if !script.is_empty() && !script.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("\n\n");
        let has_line = |wanted: &str| script.lines().any(|line| line.trim_end() == wanted);
        let imports: Vec<&str> =
            [("logging.", "import logging"), ("func.", "import azure.functions as func")]
                .into_iter()
                .filter(|(used, line)| self.v2.contains(used) && !has_line(line))
                .map(|(_, line)| line)
                .collect();
        if !imports.is_empty() {
            text.push_str(&imports.join("\n"));
            text.push_str("\n\n\n");
        }
        text.push_str(&self.v2.replace(NAME, name).replace("@app.", &format!("@{app}.")));
        Some(text)
    }

    /// The two files of a v1 function: `function.json` and `__init__.py`.
    pub(crate) fn v1(&self, name: &str) -> [(&'static str, String); 2] {
        let fill = |text: &str| text.replace(NAME, name);
        [("function.json", fill(self.v1_function_json)), ("__init__.py", fill(self.v1_script))]
    }
}

/// The name that the script gives its `FunctionApp`.
fn app_variable(script: &str) -> Option<&str> {
    script.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        // `app: func.FunctionApp = …` has a type; a space at its beginning means that it is inside something.
        let name = name.split(':').next().unwrap_or(name).trim_end();
        let call = value.trim_start().split('(').next()?;
        let is_name = !value.starts_with('=')
            && name.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && name.chars().all(|character| character.is_alphanumeric() || character == '_');
        (is_name && value.contains('(') && call.rsplit('.').next()?.trim() == "FunctionApp").then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use ingle_apps::{ReadOptions, resolve};
    use ingle_types::problem::Severity;

    use super::*;

    #[test]
    fn templates_are_found_as_people_write_them() {
        let check = |wanted: &str, expected: Option<&str>| {
            assert_eq!(find(wanted).map(|template| template.name), expected, "{wanted}");
        };
        check("http", Some("http"));
        check("HTTP trigger", Some("http"));
        check("cosmosDB", Some("cosmos-db"));
        check("cosmosDBTrigger", Some("cosmos-db"));
        check("eventGrid", Some("event-grid"));
        check("trigger", None);
        check("kafka", None);
    }

    #[test]
    fn the_app_is_found_in_a_script() {
        let check =
            |script: &str, expected: Option<&str>| assert_eq!(app_variable(script), expected, "{script}");
        check(SCRIPT, Some("app"));
        check("import x\nmain = func.FunctionApp()", Some("main"));
        check("shop: func.FunctionApp = func.FunctionApp(\n)", Some("shop"));
        check("app=FunctionApp()", Some("app"));
        check("    app = func.FunctionApp()", None);
        check("bp = func.Blueprint()", None);
        check("x == func.FunctionApp()", None);
    }

    #[test]
    fn what_is_appended_fits_the_script() {
        let http = find("http").unwrap();
        let text = http.v2("greet", "import logging\nshop = func.FunctionApp()").unwrap();
        assert!(
            text.starts_with("\n\n\nimport azure.functions as func\n\n\n@shop.route(route=\"greet\""),
            "{text}"
        );
        assert!(text.contains("def greet(req") && text.ends_with('\n'));
        assert!(http.v2("greet", SCRIPT).unwrap().starts_with("\n\n@app.route("));
        assert!(http.v2("greet", "x = 1\n").is_none());
    }

    /// Each template as an app of the v1 model, read and resolved as `ingle check` does, has no finding.
    #[test]
    fn every_v1_template_is_free_of_findings() {
        for template in TEMPLATES {
            let folder = tempfile::tempdir().unwrap();
            for (path, content) in APP {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            let settings: String =
                template.settings.iter().map(|name| format!(", \"{name}\": \"\"")).collect();
            let content =
                SETTINGS.replace("\"AzureWebJobsStorage\": \"\"", &format!("\"A\": \"\"{settings}"));
            std::fs::write(folder.path().join("local.settings.json"), content).unwrap();
            std::fs::create_dir(folder.path().join("made")).unwrap();
            for (file, content) in template.v1("made") {
                std::fs::write(folder.path().join("made").join(file), content).unwrap();
            }
            let read = ingle_apps::read(folder.path(), &ReadOptions::default()).unwrap();
            let app = resolve(&read, read.declared.clone(), Vec::new());
            assert_eq!(app.problems, [], "{}", template.name);
            assert_eq!(app.functions.len(), 1, "{}", template.name);
            assert!(app.problems.iter().all(|problem| problem.severity != Severity::Error));
        }
    }

    #[test]
    fn names_hide_nothing_of_python() {
        for template in TEMPLATES {
            let name = template.function;
            assert!(!ingle_apps::python_names::MODULES.contains(&name), "{name}");
            assert!(!ingle_apps::python_names::WORDS.contains(&name), "{name}");
        }
    }

    #[test]
    fn files_for_editors_are_json() {
        for (path, content) in APP.iter().filter(|(path, _)| path.ends_with(".json")) {
            serde_json::from_str::<serde_json::Value>(content)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}
