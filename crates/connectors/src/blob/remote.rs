//! Blobs in an account of Azure Storage: contents come and go in pieces, each of which has a limit of time.

pub(crate) mod scan;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncResponseBody, Body};
use azure_storage_blob::models::{BlobClientDownloadOptions, BlockBlobClientUploadOptions};
use azure_storage_blob::stream::tokio::FileStream;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use ingle_store::ObjectInfo;
use ingle_types::datum::Datum;
use ingle_types::local_file::LocalFile;
use ingle_types::spec::DataType;
use tempfile::NamedTempFile;

use super::{Handed, is_long, shaped};
use crate::account::fault::Fault;
use crate::account::{CALL_TIMEOUT, Client, PIECE_TIMEOUT, limited};
use crate::foreign::Content;

/// Pieces of one content that are on their way at once.
const PARALLEL: usize = 2;
/// Size of a piece in bytes. With [`PARALLEL`], all of a content that is in memory while it becomes a file.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// A slower line than this, in bytes a second, is taken for a broken one.
const SLOWEST: u64 = 64 * 1024;

/// A blob that was found, with its content still to be read.
pub(crate) struct Found {
    pub(crate) info: ObjectInfo,
    /// Address of the blob.
    pub(crate) uri: String,
    body: AsyncResponseBody,
    /// Where a local copy is made.
    copies: PathBuf,
}

/// Puts a blob; the container is made if it is not there.
pub(crate) async fn put(
    client: &Client,
    container: &str,
    name: &str,
    content: &Content,
) -> Result<(), Fault> {
    match upload(client, container, name, content).await {
        Err(fault) if fault.is_missing() => {
            create_container(client, container).await?;
            upload(client, container, name, content).await
        }
        result => result,
    }?;
    client.wake(&scan::wake_name(container)).notify_one();
    Ok(())
}

async fn upload(client: &Client, container: &str, name: &str, content: &Content) -> Result<(), Fault> {
    let blob = client.blobs()?.blob_client(container, name);
    let (body, size) = body(content).await?;
    let limit = CALL_TIMEOUT + Duration::from_secs(size / SLOWEST);
    let options = BlockBlobClientUploadOptions {
        blob_content_type: Some("application/octet-stream".to_owned()),
        parallel: NonZero::new(PARALLEL),
        partition_size: NonZero::new(PIECE_BYTES as u64),
        ..BlockBlobClientUploadOptions::default()
    };
    limited(limit, blob.upload(body.into(), Some(options))).await.map(drop)
}

/// The body of an upload, and its size in bytes. A file is read while it is sent.
async fn body(content: &Content) -> Result<(Body, u64), Fault> {
    match content {
        Content::Bytes(bytes) => Ok((bytes.clone().into(), bytes.len() as u64)),
        Content::File(file) => {
            let unreadable = |reason: String| Fault::refused(format!("its file can't be read: {reason}"));
            let open = tokio::fs::File::open(file.path()).await;
            let open = open.map_err(|error| unreadable(error.to_string()))?;
            let stream = FileStream::builder(open).build().await;
            Ok((stream.map_err(|error| unreadable(error.to_string()))?.into(), file.size))
        }
    }
}

async fn create_container(client: &Client, container: &str) -> Result<(), Fault> {
    let container = client.blobs()?.blob_container_client(container);
    match limited(CALL_TIMEOUT, container.create(None)).await {
        Err(fault) if fault.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

/// Looks for a blob; `None` if it is not there.
pub(crate) async fn open(client: &Arc<Client>, container: &str, name: &str) -> Result<Option<Found>, Fault> {
    let blob = client.blobs()?.blob_client(container, name);
    let uri = blob.url().to_string();
    let options = BlobClientDownloadOptions {
        parallel: NonZero::new(PARALLEL),
        partition_size: NonZero::new(PIECE_BYTES),
        ..BlobClientDownloadOptions::default()
    };
    let result = match limited(CALL_TIMEOUT, blob.download(Some(options))).await {
        Err(fault) if fault.is_missing() => return Ok(None),
        result => result?,
    };
    // Of the first piece; the whole is behind the slash of its range.
    let range = result.headers.get_optional_str(&HeaderName::from_static("content-range"));
    let whole = range.and_then(|range| range.rsplit_once('/')).and_then(|(_, whole)| whole.parse().ok());
    let properties = result.properties;
    let etag = properties.etag.map(|etag| etag.to_string()).unwrap_or_default();
    let info = ObjectInfo {
        container: container.to_owned(),
        name: name.to_owned(),
        etag: quoted(&etag),
        size: whole.or(properties.content_length).unwrap_or(0),
        content_type: properties.content_type.unwrap_or_default(),
        metadata: properties.metadata.into_iter().collect(),
        headers: BTreeMap::new(),
        updated_at: properties.last_modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from),
    };
    Ok(Some(Found { info, uri, body: result.body, copies: client.copies.clone() }))
}

/// Lists give tags without quotes, answers with them.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}

impl Found {
    /// Reads the content as a function wants it.
    pub(crate) async fn hand_over(self, data_type: DataType, as_file: bool) -> Result<Handed, Fault> {
        if as_file {
            let file = self.into_file().await?;
            let path = file.path().to_string_lossy().into_owned();
            return Ok(Handed { value: Datum::Text(path), file: Some(Box::new(file)) });
        }
        if is_long(self.info.size) {
            let size = self.info.size;
            let file = self.into_file().await?;
            let value =
                LocalFile::new(file.path().to_owned(), size, None).as_text(data_type == DataType::String);
            return Ok(Handed { value: Datum::File(value), file: Some(Box::new(file)) });
        }
        let mut content = BytesMut::with_capacity(usize::try_from(self.info.size).unwrap_or(0));
        let mut body = self.body;
        while let Some(piece) = next(&mut body).await? {
            content.extend_from_slice(&piece);
        }
        Ok(shaped(content.freeze(), data_type).into())
    }

    async fn into_file(mut self) -> Result<NamedTempFile, Fault> {
        let failed =
            |error: std::io::Error| Fault::unreachable(format!("no local copy can be written: {error}"));
        let mut file =
            tempfile::Builder::new().prefix("ingle-blob-").tempfile_in(&self.copies).map_err(failed)?;
        while let Some(piece) = next(&mut self.body).await? {
            // Pieces are small, and the page cache takes them.
            file.write_all(&piece).map_err(failed)?;
        }
        Ok(file)
    }
}

async fn next(body: &mut AsyncResponseBody) -> Result<Option<Bytes>, Fault> {
    let piece = async { body.next().await.transpose() };
    limited(PIECE_TIMEOUT, piece).await
}
