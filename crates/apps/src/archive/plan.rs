//! What becomes of each entry, decided before anything is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::directory::Entry;
use super::{ArchiveError, RATIO_BYTES_MIN, RATIO_MAX, TOTAL_BYTES_MAX};

/// Bits of a mode that say which kind of file it is.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const EXECUTABLE: u32 = 0o111;
const LINK_BYTES_MAX: u64 = 4096;
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Folder,
    File { is_executable: bool },
    Link,
}

/// An entry that may be written.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) entry: &'a Entry,
    /// Relative to the folder.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// All entries in their order.
///
/// # Errors
/// The first one that is refused.
pub(super) fn check<'a>(zip: &str, entries: &'a [Entry]) -> Result<Vec<Planned<'a>>, ArchiveError> {
    sizes(zip, entries)?;
    let mut planned = Vec::with_capacity(entries.len());
    // What stands at a path, and whether other entries may be below it.
    let mut taken: BTreeMap<String, bool> = BTreeMap::new();
    for entry in entries {
        let name = name(zip, entry)?;
        let kind = kind(zip, entry, name)?;
        let path = name.trim_end_matches('/');
        let double = || ArchiveError::Double { zip: zip.to_owned(), entry: entry.shown() };
        for (at, _) in path.match_indices('/') {
            let is_folder = *taken.entry(path[..at].to_owned()).or_insert(true);
            if !is_folder {
                return Err(double());
            }
        }
        let is_folder = kind == Kind::Folder;
        match taken.insert(path.to_owned(), is_folder) {
            // A folder may be named after what is in it.
            Some(true) if is_folder => {}
            Some(_) => return Err(double()),
            None => {}
        }
        planned.push(Planned { entry, path: PathBuf::from(path), kind });
    }
    Ok(planned)
}

fn sizes(zip: &str, entries: &[Entry]) -> Result<(), ArchiveError> {
    let large = |what: String| Err(ArchiveError::Large { zip: zip.to_owned(), what });
    let mut total = 0;
    for entry in entries {
        total += entry.size;
        if total > TOTAL_BYTES_MAX {
            return large(format!("it unpacks to more than {TOTAL_BYTES_MAX} bytes"));
        }
        if entry.size > RATIO_BYTES_MIN && entry.size / entry.packed.max(1) > RATIO_MAX {
            return large(format!(
                "the entry {:?} unpacks to more than {RATIO_MAX} times its size",
                entry.shown()
            ));
        }
    }
    Ok(())
}

/// A relative path of plain names.
fn name<'a>(zip: &str, entry: &'a Entry) -> Result<&'a str, ArchiveError> {
    let refused = |what| ArchiveError::Name { zip: zip.to_owned(), entry: entry.shown(), what };
    let name = std::str::from_utf8(&entry.name).map_err(|_error| refused("is not UTF-8"))?;
    let drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    let mut parts = name.strip_suffix('/').unwrap_or(name).split('/');
    let what = match name {
        "" => "is empty",
        _ if name.starts_with('/') => "is an absolute path",
        _ if drive => "begins with the letter of a drive",
        _ if name.contains('\\') => "has a backslash",
        _ if name.contains(char::is_control) => "has a character that can't be shown",
        _ if parts.clone().any(|part| part == "..") => "leads out of the folder",
        _ if parts.clone().any(|part| part.is_empty() || part == ".") => "has an empty part",
        _ if name.len() > PATH_BYTES_MAX || parts.any(|part| part.len() > NAME_BYTES_MAX) => "is too long",
        _ => return Ok(name),
    };
    Err(refused(what))
}

fn kind(zip: &str, entry: &Entry, name: &str) -> Result<Kind, ArchiveError> {
    let special = |what| Err(ArchiveError::Special { zip: zip.to_owned(), entry: entry.shown(), what });
    let is_folder = name.ends_with('/');
    match entry.mode & KIND {
        DIRECTORY => Ok(Kind::Folder),
        0 | REGULAR if is_folder => Ok(Kind::Folder),
        0 | REGULAR => Ok(Kind::File { is_executable: entry.mode & EXECUTABLE != 0 }),
        LINK if entry.size > LINK_BYTES_MAX => special("is a link with too long a path"),
        LINK => Ok(Kind::Link),
        _ => special("is neither a file, a folder nor a link"),
    }
}
