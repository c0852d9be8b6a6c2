//! The file of keys: read whole, replaced whole, changed by one at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{KeyError, KeyRing};

const NAME: &str = "keys.json";
const LOCK: &str = "keys.lock";
const VERSION: u32 = 1;
/// Longest file that is read; 10,000 keys fit.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where an app's keys are kept.
#[derive(Clone, Debug)]
pub struct KeyFile {
    folder: PathBuf,
    path: PathBuf,
}

/// Tells one content of the file from the next: every change puts another file in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(Option<(u64, i64, i64, i64, i64, u64, u32)>);

impl KeyFile {
    /// The keys in a state folder, which need not exist yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), path: folder.join(NAME) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands there now. Cheap: it looks at the file's entry only.
    pub fn stamp(&self) -> Stamp {
        let Ok(entry) = std::fs::metadata(&self.path) else { return Stamp(None) };
        let (modified, changed) = ((entry.mtime(), entry.mtime_nsec()), (entry.ctime(), entry.ctime_nsec()));
        Stamp(Some((entry.ino(), modified.0, modified.1, changed.0, changed.1, entry.len(), entry.mode())))
    }

    /// The keys; `None` if none were ever made.
    ///
    /// # Errors
    /// The file is there but can't be trusted or understood.
    pub fn read(&self) -> Result<Option<KeyRing>, KeyError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        let entry = file.metadata().map_err(|source| self.io(source))?;
        if entry.mode() & 0o077 != 0 {
            return Err(KeyError::TooOpen { path: self.path.clone() });
        }
        let mut bytes = Vec::new();
        let mut limited = Read::by_ref(&mut file).take(BYTES_MAX);
        limited.read_to_end(&mut bytes).map_err(|source| self.io(source))?;
        let ring: KeyRing = serde_json::from_slice(&bytes)
            .map_err(|source| KeyError::Damaged { path: self.path.clone(), source })?;
        if ring.version != VERSION {
            return Err(KeyError::Newer { path: self.path.clone() });
        }
        Ok(Some(ring))
    }

    /// Changes the keys. Two programs that do this at once take turns, and whoever reads meanwhile sees the keys
    /// before or after, never half of them. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Those of [`Self::read`], of writing, and of `change`: then nothing is changed.
    pub fn edit<T>(&self, change: impl FnOnce(&mut KeyRing) -> Result<T, KeyError>) -> Result<T, KeyError> {
        std::fs::create_dir_all(&self.folder).map_err(|source| self.io(source))?;
        let lock = owner_only().truncate(false).open(self.folder.join(LOCK));
        let lock = lock.map_err(|source| self.io(source))?;
        // Let go of when the file is dropped, or when the process dies.
        lock.lock().map_err(|source| self.io(source))?;
        let mut ring = match self.read()? {
            Some(ring) => ring,
            None => KeyRing::empty()?,
        };
        let value = change(&mut ring)?;
        self.write(&ring)?;
        Ok(value)
    }

    fn write(&self, ring: &KeyRing) -> Result<(), KeyError> {
        let text = serde_json::to_vec_pretty(ring)
            .map_err(|source| KeyError::Damaged { path: self.path.clone(), source })?;
        let next = self.folder.join("keys.json.next");
        // One that a killed program left behind may have other rights.
        std::fs::remove_file(&next).ok();
        let written = owner_only().create_new(true).open(&next).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&next, &self.path)?;
            File::open(&self.folder)?.sync_all()
        });
        written.map_err(|source| self.io(source))
    }

    fn io(&self, source: std::io::Error) -> KeyError {
        KeyError::Io { path: self.path.clone(), source }
    }
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
