//! Buckets, as clients of S3 ask for them: `/bucket/key` (API version 2006-03-01).
//!
//! Every name is that of a bucket, which comes to be with its first object, as for outputs of functions.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, RANGE,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{Either, Full};
use ingle_store::{
    CONTENT_TYPE_DEFAULT, DeleteObject, Object, ObjectContent, ObjectInfo, ObjectOrigin, ObjectReader,
    Operation, PutObject,
};
use ingle_tasks::TaskKind;
use ingle_types::spec::embedded_name;
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Of, not_there};
use super::conditions::{self, Conditions, Verdict};
use super::{Answer, Aws, BODY_BYTES_MAX, Fault, Origin, listing, upload_lists, uploads, whole, xml};
use crate::{blobs, request};

const COPY_RANGE: &str = "x-amz-copy-source-range";
const METADATA: &str = "x-amz-meta-";
/// Before the names of conditions.
const SOURCE_CONDITIONS: &str = "x-amz-copy-source-";
/// Those of a put that its object has when it is got.
const KEPT_HEADERS: [HeaderName; 5] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, EXPIRES];
pub(super) const COPY_SOURCE: &str = "x-amz-copy-source";
/// Longer contents are sent while they are read.
const AT_ONCE_BYTES_MAX: u64 = 256 * 1024;
/// Keys that one request may delete.
const DELETE_MAX: usize = 1000;

/// A request's bucket and key, the key empty for the bucket itself.
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) container: String,
    pub(super) key: String,
}

impl Place {
    pub(super) fn read(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let bucket = request::decoded(bucket);
        Self { container: embedded_name(&bucket, "bucket"), key: request::decoded(key), bucket }
    }

    /// The object that is to be copied.
    ///
    /// # Errors
    /// 501 for a version of it.
    fn source(head: &Parts) -> Result<Self, Fault> {
        let source = head.headers.get(COPY_SOURCE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match source.split_once('?') {
            Some((_, what)) => {
                Err(not_there(format!("Ingle's buckets have no source of a copy with {what}")))
            }
            None => Ok(Self::read(source)),
        }
    }

    fn of(&self) -> Of {
        match (self.bucket.is_empty(), self.key.is_empty()) {
            (true, _) => Of::Service,
            (false, true) => Of::Bucket,
            (false, false) => Of::Object,
        }
    }
}

/// One request about buckets.
pub(super) struct Call<'a> {
    pub(super) aws: &'a Aws,
    pub(super) head: &'a Parts,
    pub(super) query: Vec<(String, String)>,
    pub(super) place: Place,
    pub(super) origin: &'a Origin,
}

impl Call<'_> {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(super) async fn answer(aws: &Aws, head: &Parts, body: Bytes, origin: &Origin) -> Result<Answer, Fault> {
    let query = request::query(head.uri.query().unwrap_or_default());
    let place = Place::read(head.uri.path());
    let asked = Asked::read(head, place.of(), &query)?;
    if place.container == uploads::CONTAINER {
        let message = format!("The specified bucket is not valid: {}", place.bucket);
        return Err(Fault::bad("InvalidBucketName", message));
    }
    let call = Call { aws, head, query, place, origin };
    match asked {
        Asked::Buckets => listing::buckets(aws, call.value("prefix").unwrap_or_default()).await,
        Asked::Bucket => Ok(whole(StatusCode::OK, "application/xml", "")),
        Asked::Location => Ok(location(aws)),
        Asked::Objects => listing::objects(&call).await,
        Asked::DeleteMany => delete_many(&call, &body).await,
        Asked::Get => get(&call).await,
        Asked::Put if head.headers.contains_key(COPY_SOURCE) => copy(&call).await,
        Asked::Put => put(&call, body).await,
        Asked::Delete => {
            let mut operations = conditions::of_write(head, &call.place)?;
            operations.push(call.removal(&call.place.key));
            aws.store.commit(operations).await?;
            Ok(whole(StatusCode::NO_CONTENT, "application/xml", ""))
        }
        Asked::BeginUpload => uploads::begin(&call).await,
        Asked::PutPart => uploads::part(&call, body).await,
        Asked::CompleteUpload => uploads::complete(&call, &body).await,
        Asked::AbortUpload => uploads::abort(&call).await,
        Asked::Parts => upload_lists::parts(&call).await,
        Asked::Uploads => upload_lists::uploads(&call).await,
    }
}

