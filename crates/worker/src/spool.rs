//! The folder into which workers write large outputs, and how the server takes such a file over.
//!
//! A worker runs the app's code, so nothing that it says about a file is believed: a name has to be plain, and what it
//! names an ordinary file in the folder. Taking a file over gives it another name, so that what a dead process has left
//! unfinished can be told by its number and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_types::datum::Datum;
use ingle_types::local_file::LocalFile;
use ingle_types::outcome::Outputs;

const TAKEN: &str = "taken-";

/// Takes over the files among `outputs`, whose paths are names in `folder` until then.
///
/// # Errors
/// A sentence that says which file is not as it should be.
pub(crate) fn take_over(outputs: &mut Outputs, folder: &Path) -> Result<(), String> {
    for (name, value) in &mut outputs.0 {
        if let Datum::File(file) = value {
            *file = taken(file.path(), folder).map_err(|problem| format!("output '{name}': {problem}"))?;
        }
    }
    Ok(())
}

fn taken(name: &Path, folder: &Path) -> Result<LocalFile, String> {
    let name = name.to_str().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("{name:?} is no name of a file that a worker writes"));
    }
    let path = folder.join(name);
    let failed = |error: std::io::Error| format!("its file can't be taken over: {error}");
    // A link is not followed: it could lead anywhere.
    let found = fs::symlink_metadata(&path).map_err(failed)?;
    if !found.is_file() {
        return Err("what it names is no file".to_owned());
    }
    let target = folder.join(format!("{TAKEN}{name}"));
    fs::rename(&path, &target).map_err(failed)?;
    let held = Arc::new(Removed(target.clone()));
    Ok(LocalFile::new(target, found.len(), Some(held)))
}

/// Removes a file when it is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Usually the store has moved it; what stays in spite of this is removed at the next start.
        fs::remove_file(&self.0).ok();
    }
}

/// Removes what a process that has ended had not handed over. `owner`: with which the names of its files begin.
pub(crate) fn clean_after(owner: u64, folder: Option<&Path>) {
    let Some(folder) = folder else { return };
    let prefix = format!("{owner}-");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(name: &str, folder: &Path) -> Result<PathBuf, String> {
        let mut outputs =
            Outputs(vec![("out".to_owned(), Datum::File(LocalFile::new(name.into(), 0, None)))]);
        take_over(&mut outputs, folder)?;
        match &outputs.0[0].1 {
            Datum::File(file) => {
                assert_eq!(fs::metadata(file.path()).unwrap().len(), file.size);
                Ok(file.path().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    /// T-026: a worker can't name a file that is none of its own.
    #[test]
    fn t_026_only_plain_files_of_the_folder_are_taken() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spool");
        fs::create_dir_all(folder.join("7-folder")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), folder.join("7-link")).unwrap();
        for name in ["", "..", "../secret", "/etc/passwd", "7-link", "7-folder", "7-nobody", "a b"] {
            assert!(take(name, &folder).is_err(), "{name}");
        }
        assert!(root.path().join("secret").is_file());
    }

    #[test]
    fn a_file_goes_with_its_guard_and_leftovers_with_their_process() {
        let root = tempfile::tempdir().unwrap();
        for name in ["7-a", "7-b", "77-c"] {
            fs::write(root.path().join(name), "content").unwrap();
        }
        let path = take("7-a", root.path()).unwrap();
        assert!(!path.exists(), "the outputs are dropped");
        clean_after(7, Some(root.path()));
        assert!(!root.path().join("7-b").exists() && root.path().join("77-c").exists());
    }
}
