//! Writing a content of any length in constant memory, before anybody knows whether it will be kept.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ingle_types::faults::{Fault, Faults};
use ingle_types::local_file::LocalFile;
use sha2::{Digest as _, Sha256};

use super::{ObjectContent, StagedObject};
use crate::blob::{Blobs, Digest, INLINE_MAX};
use crate::error::Error;
use crate::store::aside;

/// Bytes that are collected before they go to the disk.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file that goes away with this value, unless it was renamed before.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Usually a commit has renamed it; what stays in spite of this is swept at the next open.
        fs::remove_file(&self.path).ok();
    }
}

/// A file that is being written.
pub(crate) struct Staging {
    file: File,
    staged: Staged,
    hash: Sha256,
}

impl Staging {
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create_new(&path)?;
        Ok(Self { file, staged: Staged { path, digest: Digest::default(), size: 0 }, hash: Sha256::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.staged.size += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    fn finish(self) -> io::Result<Staged> {
        let Self { file, mut staged, hash } = self;
        file.sync_all()?;
        staged.digest = hash.finalize().into();
        Ok(staged)
    }
}

/// Takes a content piece by piece. Dropping it leaves nothing behind.
pub struct ObjectWriter {
    blobs: Blobs,
    faults: Faults,
    buffer: BytesMut,
    /// Away while the disk is at work; gone for good if the caller did not wait for it.
    staging: Option<Box<Staging>>,
    size: u64,
    is_staged: bool,
}

impl ObjectWriter {
    pub(crate) fn new(blobs: Blobs, faults: Faults) -> Self {
        Self { blobs, faults, buffer: BytesMut::new(), staging: None, size: 0, is_staged: false }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`]; the content is lost then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.size += u64::try_from(bytes.len()).unwrap_or(0);
        for piece in bytes.chunks(PIECE_BYTES) {
            self.buffer.extend_from_slice(piece);
            if self.buffer.len() >= PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.buffer.split();
        let staging = self.staging.take();
        if self.is_staged && staging.is_none() {
            return Err(failed(io::Error::other("an earlier piece was not written")));
        }
        self.is_staged = true;
        let blobs = self.blobs.clone();
        let written = aside(move || {
            let mut staging = match staging {
                Some(staging) => staging,
                None => Box::new(blobs.stage()?),
            };
            staging.write(&bytes)?;
            Ok((staging, bytes))
        });
        let (staging, mut bytes) = written.await?.map_err(failed)?;
        self.staging = Some(staging);
        // The same memory serves for the next piece.
        bytes.clear();
        self.buffer = bytes;
        Ok(())
    }

    /// The content, ready for [`crate::PutObject`]: a long one is on disk now.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`].
    pub async fn finish(mut self) -> Result<ObjectContent, Error> {
        if !self.is_staged && self.buffer.len() <= INLINE_MAX {
            return Ok(ObjectContent::Bytes(self.buffer.freeze()));
        }
        self.flush().await?;
        let Some(staging) = self.staging.take() else { return Err(failed(io::ErrorKind::Other.into())) };
        let staged = aside(move || staging.finish()).await?.map_err(failed)?;
        match self.faults.at("store.object.staged") {
            Fault::None => Ok(ObjectContent::Staged(StagedObject(Arc::new(staged)))),
            Fault::Fail => Err(Error::injected("store.object.staged")),
        }
    }
}

/// Reads a file once for its digest, and makes sure that it is on disk. Should it lie on another file system, a copy is
/// made in `blobs`.
pub(crate) fn take_over(blobs: &Blobs, file: &LocalFile) -> io::Result<Staged> {
    let source = File::open(file.path())?;
    let mut staging = blobs.stage()?;
    // The name is free for the file itself; what was just made there is empty.
    if fs::rename(file.path(), &staging.staged.path).is_err() {
        hash(&source, |piece| staging.write(piece))?;
        return staging.finish();
    }
    let mut staged = staging.staged;
    let mut digest = Sha256::new();
    staged.size = 0;
    hash(&source, |piece| {
        digest.update(piece);
        staged.size += u64::try_from(piece.len()).unwrap_or(0);
        Ok(())
    })?;
    source.sync_all()?;
    staged.digest = digest.finalize().into();
    Ok(staged)
}

fn hash(mut source: &File, mut use_piece: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => use_piece(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn failed(source: io::Error) -> Error {
    Error::io("writing an object", source)
}

/// Copies a file, sharing blocks where the file system can.
pub(super) fn copy(source: &mut File, target: &Path) -> io::Result<u64> {
    let mut file = File::create_new(target)?;
    io::copy(source, &mut file)
}

/// Writes a short content to a file.
pub(super) fn write(bytes: &Bytes, target: &Path) -> io::Result<()> {
    File::create_new(target)?.write_all(bytes)
}