fn location(aws: &Aws) -> Answer {
    // S3 says nothing for its first region.
    let region = if aws.region == "us-east-1" { "" } else { aws.region.as_str() };
    let document = xml::document("LocationConstraint", region);
    whole(StatusCode::OK, "application/xml", document)
}

fn no_key(place: &Place) -> Fault {
    let message = format!("The specified key does not exist: {}/{}", place.bucket, place.key);
    Fault::new(StatusCode::NOT_FOUND, "NoSuchKey", message)
}

/// What is told of an object to those who get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) content_type: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
}

impl Described {
    /// As the headers of a put have it.
    pub(super) fn read(head: &Parts) -> Self {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let kind = head.headers.get(CONTENT_TYPE).map_or_else(|| CONTENT_TYPE_DEFAULT.to_owned(), text);
        let metadata = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix(METADATA)?.to_owned(), text(value)))
        });
        let headers = KEPT_HEADERS.iter().filter_map(|name| {
            let value = text(head.headers.get(name)?);
            // That is about the request: its body comes in pieces.
            let codings = value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked");
            let value = if *name == CONTENT_ENCODING { codings.collect::<Vec<_>>().join(",") } else { value };
            (!value.is_empty()).then(|| (name.as_str().to_owned(), value))
        });
        Self { content_type: kind, metadata: metadata.collect(), headers: headers.collect() }
    }

    fn of(info: &ObjectInfo) -> Self {
        Self {
            content_type: info.content_type.clone(),
            metadata: info.metadata.clone(),
            headers: info.headers.clone(),
        }
    }
}

impl Call<'_> {
    /// The object at the place of the request.
    pub(super) fn object(&self, described: Described, content: impl Into<ObjectContent>) -> PutObject {
        let Described { content_type, metadata, headers } = described;
        PutObject {
            content_type,
            metadata,
            headers,
            hop_count: self.origin.hop_count,
            trace_parent: self.origin.trace_parent.clone(),
            ..PutObject::new(&self.place.container, &self.place.key, content)
        }
    }

    fn removal(&self, key: &str) -> Operation {
        Operation::DeleteObject(DeleteObject {
            hop_count: self.origin.hop_count,
            trace_parent: self.origin.trace_parent.clone(),
            ..DeleteObject::new(&self.place.container, key)
        })
    }

    /// Puts the object, if it may be put now; answers its tag.
    async fn commit(&self, object: PutObject) -> Result<String, Fault> {
        let mut operations = conditions::of_write(self.head, &self.place)?;
        operations.push(Operation::PutObject(object));
        Ok(self.aws.store.put_objects(operations).await?.pop().unwrap_or_default())
    }
}

async fn put(call: &Call<'_>, body: Bytes) -> Result<Answer, Fault> {
    let tag = call.commit(call.object(Described::read(call.head), body)).await?;
    let mut answer = whole(StatusCode::OK, "application/xml", "");
    set(&mut answer, ETAG, &tag);
    Ok(answer)
}

/// The object that is to be copied, if it is the one that is wanted.
async fn source(call: &Call<'_>) -> Result<Object, Fault> {
    let place = Place::source(call.head)?;
    let found = call.aws.store.read_object(&place.container, &place.key).await?;
    let Some(found) = found else { return Err(no_key(&place)) };
    match Conditions::read(call.head, SOURCE_CONDITIONS).verdict(&found.info) {
        Verdict::Met => Ok(found),
        Verdict::Unchanged | Verdict::Failed => Err(conditions::failed()),
    }
}

