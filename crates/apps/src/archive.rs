//! Ready zips with code: unpacked once into the cache, under the digest of what they hold.
//!
//! Nothing of a zip is believed. All entries are looked at before the first one is written, and what is written is in a folder
//! of its own that gets its name when it is whole. Links come last, and each must lead to something in there (T-023, T-024).
//!
//! | to find | look in |
//! |---|---|
//! | which entries a zip has | `directory` |
//! | which names, kinds and sizes are refused | `plan` |
//! | binaries for another machine | `platform` |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use sha2::{Digest as _, Sha256};

use directory::{Entry, Method};
use plan::{Kind, Planned};

mod directory;
mod plan;
mod platform;

/// Bytes of all files of a zip, as Lambda has it for code and layers together.
const TOTAL_BYTES_MAX: u64 = 262_144_000;
/// The zip itself.
const ZIP_BYTES_MAX: u64 = TOTAL_BYTES_MAX;
const ENTRIES_MAX: usize = 50_000;
/// How many times larger a large file may be than what it is packed into. Text and tables stay far below.
const RATIO_MAX: u64 = 200;
const RATIO_BYTES_MIN: u64 = 8 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// Why a zip is refused, or could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no whole zip that can be read.
    #[error("{zip}: {what}")]
    Broken { zip: String, what: String },
    /// An entry has a name that is no path in the folder.
    #[error("{zip}: the name of the entry {entry:?} {what}")]
    Name { zip: String, entry: String, what: &'static str },
    /// A link out of the folder, or something that is neither file, folder nor link.
    #[error("{zip}: the entry {entry:?} {what}")]
    Special { zip: String, entry: String, what: &'static str },
    /// Two entries are one file.
    #[error("{zip}: the entry {entry:?} is there twice, or is a file and a folder at once")]
    Double { zip: String, entry: String },
    /// More than a function may have.
    #[error("{zip}: {what}")]
    Large { zip: String, what: String },
    /// Built for another machine.
    #[error("{zip}: {entry} {what}, and this machine is {machine}")]
    Platform { zip: String, entry: String, what: String, machine: &'static str },
    #[error("{zip} can't be unpacked")]
    Io { zip: String, source: io::Error },
}

impl ArchiveError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broken { .. } | Self::Io { .. } => "E0130",
            Self::Name { .. } => "E0131",
            Self::Special { .. } => "E0132",
            Self::Double { .. } => "E0133",
            Self::Large { .. } => "E0134",
            Self::Platform { .. } => "E0135",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Broken { .. } => "make the zip anew, without a password, with deflate or without compression",
            Self::Name { .. } => "make the zip from within the folder of the code: cd code && zip -r ../code.zip .",
            Self::Special { .. } => "put what the link leads to into the zip, or leave the entry out",
            Self::Double { .. } => "delete the zip before it is made anew: adding to one keeps what was there",
            Self::Large { .. } => "leave out what the function does not need; large data can be read from elsewhere (`read` of [sandbox])",
            Self::Platform { .. } => {
                "install the packages for this machine: pip install --target . --platform manylinux2014_x86_64 --only-binary=:all: …, or start the folder with its requirements.txt"
            }
            Self::Io { .. } => "check the file, and the free space and permissions of the cache folder",
        }
        .to_owned()
    }
}

/// Whether a path is called as a zip is.
pub fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
}

/// Unpacks a zip into `<cache>/archives`, unless what it holds is there already, and gives the folder, which has the name of the zip.
///
/// # Errors
/// [`ArchiveError`]; nothing of the zip is left then.
pub fn unpack(zip: &Path, cache: &Path) -> Result<PathBuf, ArchiveError> {
    let name = zip.file_name().map_or_else(|| "zip".into(), |name| name.to_string_lossy()).into_owned();
    let failed = |source| ArchiveError::Io { zip: name.clone(), source };
    let mut file = File::open(zip).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > ZIP_BYTES_MAX {
        let what = format!("it has {size} bytes, and may have {ZIP_BYTES_MAX}");
        return Err(ArchiveError::Large { zip: name, what });
    }
    let digest = digest(&mut file).map_err(failed)?;
    let stem = zip.file_stem().map_or_else(|| "code".into(), |stem| stem.to_string_lossy()).into_owned();
    let parent = cache.join("archives").join(digest);
    let folder = parent.join(stem);
    if folder.is_dir() {
        return Ok(folder);
    }
    let entries = directory::read(&mut file, size).map_err(|error| error.of(&name))?;
    let planned = plan::check(&name, &entries)?;
    fs::create_dir_all(&parent).map_err(failed)?;
    let half = tempfile_in(&parent).map_err(failed)?;
    let written = Unpacking { zip: &name, folder: &half }.run(&mut file, &planned);
    let placed = written.and_then(|()| match fs::rename(&half, &folder) {
        // Another start was as fast.
        Err(_) if folder.is_dir() => Ok(()),
        other => other.map_err(failed),
    });
    if placed.is_err() || half.exists() {
        // A folder that stays is only space.
        fs::remove_dir_all(&half).ok();
    }
    placed.map(|()| folder)
}

