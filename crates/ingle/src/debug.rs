//! `ingle start --debug`: the port for the editor, and the file that tells VS Code of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use ingle_apps::AppFolder;
use ingle_control::debug::{Begin, Debugger};
use ingle_tasks::Tasks;
use serde_json::{Value, json};

use crate::exit::{CommandError, MACHINE};
use crate::files;
use crate::printer::{Printer, Style};
use crate::templates::LAUNCH;

const PORT_DEFAULT: u16 = 5678;
const LAUNCH_FILE: &str = ".vscode/launch.json";
/// By this name a configuration of ours is known.
const NAME: &str = "Attach to ingle start --debug";

/// How to debug: `5678`, `wait`, `brk:5679`, or nothing for all defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DebugChoice {
    begin: Begin,
    port: u16,
}

impl std::str::FromStr for DebugChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, port) = match text.split_once(':') {
            Some((word, port)) => (word, Some(port)),
            None if text.bytes().any(|byte| byte.is_ascii_digit()) => ("", Some(text)),
            None => (text, None),
        };
        let begin = match word {
            "" => Begin::Run,
            "wait" => Begin::Wait,
            "brk" => Begin::Break,
            _ => return Err("write a port, `wait`, `brk`, `wait:PORT` or `brk:PORT`".to_owned()),
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| format!("`{port}` is no port"))?,
            None => PORT_DEFAULT,
        };
        Ok(Self { begin, port })
    }
}

/// Opens the port, writes `.vscode/launch.json`, and says what an editor has to know.
pub(crate) async fn open(
    choice: DebugChoice,
    folder: &Path,
    (printer, style): (&Printer, Style),
    tasks: &Tasks,
) -> Result<Debugger, CommandError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, choice.port));
    let debugger = Debugger::listen(address, choice.begin, tasks).await.map_err(|error| {
        let message = format!("can't listen on {address} for a debugger: {error}");
        CommandError::new(MACHINE, "E0701", message)
            .hint("choose another port: --debug=PORT, or 0 for a free one")
    })?;
    let port = debugger.address().port();
    let launch = write_launch(folder, port)?;
    let waits = match choice.begin {
        Begin::Run => "",
        Begin::Wait => "; the app is imported when an editor is attached",
        Begin::Break => "; the app is imported when an editor is attached, and stops at its first line",
    };
    if style.json {
        let event = json!({"event": "debugger", "address": format!("127.0.0.1:{port}"),
            "waits": choice.begin != Begin::Run, "launch": launch.label()});
        printer.text(event.to_string());
    } else {
        printer.text(format!("debugger on 127.0.0.1:{port} (one worker process; {}){waits}", launch.text()));
        if let Launch::NotOurs(configuration) = &launch {
            printer.text(format!("add to the configurations in {LAUNCH_FILE}:\n{configuration}"));
        }
    }
    Ok(debugger)
}

/// Worth knowing: an editor is attached to one process.
pub(crate) fn note(folder: &AppFolder) -> Option<String> {
    const COUNT: &str = "FUNCTIONS_WORKER_PROCESS_COUNT";
    let asked = folder.setting(COUNT).map(str::trim).filter(|count| !matches!(*count, "" | "1"))?;
    Some(format!("--debug runs one worker process; {COUNT} is {asked}"))
}

/// What became of `.vscode/launch.json`.
#[derive(Debug, PartialEq)]
enum Launch {
    Made,
    Added,
    AsItWas,
    /// It can't be changed without losing something; this is to be added by hand.
    NotOurs(String),
}

impl Launch {
    fn label(&self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Added => "added",
            Self::AsItWas => "kept",
            Self::NotOurs(_) => "not ours",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Made => format!("{LAUNCH_FILE} made for it"),
            Self::Added => format!("added to {LAUNCH_FILE}"),
            Self::AsItWas => format!("{LAUNCH_FILE} has it"),
            Self::NotOurs(_) => format!("{LAUNCH_FILE} left as it is"),
        }
    }
}

