//! What the keys do that ask something, or reach beyond the app: `t`, `l`, `o`, `p`, `h` (D-03).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use ingle_sandbox::command::{Detached, detach};
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::spec::{FunctionSpec, TriggerSpec};

use crate::app::App;
use crate::client::{self, Client};
use crate::commands::invoke;
use crate::exit::CommandError;
use crate::files;
use crate::keys::{HELP, Key, Typed};
use crate::printer::{Printer, harmless};
use crate::surroundings::Surroundings;

/// The last call of each function, in the state folder.
const CALLS_FILE: &str = "last-calls.json";
const ANSWER_SHOWN_MAX: usize = 4 * 1024;

/// What the next line is the answer to.
enum Question {
    /// Which function to call.
    Function(Vec<FunctionSpec>),
    /// With what to call it; nothing repeats `last`.
    Call { function: Box<FunctionSpec>, last: String },
    /// What the log is to show.
    ShowOnly(Vec<String>),
}

/// The keyboard's side of the app.
pub(crate) struct HotKeys<'a> {
    printer: &'a Printer,
    surroundings: &'a Surroundings,
    state: PathBuf,
    question: Option<Question>,
}

impl<'a> HotKeys<'a> {
    pub(crate) fn new(printer: &'a Printer, surroundings: &'a Surroundings, state: PathBuf) -> Self {
        Self { printer, surroundings, state, question: None }
    }

    /// Does what was typed; whether a line is asked for now.
    pub(crate) fn take(&mut self, typed: Typed, app: &App) -> bool {
        match typed {
            Typed::Key(Key::Try) => self.ask_function(app),
            Typed::Key(Key::ShowOnly) => self.ask_show_only(app),
            Typed::Key(Key::Open) => self.open(app),
            Typed::Key(Key::PauseTimers) => self.pause_timers(app),
            Typed::Key(Key::Help) => self.say(HELP),
            // Those belong to the loop around this.
            Typed::Key(Key::Reload | Key::Quit) => {}
            Typed::Line(text) => {
                if let Some(question) = self.question.take() {
                    self.answered(question, &text, app);
                }
            }
        }
        self.question.is_some()
    }

    fn say(&self, text: impl Into<String>) {
        self.printer.text(text.into());
    }

    fn answered(&mut self, question: Question, text: &str, app: &App) {
        match question {
            Question::Function(functions) if !text.is_empty() => {
                let chosen =
                    text.parse::<usize>().ok().and_then(|number| functions.get(number.checked_sub(1)?));
                let by_name = || functions.iter().find(|one| one.name.as_str().eq_ignore_ascii_case(text));
                match chosen.or_else(by_name) {
                    Some(function) => self.ask_call(function.clone(), app),
                    None => self.say(format!("there is no function {}", harmless(text))),
                }
            }
            Question::Function(_) => {}
            Question::Call { function, last } => {
                let call = if text.is_empty() { last } else { text.to_owned() };
                self.call(&function, call, app);
            }
            Question::ShowOnly(functions) => match self.printer.show_only().set(text, &functions) {
                Ok(shown) => self.say(shown),
                Err(wrong) => self.say(wrong),
            },
        }
    }

    fn ask_function(&mut self, app: &App) {
        let functions: Vec<FunctionSpec> =
            functions(app).into_iter().filter(|function| !function.disabled).collect();
        if functions.is_empty() {
            return self.say("there is no function to try");
        }
        let list = functions.iter().enumerate().map(|(index, function)| {
            format!("  {:>2}  {} ({})\n", index + 1, function.name, function.trigger.kind())
        });
        self.say(format!("{}number of the function, or nothing:", list.collect::<String>()));
        self.question = Some(Question::Function(functions));
    }

