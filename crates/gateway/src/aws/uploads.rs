//! Objects that come in parts ("Uploading and copying objects using multipart upload in Amazon S3").
//!
//! What an upload is to become, and its parts, are objects of an internal container, so they outlive the server. The last request
//! joins the parts piece by piece, and puts the whole in the same commit in which the upload ends. Each commit requires that the
//! upload has not ended: so no part comes after its end, and two who complete it at once make one object. Who completes it again,
//! because the answer was lost, is answered as before: what has ended is remembered for a while.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use http::header::ETAG;
use ingle_store::{
    DeleteObject, Error, ObjectCondition, ObjectContent, ObjectInfo, ObjectOrigin, Operation, PutObject,
    Store, check_object_name,
};
use ingle_types::clock::ClockHandle;
use ingle_types::topic::md5;
use uuid::Uuid;

use super::s3::{self, COPY_SOURCE, Call, Described, Place};
use super::{Answer, Aws, Fault, aside, conditions, whole, xml};

/// No name of a bucket stands for it.
pub(super) const CONTAINER: &str = "ingle-uploads";
/// Begin the names of what an upload is to become, of its parts, and of what is remembered of one that has ended. Behind them stands its id.
pub(super) const HEADS: &str = "upload/";
const PARTS: &str = "part/";
const ENDED: &str = "ended/";
/// Metadata of a part.
pub(super) const MD5: &str = "md5";
/// Metadata of a head, and of what is remembered: where the object goes.
pub(super) const BUCKET: &str = "bucket";
pub(super) const KEY: &str = "key";
/// As S3 has them.
const NUMBER_MAX: u32 = 10_000;
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
const LISTED_MAX: u32 = 1000;
/// How long an upload is waited for, and an ended one remembered.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often those that nobody waits for are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The id of the upload that a request is about.
///
/// # Errors
/// 404: there is no such upload.
fn id(call: &Call<'_>) -> Result<String, Fault> {
    // What is no id of ours is no beginning of a name either.
    let id = call.value("uploadId").and_then(|id| Uuid::parse_str(id).ok());
    id.map(|id| id.simple().to_string()).ok_or_else(no_upload)
}

/// # Errors
/// 400: the number of a part is none.
fn number(text: Option<&str>) -> Result<u32, Fault> {
    let number = text.and_then(|text| text.parse().ok());
    number.filter(|number| (1..=NUMBER_MAX).contains(number)).ok_or_else(|| {
        let message = format!("Part number must be an integer between 1 and {NUMBER_MAX}, inclusive");
        Fault::bad("InvalidArgument", message)
    })
}

fn no_upload() -> Fault {
    let message = "The specified upload does not exist. It may have been aborted or completed.";
    Fault::new(StatusCode::NOT_FOUND, "NoSuchUpload", message)
}

fn head_name(id: &str) -> String {
    format!("{HEADS}{id}")
}

/// Begins the names of all parts.
fn parts_prefix(id: &str) -> String {
    format!("{PARTS}{id}/")
}

/// In the order of the names' bytes, parts are in that of their numbers.
fn part_name(id: &str, number: u32) -> String {
    format!("{}{number:05}", parts_prefix(id))
}

/// The number in the name of a part.
pub(super) fn part_number(name: &str) -> Option<u32> {
    name.rsplit('/').next()?.parse().ok()
}

/// What a commit that is about an upload begins with: it has not ended.
fn goes_on(id: &str) -> Operation {
    Operation::RequireObject {
        container: CONTAINER.to_owned(),
        name: head_name(id),
        is: ObjectCondition::Present,
    }
}

/// What ends an upload, whatever becomes of it.
fn ends(id: &str) -> [Operation; 3] {
    let parts = Operation::DeleteObjects { container: CONTAINER.to_owned(), prefix: parts_prefix(id) };
    [goes_on(id), parts, Operation::DeleteObject(DeleteObject::new(CONTAINER, &head_name(id)))]
}

/// Whether a commit was not done because the upload had ended.
fn has_ended(error: &Error, id: &str) -> bool {
    let of_head = format!("{CONTAINER}/{}", head_name(id));
    matches!(error, Error::ObjectCondition { name, .. } if *name == of_head)
}

fn fault(error: Error, id: &str) -> Fault {
    if has_ended(&error, id) { no_upload() } else { error.into() }
}

