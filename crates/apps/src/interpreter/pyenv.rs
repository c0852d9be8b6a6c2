//! The versions that pyenv has installed, found by their folders: its shims and its program are never run.

use std::path::{Path, PathBuf};

/// The number in a version as tools write it: `cpython-3.11` and `python3.11` are `3.11`.
pub(super) fn number(version: &str) -> &str {
    let bare = version.strip_prefix("cpython").or_else(|| version.strip_prefix("python")).unwrap_or(version);
    bare.trim_start_matches(['-', '@'])
}

/// The folder of a version: of exactly that name, else the newest that starts with it (`3.11` finds `3.11.7`).
/// Names that lead elsewhere find nothing (T-026).
pub(super) fn find(pyenv_root: &Path, version: &str) -> Option<PathBuf> {
    let version = number(version.trim());
    if version.is_empty() || version.contains(['/', '\\']) || version.starts_with('.') || version == "system"
    {
        return None;
    }
    let versions = pyenv_root.join("versions");
    let exact = versions.join(version);
    if exact.is_dir() {
        return Some(exact);
    }
    let prefix = format!("{version}.");
    let names = std::fs::read_dir(versions).ok()?.flatten().map(|entry| entry.path());
    names
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let patch: u32 = name.strip_prefix(&prefix)?.parse().ok()?;
            Some((patch, path))
        })
        .max()
        .map(|(_, path)| path)
}
