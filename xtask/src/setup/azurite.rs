//! Azurite, the emulator of Azure Storage, and Azure's own Python clients for the tests that talk to it.

use std::path::Path;

use anyhow::Context;

use super::{environment_with, is_root_with_apt, target};
use crate::interpreters::Interpreter;
use crate::process::Program;

/// A version that the tests have been run with.
const PACKAGE: &str = "azurite@3.35.0";
const CLIENTS: [&str; 3] =
    ["azure-storage-queue>=12,<13", "azure-storage-blob>=12,<13", "azure-data-tables>=12,<13"];

/// Installs both under cargo's target folder, or finds them ready. What is missing and can't be had is returned.
///
/// # Errors
/// If npm or pip is there and fails.
pub(super) fn install(root: &Path, default: &Interpreter) -> anyhow::Result<Option<String>> {
    let folder = target(root)?.join("azurite");
    let ready = folder.join("ready");
    if !std::fs::read_to_string(&ready).is_ok_and(|text| text == PACKAGE) {
        if !has_npm(root)? {
            return Ok(Some("Azurite, as there is no npm: stories about accounts fail".to_owned()));
        }
        println!("installing {PACKAGE} under {}", folder.display());
        std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let options = ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", PACKAGE];
        Program::new("npm", &folder).args(options).run().context("Azurite could not be installed")?;
        std::fs::write(&ready, PACKAGE).with_context(|| format!("{} can't be written", ready.display()))?;
    }
    environment_with(root, default, "storage", &CLIENTS)?;
    Ok(None)
}

/// Whether npm is there, after a try to install it as Debian's package.
fn has_npm(root: &Path) -> anyhow::Result<bool> {
    let works = || Program::new("npm", root).args(["--version"]).read().is_ok();
    if works() {
        return Ok(true);
    }
    if is_root_with_apt(root) {
        println!("installing nodejs and npm: Azurite needs them");
        Program::new("apt-get", root).args(["update", "--quiet"]).run()?;
        let install = Program::new("apt-get", root).args(["install", "--yes", "--quiet", "nodejs", "npm"]);
        install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
    }
    Ok(works())
}
