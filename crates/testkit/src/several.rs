//! Servers with several apps: each in a folder of its own beside the first, reached by its name.

use std::path::PathBuf;

use serde_json::Value;

use crate::app::App;
use crate::call::{Call, Done};
use crate::http::{Request, Response};
use crate::launch::Launch;
use crate::server::Server;

impl Launch {
    /// Names the folder in which the apps are, and not the apps.
    #[must_use]
    pub fn by_parent(mut self) -> Self {
        self.by_parent = true;
        self
    }

    /// One more app, in a folder of this name. The first one is `app`.
    #[must_use]
    pub fn beside(self, name: &str, app: &App) -> Self {
        let folder = self.home.app().with_file_name(name);
        app.write(&folder);
        if self.by_parent { self } else { self.argument(&folder.display().to_string()) }
    }
}

impl Server {
    /// The folder of one of its apps.
    pub fn folder_of(&self, app: &str) -> PathBuf {
        self.folder().with_file_name(app)
    }

    /// A command of the command line about one of its apps.
    pub fn call_of(&self, app: &str, words: &[&str]) -> Done {
        let state = self.state_folder().join(app);
        Call::new(words).word("--app").path(&self.folder_of(app)).word("--state").path(&state).run()
    }

    /// What `ingle ps` tells of one of its apps.
    #[track_caller]
    pub fn processes_of(&self, app: &str) -> Value {
        self.call_of(app, &["ps", "--json"]).code(0).json()
    }

    /// A request to one of its apps, by the host.
    #[track_caller]
    pub fn get_of(&self, app: &str, target: &str) -> Response {
        self.send(Request::get(target).header("host", &format!("{app}.localhost")))
    }
}
