//! The app of a story: files by path, taken from a folder or written in the test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::launch::Launch;
use crate::machine::workspace;
use crate::python::Python;
use crate::server::Server;

/// What a server keeps in an app's folder, and what Python does; neither belongs to the app.
const NOT_COPIED: [&str; 3] = [".ingle", "__pycache__", ".venv"];

/// Files of an app. Each server gets its own copy.
#[derive(Clone, Debug, Default)]
pub struct App {
    files: BTreeMap<String, Vec<u8>>,
    is_read_only: bool,
}

impl App {
    /// An app written in the test; `host.json` is added.
    pub fn files(files: &[(&str, &str)]) -> Self {
        let app = Self::default().file("host.json", "{\"version\": \"2.0\"}");
        files.iter().fold(app, |app, (path, text)| app.file(path, text))
    }

    /// A v2 app of one file. What every one of them begins with is put before it on line 1, so that the test's own
    /// lines count from 2. `whoami()` is a number that no other process of the machine has, in whichever box: see
    /// [`whoami_of`](crate::whoami_of).
    pub fn python(text: &str) -> Self {
        const HEAD: &str = "import json, os, sys, time, threading, logging; import azure.functions as func; \
            app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS); \
            whoami = lambda: int(os.readlink(\"/proc/self/ns/pid\")[5:-1]) % 10**6 * 10**13 \
            + int(open(\"/proc/self/stat\").read().rpartition(\") \")[2].split()[19]) % 10**8 * 10**5 + os.getpid() % 10**5\n";
        Self::files(&[("function_app.py", &format!("{HEAD}{text}"))])
    }

    /// A folder of the workspace, e.g. `examples/restaurant`.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn folder(path: &str) -> Self {
        let mut app = Self::default().read_only();
        let root = workspace().join(path);
        app.read(&root, "").unwrap_or_else(|error| panic!("can't read {}: {error}", root.display()));
        app
    }

    fn read(&mut self, folder: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if NOT_COPIED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.read(&entry.path(), &format!("{path}/"))?;
            } else {
                self.files.insert(path, fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    /// Adds a file that is somewhere else, e.g. a program that was built.
    ///
    /// # Panics
    /// If it can't be read.
    #[must_use]
    pub fn copied(mut self, path: &str, from: &Path) -> Self {
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("can't read {}: {error}", from.display()));
        self.files.insert(path.to_owned(), bytes);
        self
    }

    /// Replaces host.json.
    #[must_use]
    pub fn host(self, host: &Value) -> Self {
        self.file("host.json", &host.to_string())
    }

    /// Replaces the `Values` of local.settings.json.
    #[must_use]
    pub fn settings(self, values: &Value) -> Self {
        self.file("local.settings.json", &serde_json::json!({"Values": values}).to_string())
    }

    /// The text of one of its files.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn text(&self, path: &str) -> String {
        let bytes = self.files.get(path).unwrap_or_else(|| panic!("the app has no {path}"));
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Writes it into a folder. What begins as a script or a program does can be run.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write(&self, folder: &Path) {
        for (path, bytes) in &self.in_writable_folder() {
            let file = folder.join(path);
            let written = match file.parent() {
                Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&file, bytes)),
                None => fs::write(&file, bytes),
            };
            let is_program = bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF");
            let mode = if is_program { 0o755 } else { 0o644 };
            let written = written.and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)));
            written.unwrap_or_else(|error| panic!("can't write {}: {error}", file.display()));
        }
    }

    /// Functions of stories leave notes for the test in the app's folder, which is read-only unless the app says otherwise.
    fn in_writable_folder(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        let own = files.entry("ingle.toml".to_owned()).or_default();
        if !self.is_read_only && !String::from_utf8_lossy(own).contains("[sandbox]") {
            own.extend_from_slice(b"\n[sandbox]\nwrite = [\".\"]\n");
        }
        if own.is_empty() {
            files.remove("ingle.toml");
        }
        files
    }

    /// Its folder is read-only for its functions, as it is for those of users.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// A server for it, with more to say before it starts.
    pub fn launch(&self, python: &Python) -> Launch {
        Launch::new(self, python)
    }

    /// A server for it, ready to serve.
    pub fn start(&self, python: &Python) -> Server {
        self.launch(python).start()
    }
}
