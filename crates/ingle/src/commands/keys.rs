//! `ingle keys`: the keys that callers show. Works on the file of keys, so with and without a running server; a server
//! that runs sees the change with its next request.

use std::time::Duration;

use ingle_control::absolute;
use ingle_store::keys::{KeyFile, KeyRing, KeyScope, KeySummary, KeyText, MASTER};
use ingle_types::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::cli::{KeyArguments, KeysCommand, Place};
use crate::commands::state::payload;
use crate::exit::{CommandError, USAGE};
use crate::printer::{Style, write_out};
use crate::surroundings::Surroundings;

pub(crate) fn run(command: KeysCommand, style: Style) -> Result<u8, CommandError> {
    let now = SystemClock.now();
    match command {
        KeysCommand::Ls { at } => {
            let ring = file(&at)?.read()?;
            list(&ring.as_ref().map(KeyRing::list).unwrap_or_default(), style);
        }
        KeysCommand::Create { key } => {
            let (scope, name) = which(&key);
            let text = KeyText::random()?;
            let make = |ring: &mut KeyRing| {
                // A key in use is not replaced by mistake.
                if ring.has(&scope, &name) { Ok(false) } else { ring.set(&scope, &name, &text, now) }
            };
            if !file(&key.at)?.edit(make)? {
                let message = format!("there is a {scope} key `{name}` already");
                return Err(
                    CommandError::new(USAGE, "E0509", message).hint("`ingle keys rotate` replaces it")
                );
            }
            made(&scope, &name, &text, style);
        }
        KeysCommand::Set { key, value } => {
            let (scope, name) = which(&key);
            let text = chosen(&value)?;
            file(&key.at)?.edit(|ring| ring.set(&scope, &name, &text, now))?;
            done("set", &scope, &name, style);
        }
        KeysCommand::Delete { key } => {
            let (scope, name) = which(&key);
            file(&key.at)?.edit(|ring| ring.delete(&scope, &name))?;
            done("deleted", &scope, &name, style);
        }
        KeysCommand::Rotate { key, overlap } => {
            let (scope, name) = which(&key);
            let text = KeyText::random()?;
            let until = now.checked_add(Duration::from_secs(overlap));
            let until = until.ok_or_else(|| CommandError::new(USAGE, "E0703", "--overlap is too long"))?;
            file(&key.at)?.edit(|ring| ring.rotate(&scope, &name, &text, (now, until)))?;
            made(&scope, &name, &text, style);
        }
    }
    Ok(0)
}

fn file(place: &Place) -> Result<KeyFile, CommandError> {
    if !place.folder.is_dir() {
        let message = format!("there is no folder '{}'", place.folder.display());
        return Err(CommandError::new(USAGE, "E0101", message).hint("name the app's folder with --app"));
    }
    Ok(KeyFile::in_folder(&Surroundings::state(&absolute(&place.folder), place.state.as_ref())))
}

fn which(key: &KeyArguments) -> (KeyScope, String) {
    match &key.function {
        Some(function) => (KeyScope::function(function), key.name.clone()),
        None if key.master => (KeyScope::Master, MASTER.to_owned()),
        None if key.api => (KeyScope::Api, key.name.clone()),
        None if key.system => (KeyScope::System, key.name.clone()),
        None => (KeyScope::Host, key.name.clone()),
    }
}

fn chosen(value: &str) -> Result<KeyText, CommandError> {
    let bytes = payload(value)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    KeyText::chosen(text).map_err(CommandError::from)
}

fn made(scope: &KeyScope, name: &str, text: &KeyText, style: Style) {
    write_out(&format!("{}\n", shown(scope, name, text, style)));
}

/// The only place where the text of a key is shown.
pub(crate) fn shown(scope: &KeyScope, name: &str, text: &KeyText, style: Style) -> String {
    if style.json {
        json!({"event": "key", "kind": kind(scope), "function": function(scope), "name": name,
            "value": text.reveal()})
        .to_string()
    } else {
        format!("{}\n\n{scope} key `{name}`: keep it now, it is not shown again", text.reveal())
    }
}

fn done(what: &str, scope: &KeyScope, name: &str, style: Style) {
    let shown = if style.json {
        json!({"event": what, "kind": kind(scope), "function": function(scope), "name": name}).to_string()
    } else {
        format!("{what}: {scope} key `{name}`")
    };
    write_out(&format!("{shown}\n"));
}

fn list(keys: &[KeySummary], style: Style) {
    if style.json {
        let shown: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({"kind": kind(&key.scope), "function": function(&key.scope), "name": key.name,
                    "createdAt": key.created_ms, "previousUntil": key.previous_until_ms})
            })
            .collect();
        write_out(&format!("{}\n", json!({"keys": shown})));
        return;
    }
    if keys.is_empty() {
        write_out("there are no keys; `ingle keys create` makes one for every function\n");
    }
    let date = |ms: i64| {
        chrono::DateTime::from_timestamp_millis(ms).map(|time| time.format("%Y-%m-%d %H:%M UTC").to_string())
    };
    let now = ingle_types::clock::unix_ms(SystemClock.now());
    for key in keys {
        let created = date(key.created_ms).unwrap_or_default();
        let until = key.previous_until_ms.filter(|until| *until > now).and_then(date);
        let until = until.map(|until| format!(", the one before until {until}")).unwrap_or_default();
        write_out(&format!("{:20} {}  made {created}{until}\n", key.scope.to_string(), key.name));
    }
}

fn kind(scope: &KeyScope) -> &'static str {
    match scope {
        KeyScope::Master => "master",
        KeyScope::Host => "host",
        KeyScope::System => "system",
        KeyScope::Api => "api",
        KeyScope::Function(_) => "function",
    }
}

fn function(scope: &KeyScope) -> Option<&str> {
    match scope {
        KeyScope::Function(name) => Some(name),
        KeyScope::Master | KeyScope::Host | KeyScope::System | KeyScope::Api => None,
    }
}