/// Writes a text as the only file of a folder in `<cache>/archives`, unless it is there already, and gives the folder. `named`: the
/// folder, and the file in it.
///
/// # Errors
/// [`ArchiveError::Io`].
pub fn keep(text: &str, named: (&str, &str), cache: &Path) -> Result<PathBuf, ArchiveError> {
    let (name, file) = named;
    let failed = |source| ArchiveError::Io { zip: name.to_owned(), source };
    let digest: String =
        Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let parent = cache.join("archives").join(digest);
    let folder = parent.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&parent).map_err(failed)?;
    let half = tempfile_in(&parent).map_err(failed)?;
    let placed = fs::write(half.join(file), text).and_then(|()| fs::rename(&half, &folder));
    if half.exists() {
        // A folder that stays is only space.
        fs::remove_dir_all(&half).ok();
    }
    match placed {
        // Another start was as fast.
        Err(_) if folder.is_dir() => Ok(folder),
        placed => placed.map(|()| folder).map_err(failed),
    }
}

fn digest(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&piece[..count]);
    }
}

/// A new folder for what is not whole yet. Two processes, and two threads of one, never have the same.
fn tempfile_in(parent: &Path) -> io::Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!(".half-{}-{count}", std::process::id()));
    // What a process of this number has left when it was killed.
    fs::remove_dir_all(&folder).ok();
    fs::create_dir(&folder)?;
    Ok(folder)
}

struct Unpacking<'a> {
    zip: &'a str,
    folder: &'a Path,
}

impl Unpacking<'_> {
    fn run(&self, file: &mut File, planned: &[Planned<'_>]) -> Result<(), ArchiveError> {
        let mut foreign = platform::Foreign::default();
        let mut links = Vec::new();
        for one in planned {
            let path = self.folder.join(&one.path);
            match one.kind {
                Kind::Folder => fs::create_dir_all(&path).map_err(|error| self.failed(error))?,
                Kind::File { is_executable } => {
                    self.parents(&path)?;
                    let head = self.write(file, one.entry, &path, is_executable)?;
                    foreign.look_at(&one.path, &head, &path);
                }
                Kind::Link => links.push((one, path)),
            }
        }
        for (one, path) in &links {
            self.parents(path)?;
            let target = self.target(file, one.entry)?;
            symlink(&target, path).map_err(|error| self.failed(error))?;
        }
        let root = self.folder.canonicalize().map_err(|error| self.failed(error))?;
        for (one, path) in &links {
            // What leads nowhere, in a circle or out of here.
            if !path.canonicalize().is_ok_and(|real| real.starts_with(&root)) {
                let what = "is a link to something that is not in the zip";
                return Err(self.special(one.entry, what));
            }
        }
        match foreign.found() {
            Some((entry, what)) => {
                let machine = platform::machine();
                Err(ArchiveError::Platform { zip: self.zip.to_owned(), entry, what, machine })
            }
            None => Ok(()),
        }
    }

    fn parents(&self, path: &Path) -> Result<(), ArchiveError> {
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| self.failed(error))
    }

    /// Writes a file and gives its first bytes.
    fn write(
        &self,
        zip: &mut File,
        entry: &Entry,
        path: &Path,
        is_executable: bool,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mode = if is_executable { 0o755 } else { 0o644 };
        let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let mut out = made.map_err(|error| self.failed(error))?;
        let mut head = Vec::new();
        self.read(zip, entry, &mut |piece| {
            let wanted = platform::HEAD_BYTES.saturating_sub(head.len()).min(piece.len());
            head.extend_from_slice(&piece[..wanted]);
            out.write_all(piece)
        })?;
        Ok(head)
    }

    /// The path that a link holds.
    fn target(&self, zip: &mut File, entry: &Entry) -> Result<PathBuf, ArchiveError> {
        let mut bytes = Vec::new();
        self.read(zip, entry, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        let target =
            String::from_utf8(bytes).ok().filter(|target| !target.contains('\0') && !target.is_empty());
        let Some(target) = target.filter(|target| !target.starts_with('/')) else {
            return Err(self.special(entry, "is a link to something that is not in the zip"));
        };
        Ok(PathBuf::from(target))
    }

    /// Reads an entry piece by piece: never more than it says that it has, and exactly that.
    fn read(
        &self,
        zip: &mut File,
        entry: &Entry,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        zip.seek(SeekFrom::Start(entry.data)).map_err(|error| self.failed(error))?;
        let packed = zip.take(entry.packed);
        let mut content: Box<dyn io::Read + '_> = match entry.method {
            Method::Stored => Box::new(packed),
            Method::Deflated => Box::new(DeflateDecoder::new(packed)),
        };
        let (mut crc, mut size) = (Crc::new(), 0);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = content.read(&mut piece).map_err(|_error| self.damaged(entry))?;
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > entry.size {
                let what = format!("the entry {:?} is larger than it says", entry.shown());
                return Err(ArchiveError::Large { zip: self.zip.to_owned(), what });
            }
            crc.update(&piece[..count]);
            take(&piece[..count]).map_err(|error| self.failed(error))?;
        }
        if size == entry.size && crc.sum() == entry.crc { Ok(()) } else { Err(self.damaged(entry)) }
    }

    fn damaged(&self, entry: &Entry) -> ArchiveError {
        let what = format!("the entry {:?} is damaged", entry.shown());
        ArchiveError::Broken { zip: self.zip.to_owned(), what }
    }

    fn special(&self, entry: &Entry, what: &'static str) -> ArchiveError {
        ArchiveError::Special { zip: self.zip.to_owned(), entry: entry.shown(), what }
    }

    fn failed(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Io { zip: self.zip.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
