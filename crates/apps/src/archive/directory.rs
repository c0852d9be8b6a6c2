//! The central directory of a zip: its entries, as they say that they are (APPNOTE.TXT of PKWARE, sections 4.3 and 4.4).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use super::{ArchiveError, ENTRIES_MAX};

const END: u32 = 0x0605_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_BYTES: u64 = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const COMMENT_BYTES_MAX: u64 = 0xffff;
/// The made-by system whose attributes have a file's mode.
const UNIX: u16 = 3;
/// Flags of an entry.
const ENCRYPTED: u16 = 1;
const STRONGLY_ENCRYPTED: u16 = 1 << 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One entry; sizes in bytes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// Of Unix, with the kind of file; 0 if it was made elsewhere.
    pub(super) mode: u32,
    /// Where its header begins.
    pub(super) start: u64,
    /// Where its content begins.
    pub(super) data: u64,
}

impl Entry {
    /// Its name for messages.
    pub(super) fn shown(&self) -> String {
        let name = String::from_utf8_lossy(&self.name);
        name.chars().take(200).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
    }
}

/// What is wrong, before it is said of which zip.
#[derive(Debug)]
pub(super) enum Fault {
    Broken(String),
    Large(String),
    Io(std::io::Error),
}

impl Fault {
    pub(super) fn of(self, zip: &str) -> ArchiveError {
        let zip = zip.to_owned();
        match self {
            Self::Broken(what) => ArchiveError::Broken { zip, what },
            Self::Large(what) => ArchiveError::Large { zip, what },
            Self::Io(source) => ArchiveError::Io { zip, source },
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn broken<Value>(what: impl Into<String>) -> Result<Value, Fault> {
    Err(Fault::Broken(what.into()))
}

/// Reads the entries of a zip of `size` bytes.
pub(super) fn read(file: &mut File, size: u64) -> Result<Vec<Entry>, Fault> {
    let (count, start, length) = end(file, size)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    let mut entries = Vec::with_capacity(count);
    let mut rest = bytes.as_slice();
    for _ in 0..count {
        let entry = central(&mut rest)?;
        entries.push(local(file, start, entry)?);
    }
    if !rest.is_empty() {
        return broken("it has more entries than it says");
    }
    apart(&entries)?;
    Ok(entries)
}

/// How many entries there are, and where their directory is.
fn end(file: &mut File, size: u64) -> Result<(usize, u64, u64), Fault> {
    let tail = size.min(END_BYTES + COMMENT_BYTES_MAX);
    file.seek(SeekFrom::Start(size - tail))?;
    let mut bytes = vec![0; usize::try_from(tail).unwrap_or(0)];
    file.read_exact(&mut bytes)?;
    let is_end = |at: &usize| {
        let record = &bytes[*at..];
        number(record, 0) == Some(END)
            && short(record, 20).is_some_and(|comment| record.len() == 22 + usize::from(comment))
    };
    let places = bytes.len().checked_sub(22).map(|last| (0..=last).rev());
    let Some(at) = places.into_iter().flatten().find(is_end) else {
        return broken("it is no zip, or its end is missing");
    };
    let record = &bytes[at..];
    let field = |at| number(record, at).map_or(0, u64::from);
    let (count, length, start) = (short(record, 10).unwrap_or(0), field(12), field(16));
    if short(record, 4) != Some(0) || short(record, 8) != Some(count) {
        return broken("it is a part of a zip in several files");
    }
    if count == u16::MAX || usize::from(count) > ENTRIES_MAX {
        return Err(Fault::Large(format!("it has more than {ENTRIES_MAX} entries")));
    }
    let end = size - tail + at as u64;
    if start.checked_add(length) != Some(end) {
        return broken("its directory is not where it says; something was put before it, or it is cut");
    }
    Ok((usize::from(count), start, length))
}

/// The next entry of the directory.
fn central(rest: &mut &[u8]) -> Result<Entry, Fault> {
    let bytes = *rest;
    let length = |at| short(bytes, at).map_or(0, usize::from);
    let (name, more) = (length(28), length(30) + length(32));
    let is_whole = number(bytes, 0) == Some(CENTRAL) && bytes.len() >= CENTRAL_BYTES + name + more;
    if !is_whole {
        return broken("its directory is damaged");
    }
    let field = |at| number(bytes, at).unwrap_or(0);
    let name = bytes[CENTRAL_BYTES..CENTRAL_BYTES + name].to_vec();
    *rest = &bytes[CENTRAL_BYTES + length(28) + more..];
    let is_unix = length(4) >> 8 == usize::from(UNIX);
    let entry = Entry {
        name,
        method: Method::Stored,
        crc: field(16),
        packed: field(20).into(),
        size: field(24).into(),
        mode: if is_unix { field(38) >> 16 } else { 0 },
        start: field(42).into(),
        data: 0,
    };
    if short(bytes, 8).unwrap_or(0) & (ENCRYPTED | STRONGLY_ENCRYPTED) != 0 {
        return broken(format!("the entry {:?} is encrypted", entry.shown()));
    }
    match short(bytes, 10) {
        Some(0) => Ok(entry),
        Some(8) => Ok(Entry { method: Method::Deflated, ..entry }),
        _ => broken(format!("the entry {:?} is packed in another way than deflate", entry.shown())),
    }
}

/// The same entry with the place of its content, which its own header tells. `before`: where the directory begins.
fn local(file: &mut File, before: u64, entry: Entry) -> Result<Entry, Fault> {
    let mut header = [0; LOCAL_BYTES];
    let damaged = || Fault::Broken(format!("the entry {:?} is damaged", entry.shown()));
    if entry.start + LOCAL_BYTES as u64 > before {
        return Err(damaged());
    }
    file.seek(SeekFrom::Start(entry.start))?;
    file.read_exact(&mut header)?;
    let length = |at| short(&header, at).map_or(0, u64::from);
    let mut name = vec![0; usize::try_from(length(26)).unwrap_or(0)];
    file.read_exact(&mut name).map_err(|_error| damaged())?;
    let data = entry.start + LOCAL_BYTES as u64 + length(26) + length(28);
    let is_same = number(&header, 0) == Some(LOCAL) && name == entry.name;
    // Who reads a zip from its front would unpack something else.
    if !is_same || data + entry.packed > before {
        return Err(damaged());
    }
    if entry.method == Method::Stored && entry.packed != entry.size {
        return Err(damaged());
    }
    Ok(Entry { data, ..entry })
}

/// Entries that share bytes unpack to more than the zip holds.
fn apart(entries: &[Entry]) -> Result<(), Fault> {
    let mut places: Vec<(u64, u64, &Entry)> =
        entries.iter().map(|entry| (entry.start, entry.data + entry.packed, entry)).collect();
    places.sort_by_key(|(start, ..)| *start);
    match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(Fault::Large(format!("the entry {:?} lies over another one", pair[1].2.shown()))),
        None => Ok(()),
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}