fn write_launch(folder: &Path, port: u16) -> Result<Launch, CommandError> {
    let path = folder.join(LAUNCH_FILE);
    let whole = LAUNCH.replace(&PORT_DEFAULT.to_string(), &port.to_string());
    if files::create(&path, &whole)? {
        return Ok(Launch::Made);
    }
    let (changed, launch) = add(&files::read(&path)?, &whole);
    if let Some(text) = changed {
        files::replace(&path, &text)?;
    }
    Ok(launch)
}

/// The file's new text, if it changes. `whole` is the file as we would write it.
fn add(old: &str, whole: &str) -> (Option<String>, Launch) {
    let ours: Value = serde_json::from_str(whole).unwrap_or_default();
    let ours = ours["configurations"][0].clone();
    let by_hand = || Launch::NotOurs(serde_json::to_string_pretty(&ours).unwrap_or_default());
    // Comments are allowed in this file; they would be lost.
    let Ok(mut tree) = serde_json::from_str::<Value>(old) else { return (None, by_hand()) };
    let Some(list) = tree.get_mut("configurations").and_then(Value::as_array_mut) else {
        return (None, by_hand());
    };
    match list.iter_mut().find(|known| known["name"] == NAME) {
        Some(known) if known["connect"] == ours["connect"] => return (None, Launch::AsItWas),
        // Only the port is ours to say; whatever else was changed was changed on purpose.
        Some(known) if known["connect"].is_object() => known["connect"] = ours["connect"].clone(),
        Some(_) => return (None, by_hand()),
        None => list.push(ours.clone()),
    }
    match serde_json::to_string_pretty(&tree) {
        Ok(text) => (Some(text + "\n"), Launch::Added),
        Err(_) => (None, by_hand()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_11_debug_takes_a_way_and_a_port() {
        let check = |text: &str, begin, port| {
            assert_eq!(text.parse(), Ok(DebugChoice { begin, port }), "{text}");
        };
        check("", Begin::Run, 5678);
        check("4711", Begin::Run, 4711);
        check("wait", Begin::Wait, 5678);
        check("brk:0", Begin::Break, 0);
        for wrong in ["break", "wait:", "wait:x", "70000"] {
            assert!(wrong.parse::<DebugChoice>().is_err(), "{wrong}");
        }
    }

    /// A file that is there is added to, and never loses anything.
    #[test]
    fn a_launch_file_is_made_added_to_or_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LAUNCH_FILE);
        let read = || files::read(&path).unwrap();
        assert_eq!(write_launch(folder.path(), 5678).unwrap(), Launch::Made);
        assert_eq!(read(), LAUNCH);
        assert_eq!(write_launch(folder.path(), 5678).unwrap(), Launch::AsItWas);
        assert_eq!(write_launch(folder.path(), 4711).unwrap(), Launch::Added);
        let tree: Value = serde_json::from_str(&read()).unwrap();
        assert_eq!(tree["configurations"].as_array().unwrap().len(), 1);
        assert_eq!(tree["configurations"][0]["connect"]["port"], 4711);
        std::fs::write(
            &path,
            r#"{"version": "0.2.0", "configurations": [{"name": "mine"}], "compounds": []}"#,
        )
        .unwrap();
        assert_eq!(write_launch(folder.path(), 5678).unwrap(), Launch::Added);
        let tree: Value = serde_json::from_str(&read()).unwrap();
        assert_eq!(
            (&tree["configurations"][0]["name"], &tree["configurations"][1]["name"]),
            (&json!("mine"), &json!(NAME))
        );
        assert!(tree["compounds"].is_array());
        let theirs = "{\n  // a note\n  \"configurations\": []\n}\n";
        std::fs::write(&path, theirs).unwrap();
        let launch = write_launch(folder.path(), 5678).unwrap();
        assert!(matches!(&launch, Launch::NotOurs(text) if text.contains("5678")), "{launch:?}");
        assert_eq!(read(), theirs);
    }
}
