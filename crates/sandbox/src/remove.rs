//! Removing a folder in which code of users has written: of any depth, with names of any length, whatever its rights.
//!
//! The way of the standard library takes stack and a descriptor for each level, so a hostile tree ends the program that removes
//! it. Here a folder inside of another is first moved up to the top, where it is emptied like the others: no level is ever
//! entered.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use tokio::time::Instant;

/// Removes a folder and all that is in it. Links are removed, and not followed. One that is not there is no error.
///
/// # Errors
/// Those of the system, e.g. that the folder belongs to somebody else; then a part may be left. `TimedOut` if it takes longer
/// than any tree does, as somebody goes on writing into it.
pub fn tree(folder: &Path) -> io::Result<()> {
    match empty_top(folder) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A million files take a few seconds.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Names that folders get when they are moved up; somebody may have taken some.
const NAMES_TRIED: u64 = 1 << 20;

fn empty_top(folder: &Path) -> Result<(), Errno> {
    let top = open(CWD, folder)?;
    let mut next = 0;
    let until = Instant::now() + TIME_MAX;
    loop {
        if Instant::now() > until {
            return Err(Errno::TIMEDOUT);
        }
        let names = names(top.as_fd())?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if remove_one(top.as_fd(), &name)? {
                continue;
            }
            // Also of a folder that its maker has made unreadable.
            open_up(top.as_fd(), &name)?;
            let inner = open(top.as_fd(), &name)?;
            empty_into(inner.as_fd(), top.as_fd(), &mut next)?;
            unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Empties one folder: what is a folder with something in it moves to the top.
fn empty_into(folder: BorrowedFd<'_>, top: BorrowedFd<'_>, next: &mut u64) -> Result<(), Errno> {
    for name in names(folder)? {
        if remove_one(folder, &name)? {
            continue;
        }
        // Moving a folder writes into it, as it knows the one above.
        open_up(folder, &name)?;
        let until = *next + NAMES_TRIED;
        loop {
            *next += 1;
            match renameat(folder, &name, top, format!(".moved-{next}")) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if *next < until => {}
                moved => break moved?,
            }
        }
    }
    Ok(())
}

/// Gives us every right in a folder. It is opened first and never followed: whoever wrote it may put a link in its place meanwhile
/// (T-010).
fn open_up(folder: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty())?;
    // What is open without being read can be changed by this path alone.
    chmod(format!("/proc/self/fd/{}", opened.as_raw_fd()), Mode::RWXU)
}

/// Whether it is gone; a folder with something in it is not.
fn remove_one(folder: BorrowedFd<'_>, name: &CString) -> Result<bool, Errno> {
    // What is no folder is a file or a link; POSIX has PERM for folders, Linux ISDIR.
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        },
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

fn open(place: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    openat(
        place,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// T-008, T-014: such a tree has ended a server that removed it level by level.
    /// T-010: what is put in the place of a folder while it is removed is not followed.
    #[test]
    fn t_010_a_link_in_the_place_of_a_folder_is_not_followed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("swapped")).unwrap();
        let top = open(CWD, folder.path()).unwrap();
        assert!(open_up(top.as_fd(), &CString::new("swapped").unwrap()).is_err());
        assert_eq!(std::fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o755);
        open_up(top.as_fd(), &CString::new("victim").unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut place = open(CWD, &top).unwrap();
        // More than a process may have descriptors, and than a thread has stack.
        for _ in 0..20_000 {
            rustix::fs::mkdirat(&place, "inner", Mode::RWXU).unwrap();
            place = open(place.as_fd(), "inner").unwrap();
        }
        drop(place);
        tree(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn links_are_not_followed_and_rights_are_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let (top, kept) = (folder.path().join("top"), folder.path().join("kept"));
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        for name in ["link", "a/link", "a/b/.moved-1"] {
            symlink(&kept, top.join(name)).unwrap();
        }
        fs::create_dir(top.join(".moved-1")).unwrap();
        fs::write(top.join(".moved-1/file"), "").unwrap();
        fs::write(top.join(".moved-2"), "").unwrap();
        for name in ["a/b", "a"] {
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        tree(&top).unwrap();
        assert!(!top.exists() && kept.join("file").exists());
        // There is nothing more to remove.
        tree(&top).unwrap();
        assert!(tree(&kept.join("file")).is_err());
    }
}
