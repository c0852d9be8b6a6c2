//! The folder into which workers write large outputs, and how the server takes such a file over.
//!
//! A worker runs the app's code, so nothing that it says about a file is believed: a name has to be plain, and what it
//! names an ordinary file in the folder. Taking a file over moves it into a folder beside, which no worker can reach, and
//! only there it is looked at: as long as a worker can, it may put something else under the name. What a dead process
//! has left unfinished can be told by its number and removed.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_types::datum::Datum;
use ingle_types::local_file::LocalFile;
use ingle_types::outcome::Outputs;

/// The folder for what is taken over, beside the one that workers write into, so that moving there copies nothing.
const TAKEN: &str = "taken";

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
    let target = folder.with_file_name(TAKEN).join(name);
    let failed = |error: io::Error| format!("its file can't be taken over: {error}");
    move_away(&folder.join(name), &target).map_err(failed)?;
    let held = Arc::new(Removed(target.clone()));
    // A link was moved and not followed: it could lead anywhere.
    let found = fs::symlink_metadata(&target).map_err(failed)?;
    if !found.is_file() {
        return Err("what it names is no file".to_owned());
    }
    // Nobody runs it, and nobody but us reads it, whatever its writer had in mind.
    fs::set_permissions(&target, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(LocalFile::new(target, found.len(), Some(held)))
}

fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    // The first one finds no folder there, and a file that is not there is not found once more.
    let folder = to.parent().unwrap_or(to);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::rename(from, to)
}

/// Removes a file when it is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Usually the store has moved it; what stays in spite of this is removed at the next start.
        if fs::remove_file(&self.0).is_err() {
            // A worker may have made a folder.
            ingle_sandbox::remove::tree(&self.0).ok();
        }
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
        assert_eq!(fs::read_dir(root.path().join(TAKEN)).unwrap().count(), 0, "what is refused is not kept");
    }

    /// T-010: who swaps file and link while the server looks gets one of them refused or taken, and never what the link
    /// leads to.
    #[test]
    fn t_010_a_name_that_changes_its_meaning_leads_nowhere() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let root = tempfile::tempdir().unwrap();
        let (spool, secret) = (root.path().join("spool"), root.path().join("secret"));
        fs::create_dir(&spool).unwrap();
        fs::write(&secret, "secret").unwrap();
        let (file, link) = (spool.join("7-file"), spool.join("7-link"));
        for _ in 0..200 {
            fs::write(&file, "own").unwrap();
            std::os::unix::fs::symlink(&secret, &link).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| while renameat_with(CWD, &file, CWD, &link, RenameFlags::EXCHANGE).is_ok() {});
                let mut outputs =
                    Outputs(vec![("out".to_owned(), Datum::File(LocalFile::new("7-file".into(), 0, None)))]);
                if take_over(&mut outputs, &spool).is_ok() {
                    let Datum::File(taken) = &outputs.0[0].1 else { panic!("not a file") };
                    assert_eq!(fs::read_to_string(taken.path()).unwrap(), "own");
                    assert!(!fs::symlink_metadata(taken.path()).unwrap().is_symlink());
                }
            });
            fs::remove_file(&link).unwrap();
        }
    }

    /// T-006: a file that functions have written runs as nobody.
    #[test]
    fn t_006_a_file_taken_over_has_no_mode_of_its_writer() {
        let root = tempfile::tempdir().unwrap();
        let spool = root.path().join("spool");
        fs::create_dir(&spool).unwrap();
        fs::write(spool.join("7-a"), "#!/bin/sh").unwrap();
        fs::set_permissions(spool.join("7-a"), Permissions::from_mode(0o6777)).unwrap();
        let mut outputs =
            Outputs(vec![("out".to_owned(), Datum::File(LocalFile::new("7-a".into(), 0, None)))]);
        take_over(&mut outputs, &spool).unwrap();
        let Datum::File(file) = &outputs.0[0].1 else { panic!("not a file") };
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_goes_with_its_guard_and_leftovers_with_their_process() {
        let root = tempfile::tempdir().unwrap();
        let spool = root.path().join("spool");
        fs::create_dir(&spool).unwrap();
        for name in ["7-a", "7-b", "77-c"] {
            fs::write(spool.join(name), "content").unwrap();
        }
        let path = take("7-a", &spool).unwrap();
        assert!(!path.exists(), "the outputs are dropped");
        clean_after(7, Some(&spool));
        assert!(!spool.join("7-b").exists() && spool.join("77-c").exists());
    }
}
