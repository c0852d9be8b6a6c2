//! Where things are on the machine that runs the tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Runtime;

/// How long anything may take. Long, because the machine may be busy with other tests; waits end early.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// The program under test: `INGLE_BINARY`, else what was built last.
///
/// # Panics
/// If none was built.
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("INGLE_BINARY") {
        return workspace().join(given);
    }
    let built = ["target/release/ingle", "target/debug/ingle"].map(|path| workspace().join(path));
    let when = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    built
        .into_iter()
        .filter(|path| path.is_file())
        .max_by_key(when)
        .unwrap_or_else(|| panic!("no program to test: run `cargo build -p ingle`, or set INGLE_BINARY"))
}

/// One cache for all tests, so that the worker's files are laid out once.
pub fn cache() -> PathBuf {
    match std::env::var_os("INGLE_CACHE") {
        Some(given) => workspace().join(given),
        None => workspace().join("target/test-cache"),
    }
}

/// The runtime of all HTTP clients of this process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        built.unwrap_or_else(|error| panic!("no threads for the HTTP clients: {error}"))
    })
}