fn place_of(place: &Place) -> BTreeMap<String, String> {
    BTreeMap::from([(BUCKET.to_owned(), place.bucket.clone()), (KEY.to_owned(), place.key.clone())])
}

pub(super) async fn begin(call: &Call<'_>) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    // Not only when all parts are there.
    check_object_name(&place.container, &place.key)?;
    let id = Uuid::new_v4().simple().to_string();
    let described = serde_json::json!(Described::read(head)).to_string();
    let object = PutObject {
        metadata: place_of(place),
        ..PutObject::new(CONTAINER, &head_name(&id), Bytes::from(described))
    };
    aws.store.commit(vec![Operation::PutObject(object)]).await?;
    let inner = xml::element("Bucket", &place.bucket)
        + &xml::element("Key", &place.key)
        + &xml::element("UploadId", &id);
    let document = xml::document("InitiateMultipartUploadResult", &inner);
    Ok(whole(StatusCode::OK, "application/xml", document))
}

/// The object of this name, if it is about an upload to this place.
async fn about(aws: &Aws, place: &Place, name: &str) -> Result<Option<Bytes>, Fault> {
    let found = aws.store.read_object(CONTAINER, name).await?;
    match found.filter(|found| found.info.metadata == place_of(place)) {
        Some(found) => Ok(Some(found.content.read_all().await?)),
        None => Ok(None),
    }
}

/// What an upload is to become, if it is one to this place.
async fn upload(aws: &Aws, place: &Place, id: &str) -> Result<Option<Described>, Fault> {
    let found = about(aws, place, &head_name(id)).await?;
    Ok(found.and_then(|described| serde_json::from_slice(&described).ok()))
}

