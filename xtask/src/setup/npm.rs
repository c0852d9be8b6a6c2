//! Programs of the npm registry, under cargo's target folder.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{is_root_with_apt, target};
use crate::process::Program;

/// Installs packages, given as `name@version`, into a folder of this name, or finds them ready. `None`: there is no npm, and it
/// can't be had.
///
/// # Errors
/// If npm is there and fails.
pub(crate) fn install(root: &Path, name: &str, packages: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let folder = target(root)?.join(name);
    let ready = folder.join("ready");
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&ready).is_ok_and(|text| text == wanted) {
        return Ok(Some(folder));
    }
    if !is_there(root)? {
        return Ok(None);
    }
    println!("installing {wanted} under {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let options = ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
    let install = Program::new("npm", &folder).args(options).args(packages).run();
    install.with_context(|| format!("{wanted} could not be installed"))?;
    std::fs::write(&ready, wanted).with_context(|| format!("{} can't be written", ready.display()))?;
    Ok(Some(folder))
}

/// Whether npm is there, after a try to install it as Debian's package.
fn is_there(root: &Path) -> anyhow::Result<bool> {
    let works = || Program::new("npm", root).args(["--version"]).read().is_ok();
    if works() {
        return Ok(true);
    }
    if is_root_with_apt(root) {
        println!("installing nodejs and npm");
        Program::new("apt-get", root).args(["update", "--quiet"]).run()?;
        let install = Program::new("apt-get", root).args(["install", "--yes", "--quiet", "nodejs", "npm"]);
        install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
    }
    Ok(works())
}
