//! Tasks of `zappa.asynchronous` in the code of a project: they are no events here.

use std::path::{Path, PathBuf};

use super::super::findings::Findings;
use crate::folder::read_bytes;

/// What is looked through.
const FILES_MAX: usize = 500;
const DEPTH_MAX: usize = 4;
const MODULES: [&str; 2] = ["zappa.asynchronous", "zappa.async"];
const WHY: &str = "tasks run at once, in their request, as Zappa has it outside of AWS";

/// Says where tasks are imported.
pub(super) fn note(root: &Path, findings: &mut Findings) {
    for file in python_files(root) {
        let Ok(Some(bytes)) = read_bytes(&root.join(&file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let imports = |line: &str| {
            let words = line.trim_start();
            let is_import = words.starts_with("from ") || words.starts_with("import ");
            is_import && MODULES.iter().any(|module| words.split_whitespace().nth(1) == Some(*module))
        };
        if let Some(index) = text.lines().position(imports) {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            findings.ignore_in(&file.display().to_string(), line, "zappa.asynchronous".to_owned(), WHY);
        }
    }
}

/// Relative to the folder, sorted; without those of environments.
fn python_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![PathBuf::new()];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for folder in level {
            for entry in std::fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let path = folder.join(&name);
                let is_own = !name.starts_with('.') && !root.join(&path).join("pyvenv.cfg").is_file();
                if is_folder && is_own && !matches!(name.as_str(), "node_modules" | "site-packages") {
                    below.push(path);
                } else if !is_folder && name.ends_with(".py") && found.len() < FILES_MAX {
                    found.push(path);
                }
            }
        }
        level = below;
    }
    found.sort();
    found
}