pub(super) async fn part(call: &Call<'_>, body: Bytes) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    let (id, number) = (id(call)?, number(call.value("partNumber"))?);
    upload(aws, place, &id).await?.ok_or_else(no_upload)?;
    let is_copy = head.headers.contains_key(COPY_SOURCE);
    let body = if is_copy { s3::copied_part(call).await? } else { body };
    let tag = aside(&body, md5).await;
    let metadata = BTreeMap::from([(MD5.to_owned(), tag.clone())]);
    let object = PutObject { metadata, ..PutObject::new(CONTAINER, &part_name(&id, number), body) };
    let operations = vec![goes_on(&id), Operation::PutObject(object)];
    aws.store.commit(operations).await.map_err(|error| fault(error, &id))?;
    let tag = format!("\"{tag}\"");
    let document = if is_copy {
        let now = DateTime::<Utc>::from(aws.clock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
        xml::document("CopyPartResult", &(xml::element("ETag", &tag) + &xml::element("LastModified", &now)))
    } else {
        String::new()
    };
    let mut answer = whole(StatusCode::OK, "application/xml", document);
    s3::set(&mut answer, ETAG, &tag);
    Ok(answer)
}

pub(super) async fn complete(call: &Call<'_>, body: &Bytes) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    let id = id(call)?;
    let Some(described) = upload(aws, place, &id).await? else { return completed_before(call, &id).await };
    let wanted = wanted(std::str::from_utf8(body).unwrap_or_default())?;
    let (part_count, content) = match whole_of(aws, &id, &wanted).await {
        Ok(found) => found,
        // The parts may be gone because somebody else has completed it meanwhile.
        Err(fault) if upload(aws, place, &id).await?.is_none() => {
            return completed_before(call, &id).await.map_err(|_never_ended| fault);
        }
        Err(fault) => return Err(fault),
    };
    let object = PutObject { origin: ObjectOrigin::Upload { part_count }, ..call.object(described, content) };
    let ended = PutObject {
        metadata: place_of(place),
        ..PutObject::new(CONTAINER, &format!("{ENDED}{id}"), Bytes::new())
    };
    let mut operations = ends(&id).to_vec();
    operations.extend(conditions::of_write(head, place)?);
    operations.extend([Operation::PutObject(ended), Operation::PutObject(object)]);
    match aws.store.put_objects(operations).await {
        Ok(mut tags) => Ok(completed(call, &tags.pop().unwrap_or_default())),
        Err(error) if has_ended(&error, &id) => completed_before(call, &id).await,
        Err(error) => Err(error.into()),
    }
}

/// How many parts there are, and what they are together.
async fn whole_of(aws: &Aws, id: &str, wanted: &[(u32, String)]) -> Result<(u32, ObjectContent), Fault> {
    let parts = chosen(aws, id, wanted).await?;
    let count = u32::try_from(parts.len()).unwrap_or(NUMBER_MAX);
    Ok((count, joined(aws, &parts).await?))
}

/// The answer to who completes an upload again. It has the tag that the object has now.
async fn completed_before(call: &Call<'_>, id: &str) -> Result<Answer, Fault> {
    let Call { aws, place, .. } = call;
    about(aws, place, &format!("{ENDED}{id}")).await?.ok_or_else(no_upload)?;
    let found = aws.store.read_object(&place.container, &place.key).await?;
    Ok(completed(call, &found.map(|object| object.info.etag).unwrap_or_default()))
}

fn completed(call: &Call<'_>, tag: &str) -> Answer {
    let Call { aws, place, .. } = call;
    let location = format!("http://{}/{}/{}", aws.address, place.bucket, place.key);
    let inner =
        [("Location", location.as_str()), ("Bucket", &place.bucket), ("Key", &place.key), ("ETag", tag)]
            .map(|(name, value)| xml::element(name, value));
    let document = xml::document("CompleteMultipartUploadResult", &inner.concat());
    whole(StatusCode::OK, "application/xml", document)
}

/// Numbers and tags of the parts that make the whole, in their order.
fn wanted(document: &str) -> Result<Vec<(u32, String)>, Fault> {
    let malformed = || Fault::bad("MalformedXML", "the list has to have parts with PartNumber and ETag");
    let (numbers, tags) = (xml::texts(document, "PartNumber"), xml::texts(document, "ETag"));
    if numbers.is_empty() || numbers.len() != tags.len() {
        return Err(malformed());
    }
    let mut parts = Vec::with_capacity(numbers.len());
    for (number, tag) in numbers.iter().zip(tags) {
        let number: u32 = number.trim().parse().map_err(|_| malformed())?;
        if parts.last().is_some_and(|(last, _)| *last >= number) {
            let message =
                "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(Fault::bad("InvalidPartOrder", message));
        }
        parts.push((number, tag.trim().trim_matches('"').to_owned()));
    }
    Ok(parts)
}

fn invalid_part(number: u32) -> Fault {
    let message = format!("Part {number} could not be found, or its entity tag is another one.");
    Fault::bad("InvalidPart", message)
}

/// The parts, if they are those that are named and none but the last is too small.
async fn chosen(aws: &Aws, id: &str, wanted: &[(u32, String)]) -> Result<Vec<ObjectInfo>, Fault> {
    let found = all(&aws.store, &parts_prefix(id)).await?;
    let mut found: HashMap<u32, ObjectInfo> =
        found.into_iter().filter_map(|part| Some((part_number(&part.name)?, part))).collect();
    let mut parts = Vec::with_capacity(wanted.len());
    for (number, tag) in wanted {
        let part = found.remove(number).filter(|part| part.metadata.get(MD5) == Some(tag));
        parts.push(part.ok_or_else(|| invalid_part(*number))?);
    }
    if parts.iter().rev().skip(1).any(|part| part.size < PART_BYTES_MIN) {
        let message = "Your proposed upload is smaller than the minimum allowed size";
        return Err(Fault::bad("EntityTooSmall", message));
    }
    Ok(parts)
}

/// One after the other, as an upload may have more parts than a process may have files.
async fn joined(aws: &Aws, parts: &[ObjectInfo]) -> Result<ObjectContent, Fault> {
    let mut writer = aws.store.stage_object();
    for part in parts {
        let found = aws.store.read_object(CONTAINER, &part.name).await?;
        let found = found.filter(|found| found.info.etag == part.etag);
        let mut content = found.ok_or_else(|| invalid_part(part_number(&part.name).unwrap_or(0)))?.content;
        while let Some(piece) = content.next().await? {
            writer.write(&piece).await?;
        }
    }
    Ok(writer.finish().await?)
}

pub(super) async fn abort(call: &Call<'_>) -> Result<Answer, Fault> {
    let id = id(call)?;
    upload(call.aws, &call.place, &id).await?.ok_or_else(no_upload)?;
    call.aws.store.commit(ends(&id).to_vec()).await.map_err(|error| fault(error, &id))?;
    Ok(whole(StatusCode::NO_CONTENT, "application/xml", ""))
}

/// The parts of an upload to the place of the request, in the order of their numbers, with its id.
pub(super) async fn parts(call: &Call<'_>) -> Result<(String, Vec<ObjectInfo>), Fault> {
    let id = id(call)?;
    upload(call.aws, &call.place, &id).await?.ok_or_else(no_upload)?;
    let parts = all(&call.aws.store, &parts_prefix(&id)).await?;
    Ok((id, parts))
}

/// All objects of the internal container whose names begin so.
pub(super) async fn all(store: &Store, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.list_objects(CONTAINER, prefix, &after, LISTED_MAX).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after.clone_from(&last.name);
        found.extend(page);
    }
}

