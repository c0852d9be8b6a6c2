//! gVisor, for the stories of apps whose workers run under it.

use std::path::Path;

use super::is_root_with_apt;
use crate::process::Program;

/// Installs Debian's package, or finds the program there. What can't be had is returned.
pub(super) fn install(root: &Path) -> Option<String> {
    let works = || Program::new("runsc", root).args(["--version"]).read().is_ok();
    if works() {
        return None;
    }
    if is_root_with_apt(root) {
        println!("installing runsc: stories about gVisor need it");
        let install = || -> anyhow::Result<()> {
            Program::new("apt-get", root).args(["update", "--quiet"]).run()?;
            let install = Program::new("apt-get", root).args(["install", "--yes", "--quiet", "runsc"]);
            install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
            Ok(())
        };
        // Not every system has the package.
        if let Err(error) = install() {
            println!("{error:#}");
        }
    }
    (!works()).then(|| "gVisor, as `runsc` can't be installed: stories about it do nothing".to_owned())
}