    fn ask_call(&mut self, function: FunctionSpec, app: &App) {
        let last = calls(&self.state).remove(function.name.as_str());
        let (what, last) = match &function.trigger {
            TriggerSpec::Timer(_) | TriggerSpec::Warmup => {
                return self.call(&function, String::new(), app);
            }
            TriggerSpec::Http(_) => {
                ("METHOD PATH BODY", last.unwrap_or_else(|| default_request(&function, app)))
            }
            TriggerSpec::Blob(_) => ("path of a blob, or a content", last.unwrap_or_default()),
            _ => ("payload", last.unwrap_or_default()),
        };
        self.say(format!("{what} for {} [{}]:", function.name, harmless(&last)));
        self.question = Some(Question::Call { function: Box::new(function), last });
    }

    /// Calls in the background: the server goes on listening to keys.
    fn call(&self, function: &FunctionSpec, call: String, app: &App) {
        if let Err(error) = remember(&self.state, function.name.as_str(), &call) {
            self.say(format!("the call is not remembered: {}", error.message));
        }
        let (printer, tasks, state) = (self.printer.clone(), app.tasks().clone(), self.state.clone());
        let (name, address) = (function.name.as_str().to_owned(), app.address());
        let is_http = matches!(function.trigger, TriggerSpec::Http(_));
        let run = async move {
            let shown = if is_http {
                through_door(address, &call, &tasks).await
            } else {
                by_hand(&state, &name, call, &tasks).await
            };
            let text = shown.unwrap_or_else(|error| error.message);
            let end = text.floor_char_boundary(ANSWER_SHOWN_MAX);
            printer.text(harmless(text.get(..end).unwrap_or_default().trim_end()));
        };
        drop(app.tasks().spawn(TaskKind::Connection, "tried function", run));
    }

    fn ask_show_only(&mut self, app: &App) {
        self.say("show only this function, this level and worse, or both; nothing shows everything:");
        let names = functions(app).iter().map(|function| function.name.as_str().to_owned()).collect();
        self.question = Some(Question::ShowOnly(names));
    }

    fn open(&self, app: &App) {
        let url = first_url(app);
        let Some((program, arguments)) = browser(self.surroundings, &url) else {
            return self.say(format!("no browser is known ($BROWSER, xdg-open): {url}"));
        };
        let browser = Detached {
            program,
            args: arguments.into_iter().map(Into::into).collect(),
            env: self.surroundings.variables.clone(),
            cwd: self.surroundings.home.clone(),
        };
        match detach(browser) {
            Ok(()) => self.say(format!("opening {url}")),
            Err(error) => self.say(format!("{error}: {url}")),
        }
    }

    fn pause_timers(&self, app: &App) {
        let is_paused = !app.control.timers_are_paused();
        app.control.pause_timers(is_paused);
        self.say(if is_paused {
            "timers pause; `p` lets them go on, and then what has passed is late"
        } else {
            "timers go on"
        });
    }
}

fn functions(app: &App) -> Vec<FunctionSpec> {
    app.control.current().map(|generation| generation.app.functions.clone()).unwrap_or_default()
}

/// `POST /api/orders {"dish": "soup"}` over TCP, as any caller would.
async fn through_door(address: SocketAddr, call: &str, tasks: &Tasks) -> Result<String, CommandError> {
    let mut words = call.splitn(3, ' ');
    let [method, path, body] = [(); 3].map(|()| words.next().unwrap_or_default().to_owned());
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or(Method::GET);
    let (status, body) = client::call(address, method, &path, Bytes::from(body), tasks).await?;
    Ok(format!("{status}\n{body}"))
}

/// As `ingle invoke` does.
async fn by_hand(state: &Path, name: &str, call: String, tasks: &Tasks) -> Result<String, CommandError> {
    let Some(client) = Client::connect(state, tasks).await else {
        return Err(client::broken("its admin socket can't be reached"));
    };
    let query = [("function", name)];
    let answer = client.request(Method::POST, "/v1/invoke", &query, Bytes::from(call)).await?;
    Ok(invoke::text(&answer))
}

/// The request that a function's route suggests.
fn default_request(function: &FunctionSpec, app: &App) -> String {
    let TriggerSpec::Http(trigger) = &function.trigger else { return String::new() };
    let method = trigger.methods.first().map_or("GET", String::as_str);
    format!("{method} {}", path(&trigger.route, app))
}

