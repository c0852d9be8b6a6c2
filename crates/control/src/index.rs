//! What an app declares, kept from one start of the server to the next, so that an app which nobody calls need not be
//! imported to be served.
//!
//! The index is the answer of an import, under a key: a hash of everything that may decide what an import finds. Where
//! anything differs, the app is imported. An import that found an error is not kept. What the key can't know, such as
//! the time of day or another machine that the import asks, is found out when the first worker is made: functions that
//! are missing then fail their calls (`worker::nursery`).

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ingle_sandbox::read;
use ingle_types::problem::Severity;
use ingle_worker::Loaded;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::load::Prepared;
use crate::watch::{is_of_the_app, is_source};

/// The file in the state folder.
const FILE: &str = "index.json";
/// An app of more files is imported each time, as reading about all of them takes about as long.
const FILES_MAX: usize = 20_000;
/// A larger file is known by its size and time of change only.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Variables of a session, which no app looks at when it is imported.
const OF_A_SESSION: [&str; 8] =
    ["_", "PWD", "OLDPWD", "SHLVL", "WINDOWID", "XDG_SESSION_ID", "INVOCATION_ID", "JOURNAL_STREAM"];
/// What leads to the door of a project is new with each start.
const OF_THE_DOOR: [&str; 3] = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// The index of one version of an app.
pub(crate) struct Index {
    file: PathBuf,
    key: String,
}

impl Index {
    /// The index of an app as its files are now; none if it has too many of them, or they can't be read.
    ///
    /// `state`: the app's state folder. `shim`: the folder of our Python files, whose name tells builds apart.
    /// `inherited`: the variables of the server.
    pub(crate) fn of(
        state: &Path,
        prepared: &Prepared,
        shim: &Path,
        inherited: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(shim.as_os_str().as_encoded_bytes());
        add(format!("{:?}", prepared.interpreter.version).as_bytes());
        add(format!("{:?}", prepared.folder.filter).as_bytes());
        // Says which script or handler it is.
        add(prepared.folder.why.as_bytes());
        for (name, value) in inherited.iter().chain(&prepared.folder.settings) {
            let is_new = [&OF_A_SESSION[..], &OF_THE_DOOR].concat().contains(&name.as_str());
            if !is_new && !name.starts_with("INGLE_") {
                add(format!("{name}={value}").as_bytes());
            }
        }
        add_environment(&prepared.environment.python, &mut add);
        let mut files = Vec::new();
        list(&prepared.folder.root, &mut files).ok()?;
        files.sort();
        for file in files {
            add(file.as_os_str().as_encoded_bytes());
            add_file(&file, &mut add).ok()?;
        }
        let key = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { file: state.join(FILE), key })
    }

    /// What an import of this version has found.
    pub(crate) fn read(&self) -> Option<Loaded> {
        let text = fs::read(&self.file).ok()?;
        let mut kept: Value = serde_json::from_slice(&text).ok()?;
        if kept["key"] != *self.key {
            return None;
        }
        let mut loaded: Loaded = serde_json::from_value(kept["loaded"].take()).ok()?;
        // That was another time.
        loaded.import_ms = 0.0;
        Some(loaded)
    }

    /// Keeps what an import of this version has found, unless that was an error. Without it, the next start takes
    /// longer, so a disk that does not take it is only a warning.
    pub(crate) fn write(&self, loaded: &Loaded) {
        if loaded.problems.iter().any(|problem| problem.severity == Severity::Error) {
            return;
        }
        let text = json!({"key": self.key, "loaded": loaded}).to_string();
        let new = self.file.with_extension("json.new");
        if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.file)) {
            tracing::warn!(file = %self.file.display(), "what the app declares can't be kept: {error}");
        }
    }

    /// Whether the app is still this version.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Packages come and go in folders, whose time changes then.
fn add_environment(python: &Path, add: &mut impl FnMut(&[u8])) {
    add(python.as_os_str().as_encoded_bytes());
    let Some(root) = python.parent().and_then(Path::parent) else { return };
    let library = fs::read_dir(root.join("lib")).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = library.map(|entry| entry.path().join("site-packages")).collect();
    places.push(root.join("pyvenv.cfg"));
    places.sort();
    for place in places {
        if let Ok(about) = place.metadata() {
            add(format!("{} {}", place.display(), changed_at(&about)).as_bytes());
        }
    }
}

/// Every file of the app, below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if !is_of_the_app(&entry.file_name()) {
            continue;
        }
        if !entry.file_type()?.is_dir() {
            files.push(path);
        } else if !path.join("pyvenv.cfg").exists() {
            list(&path, files)?;
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other("too many files"));
        }
    }
    Ok(())
}

fn add_file(file: &Path, add: &mut impl FnMut(&[u8])) -> io::Result<()> {
    // A link that leads nowhere is told by its name.
    let Ok(about) = file.metadata() else { return Ok(()) };
    if is_source(file) && about.is_file() && about.len() <= READ_BYTES_MAX {
        // What is there by now may be something else, or larger: then the app is imported.
        add(&read::file(file, READ_BYTES_MAX)?.unwrap_or_default());
    } else {
        add(format!("{} {}", about.len(), changed_at(&about)).as_bytes());
    }
    Ok(())
}

/// Nanoseconds since 1970.
fn changed_at(about: &Metadata) -> u128 {
    let changed = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    changed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests;
