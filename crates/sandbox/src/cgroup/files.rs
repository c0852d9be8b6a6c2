//! The few ways in which files of control groups are read and written.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Groups below a leaf, made by what runs in it, are followed down to here.
const DEPTH_MAX: usize = 16;

/// Writes a value. Never makes a file, as a file that is not there means that the kernel can't do it.
pub(super) fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = folder.join(file);
    let mut options = OpenOptions::new();
    let written = options.write(true).open(&path).and_then(|mut open| open.write_all(value.as_bytes()));
    written.map_err(|error| told(&error, &format!("{value:?} could not be written to {}", path.display())))
}

/// The error with what was tried; its kind stays.
pub(super) fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Whether the kernel refused as something is in use, e.g. a group that has processes.
pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty)
}

pub(super) fn read(folder: &Path, file: &str) -> io::Result<String> {
    std::fs::read_to_string(folder.join(file))
}

/// The number that a file holds; `None` if it can't be read or says `max`.
pub(super) fn number(folder: &Path, file: &str) -> Option<u64> {
    read(folder, file).ok()?.trim().parse().ok()
}

/// The number behind a key in a file of lines such as `oom_kill 3`.
pub(super) fn keyed_number(folder: &Path, file: &str, key: &str) -> Option<u64> {
    keyed(&read(folder, file).ok()?, key)
}

pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// Opens for writing a value again and again.
pub(super) fn open_to_write(folder: &Path, file: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(folder.join(file), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The processes of a group without those below it. One of another process namespace has the number 0.
pub(super) fn processes(folder: &Path) -> io::Result<Vec<i32>> {
    Ok(read(folder, "cgroup.procs")?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// The processes of a group and of those below it.
pub(super) fn processes_below(folder: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    collect_processes(folder, DEPTH_MAX, &mut found);
    found
}

fn collect_processes(folder: &Path, depth: usize, found: &mut Vec<i32>) {
    // A group that is gone has none.
    found.extend(processes(folder).unwrap_or_default());
    if depth > 0 {
        for inner in folders_in(folder) {
            collect_processes(&inner, depth - 1, found);
        }
    }
}

/// Groups directly below a group.
pub(super) fn folders_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_folder).map(|entry| entry.path()).collect()
}

/// Removes a group and those below it, as far as they have no processes. One that is gone already is no error.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    remove_down_to(folder, DEPTH_MAX)
}

fn remove_down_to(folder: &Path, depth: usize) -> io::Result<()> {
    let first = match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if is_busy(&error) && depth > 0 => error,
        result => return result,
    };
    let inner = folders_in(folder);
    if inner.is_empty() {
        return Err(first);
    }
    for folder in inner {
        remove_down_to(&folder, depth - 1)?;
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_key() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\noom_group_kill 1\nbad x\nempty\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom"), None);
        assert_eq!(keyed(text, "bad"), None);
        assert_eq!(keyed(text, "empty"), None);
        assert_eq!(keyed("", "oom_kill"), None);
    }

    #[test]
    fn a_value_is_written_only_where_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), "memory.max", "1").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("\"1\" could not be written to "), "{error}");
        assert!(!folder.path().join("memory.max").exists());
    }

    #[test]
    fn a_tree_is_removed_from_its_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir_all(top.join("c")).unwrap();
        remove_tree(&top).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