fn path(route: &str, app: &App) -> String {
    let prefix = app.control.current().map(|now| now.app.host.http.route_prefix.clone()).unwrap_or_default();
    let parts = [prefix.as_str(), route.trim_start_matches('/')];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// That of the first function which a browser can ask for as it stands, else the page of the app.
fn first_url(app: &App) -> String {
    let found = functions(app).into_iter().find_map(|function| match function.trigger {
        TriggerSpec::Http(trigger) if !function.disabled => {
            let takes_get =
                trigger.methods.is_empty() || trigger.methods.iter().any(|method| method == "GET");
            (takes_get && !trigger.route.contains(['{', '*'])).then(|| path(&trigger.route, app))
        }
        _ => None,
    });
    format!("http://{}{}", app.address(), found.unwrap_or_else(|| "/".to_owned()))
}

/// `$BROWSER` (the first of its list, `%s` stands for the URL), else `xdg-open` where there is a screen.
fn browser(surroundings: &Surroundings, url: &str) -> Option<(PathBuf, Vec<String>)> {
    let chosen = surroundings.get("BROWSER").and_then(|list| list.split(':').find(|one| !one.is_empty()));
    if let Some(line) = chosen {
        let mut words: Vec<String> = line.split_whitespace().map(|word| word.replace("%s", url)).collect();
        if !line.contains("%s") {
            words.push(url.to_owned());
        }
        let program = words.remove(0);
        return Some((PathBuf::from(program), words));
    }
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| surroundings.get(name).is_some_and(|value| !value.is_empty()));
    let path = surroundings.get("PATH").unwrap_or_default();
    let opener = path.split(':').map(|folder| Path::new(folder).join("xdg-open")).find(|one| one.is_file());
    opener.filter(|_| has_screen).map(|opener| (opener, vec![url.to_owned()]))
}

fn calls(state: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(state.join(CALLS_FILE)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn remember(state: &Path, function: &str, call: &str) -> Result<(), CommandError> {
    let mut calls = calls(state);
    calls.insert(function.to_owned(), call.to_owned());
    let text = serde_json::to_string_pretty(&calls).unwrap_or_default();
    files::replace(&state.join(CALLS_FILE), &(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Surroundings { variables, directory: PathBuf::new(), home: PathBuf::from("/"), cache: PathBuf::new() }
    }

    #[test]
    fn the_browser_is_the_users() {
        let folder = tempfile::tempdir().unwrap();
        let opener = folder.path().join("xdg-open");
        let path = folder.path().display().to_string();
        let check = |variables: &[(&str, &str)]| {
            browser(&surroundings(variables), "http://h/").map(|(program, arguments)| {
                format!("{} {}", program.file_name().unwrap_or_default().display(), arguments.join(" "))
            })
        };
        assert_eq!(check(&[("BROWSER", "firefox -new:w3m")]).as_deref(), Some("firefox -new http://h/"));
        assert_eq!(check(&[("BROWSER", "open -u=%s")]).as_deref(), Some("open -u=http://h/"));
        assert_eq!(check(&[("PATH", &path), ("DISPLAY", ":0")]), None);
        std::fs::write(&opener, "").unwrap();
        assert_eq!(check(&[("PATH", &path), ("DISPLAY", ":0")]).as_deref(), Some("xdg-open http://h/"));
        assert_eq!(check(&[("PATH", &path)]), None, "it would open a text browser in our terminal");
    }

    #[test]
    fn each_function_has_its_last_call() {
        let folder = tempfile::tempdir().unwrap();
        remember(folder.path(), "a", "one").unwrap();
        remember(folder.path(), "b", "two").unwrap();
        remember(folder.path(), "a", "three").unwrap();
        let calls = calls(folder.path());
        assert_eq!((calls["a"].as_str(), calls["b"].as_str()), ("three", "two"));
    }
}
