//! Web apps without a handler: an object that a web framework made, as WSGI or ASGI has it, which takes all requests.
//!
//! Which of the two it is nobody can say before it is loaded; the worker does. What is looked for here is only the place.

use std::path::Path;

use ingle_types::account::Account;
use ingle_types::ids::FunctionName;
use ingle_types::spec::{
    AuthLevel, BindingKind, BindingSpec, DataType, DeclaredFunction, FunctionSpec, HostConfig, HttpOptions,
    HttpTrigger, TriggerSpec,
};
use serde_json::{Map, json};

use crate::folder::read_bytes;
use crate::lambda::{Handler, name_of, script_of};

/// Files that hold the app by custom, the likeliest first.
const SCRIPTS: &[&str] = &["app.py", "main.py", "application.py", "wsgi.py", "asgi.py"];
/// In the folder of a project of Django, which `manage.py` lies beside. Both are there as a rule.
const OF_PROJECT: &[&str] = &["wsgi.py", "asgi.py"];
const MANAGE: &str = "manage.py";
/// What the app is called.
const NAMES: &[&str] = &["app", "application"];
/// What makes one.
const MAKERS: &[(&str, &str)] = &[
    ("Flask", "a Flask app (WSGI)"),
    ("FastAPI", "a FastAPI app (ASGI)"),
    ("Starlette", "a Starlette app (ASGI)"),
    ("get_wsgi_application", "a Django project (WSGI)"),
    ("get_asgi_application", "a Django project (ASGI)"),
];
/// Files that say that the folder is something else.
const OTHERS: &[&str] =
    &["host.json", "template.yaml", "template.yml", "serverless.yml", "serverless.yaml", "serverless.json"];
/// Of the kind that a worker gives what it takes for a web app.
pub(crate) const KIND: &str = "web";

/// The web app of a folder.
pub(crate) fn find(root: &Path) -> Option<Handler> {
    if other(root).is_some() {
        return None;
    }
    let mut found = scripts(root).into_iter().filter_map(|script| {
        let (name, what) = NAMES.iter().find_map(|name| Some((*name, made_in(root, &script, name)?)))?;
        Some((script, name, what))
    });
    let (script_file, name, what) = found.next()?;
    let others: Vec<String> = found.map(|(script, ..)| script).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!("; --handler names another: there is one in {}, too", others.join(", ")),
    };
    let why = format!("{script_file} with {what}{others}");
    Some(Handler { name: format!("{}.{name}", script_file.trim_end_matches(".py")), script_file, why })
}

/// What a named handler is, if its file shows that a framework makes it.
pub(crate) fn named(root: &Path, name: &str) -> Option<&'static str> {
    let attribute = name.rsplit_once('.')?.1;
    made_in(root, &script_of(root, name)?, attribute)
}

/// Why a file that is called like one that holds a web app is none.
pub(crate) fn near_miss(root: &Path, script: &str) -> Option<String> {
    let module = script.strip_suffix(".py")?;
    if !SCRIPTS.contains(&script) {
        return None;
    }
    let source = read(root, script)?;
    let mut made = source.lines().filter_map(assigned);
    if let Some((name, _)) = made.clone().find(|(_, maker)| what_makes(maker).is_some()) {
        if let Some(other) = other(root).filter(|_| NAMES.contains(&name)) {
            return Some(format!(
                "{script} makes a web app, but {other} says that this is something else: say --handler {module}.{name}"
            ));
        }
        return Some(format!(
            "{script} makes a web app that is called {name}: call it app, or say --handler {module}.{name}"
        ));
    }
    let (name, maker) = made.find(|(name, _)| NAMES.contains(name))?;
    Some(format!(
        "{script} has an {name} made by {maker}(): if it is a web app (WSGI or ASGI), say --handler {module}.{name}"
    ))
}

fn other(root: &Path) -> Option<&'static str> {
    OTHERS.iter().find(|name| root.join(name).is_file()).copied()
}

fn scripts(root: &Path) -> Vec<String> {
    let mut scripts: Vec<String> = SCRIPTS.iter().map(|name| (*name).to_owned()).collect();
    if root.join(MANAGE).is_file() {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut folders: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        folders.sort();
        for folder in folders.iter().filter(|folder| !folder.starts_with('.')) {
            scripts.extend(OF_PROJECT.iter().map(|name| format!("{folder}/{name}")));
        }
    }
    scripts
}

fn made_in(root: &Path, script: &str, name: &str) -> Option<&'static str> {
    let source = read(root, script)?;
    source
        .lines()
        .filter_map(assigned)
        .filter(|(assigned, _)| *assigned == name)
        .find_map(|(_, maker)| what_makes(maker))
}

fn what_makes(maker: &str) -> Option<&'static str> {
    MAKERS.iter().find(|(known, _)| *known == maker).map(|(_, what)| *what)
}

fn read(root: &Path, script: &str) -> Option<String> {
    let bytes = read_bytes(&root.join(script)).ok().flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `app` and `Flask` of a line `app: flask.Flask = flask.Flask(__name__)` that stands at the left edge.
fn assigned(line: &str) -> Option<(&str, &str)> {
    let (target, value) = line.split_once('=')?;
    let name = target.split(':').next()?.trim_end();
    let callee = value.split_once('(')?.0.trim();
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '.'))
    };
    let maker = callee.rsplit('.').next()?;
    (is_word(name) && is_word(callee)).then_some((name, maker))
}

