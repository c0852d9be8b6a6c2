//! The debugger of the stories, where Ingle keeps it, so that no story needs a network.

use std::path::Path;

use anyhow::Context;

use crate::process::Program;
use crate::setup::{TestPython, target};

/// Installs `debugpy` for a version of Python into the cache of the stories, as `ingle start --debug` would.
///
/// # Errors
/// If it can't be installed.
pub(crate) fn install(root: &Path, python: &TestPython) -> anyhow::Result<()> {
    let store = target(root)?.join("test-cache/debugger");
    let folder = store.join(&python.version);
    if folder.join("debugpy").is_dir() {
        return Ok(());
    }
    println!("installing debugpy for Python {}", python.version);
    // A folder of that name is taken for whole.
    let draft = store.join(format!("setup-{}", python.version));
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"];
    let install = Program::new(&python.program, root).args(options).args([&draft]).args(["debugpy"]);
    install.run().with_context(|| format!("debugpy could not be installed for Python {}", python.version))?;
    std::fs::rename(&draft, &folder).with_context(|| format!("{} can't be made", folder.display()))
}
