//! Large message bodies as files that are named by the SHA-256 of what is in them.
//!
//! A file is written and synced before the commit that refers to it, and removed only after the commit that
//! removed the last reference. So a crash at any point leaves at most a file without a reference, which the
//! sweep at the next open removes. A *pin* keeps a file from being removed between its writing and its commit. When the
//! last pin of a file is gone, the writer looks whether a row refers to it ([`Blobs::unpinned`]): what was refused,
//! failed or given up before leaves no file either.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ingle_types::local_file::LocalFile;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::object::{self, Staged, Staging};

/// Longer bodies go to files, so that they do not blow up the write-ahead log. In bytes.
pub(crate) const INLINE_MAX: usize = 64 * 1024;

/// SHA-256 of a body.
pub(crate) type Digest = [u8; 32];

#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    pins: Arc<Mutex<Pins>>,
}

#[derive(Debug, Default)]
struct Pins {
    counts: HashMap<Digest, usize>,
    /// Had pins, and has none now.
    unpinned: Vec<Digest>,
}

/// While it lives, the file of this digest is not removed.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) digest: Digest,
    pins: Arc<Mutex<Pins>>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.counts.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.counts.remove(&self.digest);
                pins.unpinned.push(self.digest);
            }
        }
    }
}

impl Blobs {
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(directory.join("new"))
            .map_err(|source| Error::io("making the folder for blobs", source))?;
        Ok(Self { directory, pins: Arc::default() })
    }

    pub(crate) fn pin(&self, digest: Digest) -> Pin {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        *pins.counts.entry(digest).or_default() += 1;
        Pin { digest, pins: self.pins.clone() }
    }

    /// Files that have lost their last pin since this was asked before.
    pub(crate) fn unpinned(&self) -> Vec<Digest> {
        std::mem::take(&mut self.pins.lock().unwrap_or_else(PoisonError::into_inner).unpinned)
    }

    /// Puts `body` safely on disk. When this returns, a commit may refer to it.
    pub(crate) fn write(&self, body: &[u8]) -> Result<Pin, Error> {
        let pin = self.pin(Sha256::digest(body).into());
        self.write_file(&pin.digest, body)
            .map_err(|source| Error::io("writing a large message body", source))?;
        Ok(pin)
    }

    /// Begins a file whose content is not known yet.
    pub(crate) fn stage(&self) -> io::Result<Staging> {
        Staging::create(self.directory.join("new").join(uuid::Uuid::new_v4().simple().to_string()))
    }

    /// Gives a staged content its place. When this returns, a commit may refer to it.
    pub(crate) fn adopt(&self, staged: &Staged) -> Result<Pin, Error> {
        let pin = self.pin(staged.digest);
        let path = self.path(&pin.digest);
        let folder = path.parent().unwrap_or(&self.directory);
        let place = || {
            if path.try_exists()? {
                return sync_directory(folder);
            }
            fs::create_dir_all(folder)?;
            sync_directory(&self.directory)?;
            fs::rename(&staged.path, &path)?;
            sync_directory(folder)
        };
        place().map_err(|source| Error::io("storing an object", source))?;
        Ok(pin)
    }

    /// Makes a file of somebody else one of ours. When this returns, a commit may refer to it.
    pub(crate) fn take_over(&self, file: &LocalFile) -> Result<Pin, Error> {
        let staged =
            object::take_over(self, file).map_err(|source| Error::io("storing an object", source))?;
        self.adopt(&staged)
    }

    /// A file stays readable after it was removed.
    pub(crate) fn open_file(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    fn write_file(&self, digest: &Digest, body: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.directory);
        if path.try_exists()? {
            // Another writer may have just renamed it and not yet made the name durable.
            return sync_directory(folder);
        }
        let temporary = self.directory.join("new").join(uuid::Uuid::new_v4().simple().to_string());
        let mut file = File::create_new(&temporary)?;
        let written = file.write_all(body).and_then(|()| file.sync_all()).and_then(|()| {
            fs::create_dir_all(folder)?;
            sync_directory(&self.directory)?;
            fs::rename(&temporary, &path)?;
            sync_directory(folder)
        });
        if written.is_err() {
            // Best effort: what stays is swept at the next open.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    pub(crate) fn read(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        fs::read(self.path(digest))
    }

    /// Removes the file unless it is pinned or `is_referenced` says so. The pins stay locked meanwhile: a
    /// writer that comes now pins first and finds the file gone, one that came before has pinned it.
    pub(crate) fn remove_unless(&self, digest: &Digest, is_referenced: impl FnOnce() -> bool) {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.counts.contains_key(digest) || is_referenced() {
            return;
        }
        if let Err(error) = fs::remove_file(self.path(digest)) {
            tracing::debug!(%error, "a large message body stays until the next start");
        }
    }

    /// Removes every file that no committed row refers to. Only at open, before anybody writes.
    pub(crate) fn sweep(&self, referenced: &HashSet<Digest>) -> Result<(), Error> {
        self.sweep_files(referenced).map_err(|source| Error::io("sweeping the folder of blobs", source))
    }

    fn sweep_files(&self, referenced: &HashSet<Digest>) -> io::Result<()> {
        for folder in fs::read_dir(&self.directory)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let path = file?.path();
                let is_wanted = digest_of(&path).is_some_and(|digest| referenced.contains(&digest));
                if !is_wanted {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(&name[..2]).join(name)
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(name.get(pair * 2..pair * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory)
            .unwrap()
            .map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count())
            .sum()
    }

    #[test]
    fn a_body_reads_back_until_nobody_refers_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path().to_owned()).unwrap();
        let first = blobs.write(b"body").unwrap();
        let second = blobs.write(b"body").unwrap();
        let digest = first.digest;
        assert_eq!(second.digest, digest);
        assert_eq!(files(directory.path()), 1);
        drop(first);
        blobs.remove_unless(&digest, || false);
        assert_eq!(blobs.read(&digest).unwrap(), b"body", "the second pin holds it");
        drop(second);
        blobs.remove_unless(&digest, || true);
        assert_eq!(blobs.read(&digest).unwrap(), b"body", "a row refers to it");
        blobs.remove_unless(&digest, || false);
        assert_eq!(files(directory.path()), 0);
    }

    #[test]
    fn the_sweep_takes_garbage_and_leaves_what_is_referred_to() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path().to_owned()).unwrap();
        let kept = blobs.write(b"kept").unwrap().digest;
        blobs.write(b"garbage").unwrap();
        fs::write(directory.path().join("new/half-written"), b"x").unwrap();
        blobs.sweep(&HashSet::from([kept])).unwrap();
        assert_eq!(files(directory.path()), 1);
        assert_eq!(blobs.read(&kept).unwrap(), b"kept");
    }
}