/// Forgets uploads that nobody has ended for long, and those that have ended; again and again.
pub(crate) async fn keep_swept(store: Store, clock: ClockHandle) {
    loop {
        if let Err(error) = sweep(&store, &clock).await {
            tracing::warn!(code = error.code(), "old parts of uploads stay for now: {error}");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Each object for itself: without its head an upload is none, and parts of one that came later go when they are as old.
async fn sweep(store: &Store, clock: &ClockHandle) -> Result<(), Error> {
    let now = clock.now();
    let is_old = |info: &ObjectInfo| now.duration_since(info.updated_at).is_ok_and(|age| age > KEPT);
    let old: Vec<ObjectInfo> = all(store, "").await?.into_iter().filter(is_old).collect();
    for some in old.chunks(LISTED_MAX as usize) {
        let delete = |info: &ObjectInfo| Operation::DeleteObject(DeleteObject::new(CONTAINER, &info.name));
        store.commit(some.iter().map(delete).collect()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_numbers_from_one() {
        let code = |text: Option<&str>| number(text).map_err(|fault| fault.code);
        assert_eq!(code(Some("7")), Ok(7));
        assert_eq!(code(Some("10000")), Ok(10_000));
        for text in [Some("0"), Some("10001"), Some("x"), Some(""), None] {
            assert_eq!(code(text), Err("InvalidArgument"), "{text:?}");
        }
    }

    #[test]
    fn a_whole_has_its_parts_in_order() {
        let part = |number: &str, tag: &str| {
            format!("<Part>{}{}</Part>", xml::element("PartNumber", number), xml::element("ETag", tag))
        };
        let document = |parts: &[(&str, &str)]| -> String {
            parts.iter().map(|(number, tag)| part(number, tag)).collect()
        };
        let expected = vec![(1, "a".to_owned()), (3, "b".to_owned())];
        assert_eq!(wanted(&document(&[("1", "\"a\""), ("3", "b")])), Ok(expected));
        let code = |parts: &[(&str, &str)]| wanted(&document(parts)).unwrap_err().code;
        assert_eq!(code(&[("2", "a"), ("1", "b")]), "InvalidPartOrder");
        assert_eq!(code(&[("2", "a"), ("2", "b")]), "InvalidPartOrder");
        assert_eq!(code(&[]), "MalformedXML");
        assert_eq!(code(&[("x", "a")]), "MalformedXML");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_goes_after_a_week() {
        use ingle_store::Options;
        use ingle_types::clock::ManualClock;
        use ingle_types::faults::Faults;

        let folder = tempfile::tempdir().unwrap();
        let start = std::time::UNIX_EPOCH + Duration::from_secs(1_893_484_800);
        let day = Duration::from_secs(24 * 60 * 60);
        let clock = std::sync::Arc::new(ManualClock::at(start));
        let store = Store::open(Options::new(folder.path()), clock.clone(), Faults::none()).unwrap();
        let put = async |name: &str| {
            let object = PutObject::new(CONTAINER, name, Bytes::new());
            store.commit(vec![Operation::PutObject(object)]).await.unwrap();
        };
        let swept = async || {
            let handle: ClockHandle = clock.clone();
            sweep(&store, &handle).await.unwrap();
            let left = all(&store, "").await.unwrap();
            left.iter().map(|info| info.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        put("upload/a").await;
        put("part/a/00001").await;
        put("ended/b").await;
        clock.set(start + 3 * day);
        put("upload/c").await;
        put("part/a/00002").await;
        assert_eq!(swept().await, "ended/b part/a/00001 part/a/00002 upload/a upload/c");
        clock.set(start + 8 * day);
        assert_eq!(swept().await, "part/a/00002 upload/c");
        clock.set(start + 11 * day);
        assert_eq!(swept().await, "");
    }
}