async fn copy(call: &Call<'_>) -> Result<Answer, Fault> {
    let Call { aws, head, .. } = call;
    let found = source(call).await?;
    let replaces = head.headers.get("x-amz-metadata-directive").is_some_and(|value| value == "REPLACE");
    let described = if replaces { Described::read(head) } else { Described::of(&found.info) };
    let content = staged(aws, found.content).await?;
    let object = PutObject { origin: ObjectOrigin::Copy, ..call.object(described, content) };
    let inner = xml::element("ETag", &call.commit(object).await?)
        + &xml::element("LastModified", &DateTime::<Utc>::from(aws.clock.now()).to_rfc3339());
    Ok(whole(StatusCode::OK, "application/xml", xml::document("CopyObjectResult", &inner)))
}

/// The content of another object, or a range of it, that is to be a part.
pub(super) async fn copied_part(call: &Call<'_>) -> Result<Bytes, Fault> {
    let header = |name: &str| call.head.headers.get(name).and_then(|value| value.to_str().ok());
    let found = source(call).await?;
    let (first, behind) = match header(COPY_RANGE) {
        Some(range) => wanted(range, found.info.size).flatten().ok_or_else(|| {
            Fault::bad("InvalidArgument", format!("{COPY_RANGE} is no range of the source: {range}"))
        })?,
        None => (0, found.info.size),
    };
    if behind - first > BODY_BYTES_MAX as u64 {
        let message = format!("a part has at most {BODY_BYTES_MAX} bytes here");
        return Err(Fault::bad("EntityTooLarge", message));
    }
    Ok(found.content.part(first..behind).read_all().await?)
}

/// Copies a content without having it in memory as a whole.
async fn staged(aws: &Aws, mut content: ObjectReader) -> Result<ObjectContent, Fault> {
    let mut writer = aws.store.stage_object();
    while let Some(piece) = content.next().await? {
        writer.write(&piece).await?;
    }
    Ok(writer.finish().await?)
}

async fn get(call: &Call<'_>) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    let found = aws.store.read_object(&place.container, &place.key).await?;
    let Some(found) = found else { return Err(no_key(place)) };
    let info = found.info;
    let mut answer = described_answer(&info);
    match Conditions::read(head, "").verdict(&info) {
        Verdict::Met => {}
        Verdict::Failed => return Err(conditions::failed()),
        Verdict::Unchanged => {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(answer);
        }
    }
    let range = head.headers.get(RANGE).and_then(|value| value.to_str().ok());
    let part = match range.and_then(|range| wanted(range, info.size)) {
        Some(Some(part)) => Some(part),
        Some(None) => {
            let message = "The requested range is not satisfiable";
            return Err(Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message));
        }
        None => None,
    };
    let (first, behind) = part.unwrap_or((0, info.size));
    if part.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut answer, CONTENT_RANGE, &format!("bytes {first}-{}/{}", behind.saturating_sub(1), info.size));
    }
    set(&mut answer, CONTENT_LENGTH, &(behind - first).to_string());
    if head.method == Method::GET {
        let content = found.content.part(first..behind);
        *answer.body_mut() = if behind - first <= AT_ONCE_BYTES_MAX {
            Either::Left(Full::new(content.read_all().await?))
        } else {
            blobs::streamed(content, &aws.tasks, TaskKind::Supervisor)
        };
    }
    Ok(answer)
}

/// First byte and the one behind the last of `bytes=2-5`, `bytes=2-` or `bytes=-5`; inner none if there is no such part, outer none for
/// what is no such range, which is as if it was not there.
fn wanted(range: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, behind) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return None,
    };
    Some((first < behind).then_some((first, behind)))
}

