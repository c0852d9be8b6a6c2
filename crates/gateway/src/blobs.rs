//! Blobs through the admin door and for the commands: streamed both ways, whatever their size.

use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use ingle_store::{
    CONTENT_TYPE_DEFAULT, Error, Object, ObjectInfo, ObjectReader, ObjectWriter, Operation, PutObject, Store,
};
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::clock::unix_ms;
use serde_json::{Value, json};

/// Pieces that may wait for a slow client.
const PIECES_MAX: usize = 4;
/// Blobs that one answer lists.
pub const LIST_MAX: u32 = 1000;

/// A whole answer, or one that is still being read.
pub type BlobBody = Either<Full<Bytes>, Channel<Bytes, Error>>;

/// `container/name`.
///
/// # Errors
/// [`Error::ObjectName`] if there is no slash; what stands on its sides is checked when it is used.
pub fn path(path: &str) -> Result<(&str, &str), Error> {
    let refused = || Error::ObjectName { name: path.to_owned(), problem: "a path is container/name" };
    path.split_once('/').ok_or_else(refused)
}

/// Where an uploaded blob goes.
pub struct Target<'a> {
    pub container: &'a str,
    pub name: &'a str,
    /// Without one it is `application/octet-stream`.
    pub content_type: Option<&'a str>,
}

/// Makes what `writer` has got a blob: `{"blob","bytes"}`.
///
/// # Errors
/// The store's own.
pub async fn put(store: &Store, writer: ObjectWriter, target: Target<'_>) -> Result<Value, Error> {
    let bytes = writer.size();
    let object = PutObject {
        content_type: target.content_type.unwrap_or(CONTENT_TYPE_DEFAULT).to_owned(),
        ..PutObject::new(target.container, target.name, writer.finish().await?)
    };
    store.commit(vec![Operation::PutObject(object)]).await?;
    Ok(json!({"blob": format!("{}/{}", target.container, target.name), "bytes": bytes}))
}

/// Why an upload did not succeed.
pub(crate) enum UploadError {
    /// The client went away in the middle.
    Client(hyper::Error),
    Store(Error),
}

/// Stages the body piece by piece, and makes it a blob at its end.
pub(crate) async fn upload(
    store: &Store,
    mut body: Incoming,
    target: Target<'_>,
) -> Result<Value, UploadError> {
    let mut writer = store.stage_object();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(UploadError::Client)?.into_data() {
            writer.write(&data).await.map_err(UploadError::Store)?;
        }
    }
    put(store, writer, target).await.map_err(UploadError::Store)
}

/// The content as it is, with its type, size and entity tag.
pub(crate) fn download(object: Object, tasks: &Tasks) -> Response<BlobBody> {
    let mut response = Response::new(streamed(object.content, tasks, TaskKind::Connection));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(object.info.size));
    let kind = HeaderValue::from_str(&object.info.content_type);
    headers.insert(CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static(CONTENT_TYPE_DEFAULT)));
    if let Ok(etag) = HeaderValue::from_str(&object.info.etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// A body that is read while it is sent. The task that reads is of the kind of its connection's.
pub(crate) fn streamed(content: ObjectReader, tasks: &Tasks, kind: TaskKind) -> BlobBody {
    let (sender, body) = Channel::new(PIECES_MAX);
    drop(tasks.spawn(kind, "blob", pump(content, sender)));
    Either::Right(body)
}

async fn pump(mut content: ObjectReader, mut sender: Sender<Bytes, Error>) {
    loop {
        match content.next().await {
            Ok(Some(piece)) => {
                // A client that has left needs no more.
                if sender.send_data(piece).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                sender.abort(error);
                return;
            }
        }
    }
}

/// A whole answer.
pub(crate) fn whole(text: String) -> Result<Response<BlobBody>, Infallible> {
    Ok(Response::new(Either::Left(Full::new(Bytes::from(text)))))
}

/// `{"container","blobs": [{"name","size","contentType","etag","updatedAt","metadata"}], "next"?}`, or without a
/// container `{"blobContainers": [{"name","blobs","bytes"}]}`. `next` goes into `after` for what follows.
///
/// # Errors
/// The store's own.
pub async fn list(store: &Store, container: Option<&str>, prefix: &str, after: &str) -> Result<Value, Error> {
    let Some(container) = container else { return Ok(json!({"blobContainers": containers(store).await?})) };
    let found = store.list_objects(container, prefix, after, LIST_MAX).await?;
    let mut listed = json!({"container": container, "blobs": found.iter().map(blob).collect::<Vec<Value>>()});
    if let Some(last) = found.last().filter(|_| found.len() >= LIST_MAX as usize) {
        listed["next"] = Value::from(last.name.as_str());
    }
    Ok(listed)
}

/// `[{"name","blobs","bytes"}]`.
pub(crate) async fn containers(store: &Store) -> Result<Vec<Value>, Error> {
    let found = store.object_containers().await?;
    let shown = found.into_iter().map(
        |container| json!({"name": container.name, "blobs": container.objects, "bytes": container.bytes}),
    );
    Ok(shown.collect())
}

fn blob(info: &ObjectInfo) -> Value {
    json!({"name": info.name, "size": info.size, "contentType": info.content_type, "etag": info.etag,
        "updatedAt": unix_ms(info.updated_at), "metadata": info.metadata})
}