/// Who makes an app that is not there under its name; `load_web.py` knows how.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Maker {
    /// Django itself, of the settings that the handler names.
    Django,
    /// The app's own Functions Framework, of a function.
    FunctionsFramework { target: String, signature: Option<String> },
    /// The worker, of an action of OpenWhisk. `raw`: it gets query and body as they are.
    OpenWhisk { raw: bool },
    /// The same of a program.
    Program { file: String, raw: bool },
}

impl Maker {
    /// As OpenWhisk runs actions, so their globals need no locks. There are as many workers as there are events, then.
    pub(crate) fn takes_one_at_a_time(&self) -> bool {
        match self {
            Self::OpenWhisk { .. } | Self::Program { .. } => true,
            Self::Django | Self::FunctionsFramework { .. } => false,
        }
    }
}

/// What the app's one function is, before it is imported.
pub(crate) fn declare(folder_name: &str, handler: &Handler, maker: Option<&Maker>) -> DeclaredFunction {
    let settings = json!({"type": KIND, "maker": maker});
    DeclaredFunction {
        name: name_of(folder_name),
        directory: String::new(),
        script_file: handler.script_file.clone(),
        entry_point: handler.name.clone(),
        bindings: vec![settings.as_object().cloned().unwrap_or_else(Map::new)],
        is_async: false,
        streams: false,
        file: Some(handler.script_file.clone()),
        line: None,
        disabled: false,
        retry: None,
    }
}

/// How it is served: at the paths that it knows.
pub(crate) fn host() -> HostConfig {
    HostConfig {
        http: HttpOptions { route_prefix: String::new(), ..HttpOptions::default() },
        ..HostConfig::default()
    }
}

/// The function that runs.
pub(crate) fn function(declared: &DeclaredFunction, location: Option<String>) -> FunctionSpec {
    let trigger =
        HttpTrigger { route: "{*path}".to_owned(), methods: Vec::new(), auth_level: AuthLevel::Anonymous };
    FunctionSpec {
        name: FunctionName::new(&declared.name),
        trigger: TriggerSpec::Http(trigger),
        trigger_parameter: "request".to_owned(),
        bindings: vec![BindingSpec {
            name: "$return".to_owned(),
            kind: BindingKind::HttpOutput,
            data_type: DataType::default(),
            account: Account::default(),
        }],
        disabled: false,
        retry: None,
        is_async: declared.is_async,
        streams: declared.streams,
        location,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn an_app_is_known_by_what_makes_it() {
        let check = |files: &[(&str, &str)], expected: Option<(&str, &str)>| {
            let found = find(folder(files).path()).map(|found| (found.name, found.why));
            let found = found.as_ref().map(|(name, why)| (name.as_str(), why.as_str()));
            assert_eq!(found, expected, "{files:?}");
        };
        check(
            &[("app.py", "import flask\r\napp: flask.Flask = flask.Flask(__name__)\r\n")],
            Some(("app.app", "app.py with a Flask app (WSGI)")),
        );
        check(
            &[("main.py", "app = FastAPI()"), ("asgi.py", "application=Starlette (routes)")],
            Some((
                "main.app",
                "main.py with a FastAPI app (ASGI); --handler names another: there is one in asgi.py, too",
            )),
        );
        let django = [
            ("manage.py", ""),
            ("shop/wsgi.py", "application = get_wsgi_application()"),
            ("menu/views.py", "app = Flask()"),
        ];
        check(&django, Some(("shop/wsgi.application", "shop/wsgi.py with a Django project (WSGI)")));
        check(&django[1..], None);
        // Not at the left edge, in a comment, compared, or of another name.
        for text in
            ["    app = Flask()", "# app = Flask()", "app == Flask()", "web = Flask()", "app = Flask", ""]
        {
            check(&[("app.py", text)], None);
        }
        for other in OTHERS {
            check(&[("app.py", "app = Flask()"), (other, "")], None);
        }
    }

    #[test]
    fn what_is_nearly_a_web_app_is_explained() {
        let check = |text: &str, expected: &str| {
            let found = near_miss(folder(&[("app.py", text)]).path(), "app.py").unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check("web = Flask(__name__)", "--handler app.web");
        check("app = create_app()", "has an app made by create_app(): if it is a web app");
        check("x = 1", "");
        let beside = folder(&[("app.py", "app = Flask()"), ("host.json", "{}")]);
        let found = near_miss(beside.path(), "app.py").unwrap_or_default();
        assert!(found.contains("but host.json says"), "{found}");
    }

    #[test]
    fn a_named_handler_may_be_a_web_app() {
        let root = folder(&[("src/site.py", "web = fastapi.FastAPI()\ndef handler(event, context): ...")]);
        assert_eq!(named(root.path(), "src.site.web"), Some("a FastAPI app (ASGI)"));
        assert_eq!(named(root.path(), "src.site.handler"), None);
        assert_eq!(named(root.path(), "../src.site.web"), None);
    }
}