fn described_answer(info: &ObjectInfo) -> Answer {
    let mut answer = whole(StatusCode::OK, CONTENT_TYPE_DEFAULT, "");
    set(&mut answer, CONTENT_TYPE, &info.content_type);
    set(&mut answer, ETAG, &info.etag);
    set(&mut answer, ACCEPT_RANGES, "bytes");
    let changed = DateTime::<Utc>::from(info.updated_at).format("%a, %d %b %Y %H:%M:%S GMT");
    set(&mut answer, LAST_MODIFIED, &changed.to_string());
    for (name, value) in &info.headers {
        if let Ok(name) = HeaderName::try_from(name) {
            set(&mut answer, name, value);
        }
    }
    for (name, value) in &info.metadata {
        if let Ok(name) = HeaderName::try_from(format!("{METADATA}{name}")) {
            set(&mut answer, name, value);
        }
    }
    answer
}

/// What is no text of a header is left out.
pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

async fn delete_many(call: &Call<'_>, body: &Bytes) -> Result<Answer, Fault> {
    let document = std::str::from_utf8(body).unwrap_or_default();
    if let Some(what) = ["VersionId", "ETag", "LastModifiedTime", "Size"]
        .into_iter()
        .find(|name| document.contains(&format!("<{name}>")))
    {
        return Err(not_there(format!("Ingle's buckets delete no objects with {what}")));
    }
    let keys = xml::texts(document, "Key");
    if keys.is_empty() || keys.len() > DELETE_MAX {
        let message = format!("the list has to have 1 to {DELETE_MAX} keys");
        return Err(Fault::bad("MalformedXML", message));
    }
    call.aws.store.commit(keys.iter().map(|key| call.removal(key)).collect()).await?;
    let is_quiet = document.contains("<Quiet>true</Quiet>");
    let told = |key: &String| format!("<Deleted>{}</Deleted>", xml::element("Key", key));
    let inner = if is_quiet { String::new() } else { keys.iter().map(told).collect() };
    Ok(whole(StatusCode::OK, "application/xml", xml::document("DeleteResult", &inner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_object_stands_in_the_headers_of_its_put() {
        let check = |headers: &[(&str, &str)], expected: serde_json::Value| {
            let request = headers
                .iter()
                .fold(http::Request::put("/"), |request, (name, value)| request.header(*name, *value));
            let found = Described::read(&request.body(()).unwrap().into_parts().0);
            assert_eq!(serde_json::to_value(found).unwrap(), expected, "{headers:?}");
        };
        let plain = serde_json::json!({"content_type": CONTENT_TYPE_DEFAULT, "metadata": {}, "headers": {}});
        check(&[("x-other", "a"), ("content-encoding", "aws-chunked")], plain);
        check(
            &[
                ("content-type", "text/css"),
                ("content-encoding", "gzip,aws-chunked"),
                ("cache-control", "no-store, private"),
                ("x-amz-meta-who", "Ada"),
            ],
            serde_json::json!({"content_type": "text/css", "metadata": {"who": "Ada"},
                "headers": {"content-encoding": "gzip", "cache-control": "no-store, private"}}),
        );
    }

    #[test]
    fn ranges_are_parts_of_the_content() {
        let check = |range: &str, expected| assert_eq!(wanted(range, 10), expected, "{range}");
        check("bytes=2-5", Some(Some((2, 6))));
        check("bytes=2-", Some(Some((2, 10))));
        check("bytes=-3", Some(Some((7, 10))));
        check("bytes=8-99", Some(Some((8, 10))));
        check("bytes=10-", Some(None));
        check("bytes=-0", Some(None));
        check("bytes=5-2", None);
        check("lines=1-2", None);
    }

    #[test]
    fn a_path_is_bucket_and_key() {
        let check = |path: &str, bucket: &str, container: &str, key: &str| {
            let place = Place::read(path);
            assert_eq!((&*place.bucket, &*place.container, &*place.key), (bucket, container, key), "{path}");
        };
        check("/my.photos/in/red%20flower%2B.jpg", "my.photos", "my-photos", "in/red flower+.jpg");
        check("/photos", "photos", "photos", "");
        check("/photos/", "photos", "photos", "");
        check("photos/a", "photos", "photos", "a");
        check("/", "", "bucket", "");
    }
}
