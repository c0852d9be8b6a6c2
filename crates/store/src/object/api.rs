//! What the handle can do with objects.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::file::{ObjectFile, Source};
use super::reader::{self, Found};
use super::{ObjectContainerSummary, ObjectHook, ObjectInfo, ObjectWatch, ObjectWriter};
use crate::error::Error;
use crate::store::{Store, aside};
use crate::writer::{Done, Request};

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 256 * 1024;
/// Objects that one transaction of a catch-up looks at.
const CATCH_UP_COUNT: u32 = 500;
/// How often a file may be gone by the time it is opened, because the object was replaced just then.
const OPEN_ATTEMPTS: u32 = 16;

/// An object as it was when it was opened; a later put does not change what is read.
#[derive(Debug)]
pub struct Object {
    pub info: ObjectInfo,
    pub content: ObjectReader,
}

/// Reads a content piece by piece.
#[derive(Debug)]
pub struct ObjectReader(Content);

#[derive(Debug)]
enum Content {
    Bytes(Bytes),
    /// What is left of a file.
    File(Arc<File>, Range<u64>),
}

impl ObjectReader {
    /// Of what is left, the bytes of this range; those before are not read.
    #[must_use]
    pub fn part(self, range: Range<u64>) -> Self {
        let range = range.start.min(range.end)..range.end;
        Self(match self.0 {
            Content::Bytes(bytes) => {
                let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
                Content::Bytes(bytes.slice(place(range.start)..place(range.end)))
            }
            Content::File(file, left) => {
                let place = |place: u64| left.start.saturating_add(place).min(left.end);
                Content::File(file, place(range.start)..place(range.end))
            }
        })
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let (file, left) = match &mut self.0 {
            Content::Bytes(bytes) if bytes.is_empty() => return Ok(None),
            Content::Bytes(bytes) => return Ok(Some(std::mem::take(bytes))),
            Content::File(file, left) => (file.clone(), left),
        };
        let wanted = left.start..left.end.min(left.start.saturating_add(PIECE_BYTES));
        if wanted.is_empty() {
            return Ok(None);
        }
        left.start = wanted.end;
        aside(move || read(&file, &wanted)).await?.map(Some).map_err(failed)
    }

    /// All that is left, in memory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn read_all(self) -> Result<Bytes, Error> {
        match self.0 {
            Content::Bytes(bytes) => Ok(bytes),
            Content::File(file, left) => aside(move || read(&file, &left)).await?.map_err(failed),
        }
    }
}

fn read(file: &File, wanted: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(wanted.end.saturating_sub(wanted.start)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, wanted.start)?;
    Ok(bytes.into())
}

fn failed(source: io::Error) -> Error {
    Error::io("reading an object", source)
}

impl Store {
    /// Starts to take a content of any length; see [`ObjectWriter`].
    pub fn stage_object(&self) -> ObjectWriter {
        ObjectWriter::new(self.blobs().clone(), self.faults().clone())
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn read_object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        for _ in 0..OPEN_ATTEMPTS {
            let (wanted, key) = (container.to_owned(), name.to_owned());
            let found = self.read(move |database| reader::object(database, &wanted, &key)).await?;
            let Some(Found { info, digest, body }) = found else { return Ok(None) };
            let Some(digest) = digest else {
                return Ok(Some(Object { info, content: ObjectReader(Content::Bytes(body)) }));
            };
            let blobs = self.blobs().clone();
            match aside(move || blobs.open_file(&digest)).await? {
                Ok(file) => {
                    let content = Content::File(Arc::new(file), 0..info.size);
                    return Ok(Some(Object { info, content: ObjectReader(content) }));
                }
                // Replaced or deleted since its row was read: the row says what it is now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::Error::other(format!("the file of {container}/{name} is missing"))))
    }

    /// Makes a read-only copy of the object as a local file.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`].
    pub async fn object_file(&self, object: Object) -> Result<ObjectFile, Error> {
        let below = self.handed_folder().to_owned();
        let make = move || {
            let source = match object.content.0 {
                Content::Bytes(bytes) => Source::Bytes(bytes),
                Content::File(file, _) => Source::File(file.try_clone()?),
            };
            ObjectFile::make(&below, &object.info.name, source)
        };
        aside(make).await?.map_err(|source| Error::io("making a local copy of an object", source))
    }

    /// Objects whose names begin with `prefix`, in the order of the names' bytes, behind the one named `after`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn list_objects(
        &self,
        container: &str,
        prefix: &str,
        after: &str,
        count: u32,
    ) -> Result<Vec<ObjectInfo>, Error> {
        let (container, prefix, after) = (container.to_owned(), prefix.to_owned(), after.to_owned());
        self.read(move |database| reader::list(database, &container, &prefix, &after, count)).await
    }

    /// All containers of objects by name, empty ones too.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn object_containers(&self) -> Result<Vec<ObjectContainerSummary>, Error> {
        self.read(reader::containers).await
    }

    /// From now on `hook` is asked about each object that is put into the container, and its message is part of the
    /// commit of the put. Follow it with [`Store::catch_up_objects`].
    pub fn on_object(&self, container: &str, hook: ObjectHook) -> ObjectWatch {
        self.hooks().add(container, hook)
    }

    /// Asks the hook about objects that were put while it did not listen, and answers how many messages that made.
    /// None is missed and none told twice, whatever is put meanwhile.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`], [`Error::Broken`] or [`Error::Closed`].
    pub async fn catch_up_objects(&self, watch: &ObjectWatch) -> Result<u64, Error> {
        let mut after = 0;
        let mut messages = 0;
        loop {
            let request = Request::CatchUp {
                container: watch.container.clone(),
                hook: watch.hook.clone(),
                after,
                count: CATCH_UP_COUNT,
            };
            let Done::CaughtUp(enqueued) = self.request(request).await? else { return Ok(messages) };
            messages += enqueued.messages;
            match enqueued.last {
                Some(last) => after = last,
                None => return Ok(messages),
            }
        }
    }
}
