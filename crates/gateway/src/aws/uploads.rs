//! Objects that come in parts ("Uploading and copying objects using multipart upload in Amazon S3").
//!
//! What an upload is to become, and its parts, are objects of an internal container, so they outlive the server. The last request
//! joins the parts piece by piece, and puts the whole in the same commit in which the parts end.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use http::header::ETAG;
use ingle_store::{Object, ObjectInfo, Operation, PutObject};
use ingle_types::topic::md5;
use serde_json::{Value, json};
use uuid::Uuid;

use super::s3::{self, COPY_SOURCE, Call, Place};
use super::{Answer, Aws, Fault, whole, xml};

/// No name of a bucket stands for it.
pub(super) const CONTAINER: &str = "ingle-uploads";
/// With how many parts an object came. No header can have such a name, so no client sends or gets it.
const PARTS: &str = "parts of its upload";
const MD5: &str = "md5";
const HEAD: &str = "upload";
/// As S3 has them.
const NUMBER_MAX: u32 = 10_000;
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
const LISTED_MAX: u32 = 1000;

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

/// The tag that clients see: that of an object which came in parts says how many there were.
pub(super) fn tag(info: &ObjectInfo) -> String {
    match info.metadata.get(PARTS) {
        Some(count) => format!("\"{}-{count}\"", info.etag.trim_matches('"')),
        None => info.etag.clone(),
    }
}

/// What a copy of an object keeps of its metadata.
pub(super) fn copied(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata
        .iter()
        .filter(|(name, _)| *name != PARTS)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn no_upload() -> Fault {
    let message = "The specified upload does not exist. It may have been aborted or completed.";
    Fault::new(StatusCode::NOT_FOUND, "NoSuchUpload", message)
}

fn head_name(id: &str) -> String {
    format!("{id}/{HEAD}")
}

/// In the order of the names' bytes, parts are in that of their numbers.
fn part_name(id: &str, number: u32) -> String {
    format!("{id}/{number:05}")
}

pub(super) async fn begin(call: &Call<'_>) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    let id = Uuid::new_v4().simple().to_string();
    let (content_type, metadata) = s3::described(head);
    let upload =
        json!({"bucket": place.bucket, "key": place.key, "type": content_type, "metadata": metadata});
    let object = PutObject::new(CONTAINER, &head_name(&id), Bytes::from(upload.to_string()));
    aws.store.commit(vec![Operation::PutObject(object)]).await?;
    let inner = xml::element("Bucket", &place.bucket)
        + &xml::element("Key", &place.key)
        + &xml::element("UploadId", &id);
    let document = xml::document("InitiateMultipartUploadResult", &inner);
    Ok(whole(StatusCode::OK, "application/xml", document))
}

/// What an upload is to become, if it is one to this place.
async fn upload(aws: &Aws, place: &Place, id: &str) -> Result<Value, Fault> {
    let found = aws.store.read_object(CONTAINER, &head_name(id)).await?.ok_or_else(no_upload)?;
    let upload: Value = serde_json::from_slice(&found.content.read_all().await?).unwrap_or_default();
    if upload["bucket"] != *place.bucket || upload["key"] != *place.key {
        return Err(no_upload());
    }
    Ok(upload)
}

pub(super) async fn part(call: &Call<'_>, body: Bytes) -> Result<Answer, Fault> {
    let Call { aws, head, place, .. } = call;
    let (id, number) = (id(call)?, number(call.value("partNumber"))?);
    upload(aws, place, &id).await?;
    let is_copy = head.headers.contains_key(COPY_SOURCE);
    let body = if is_copy { s3::copied_part(aws, head).await? } else { body };
    let tag = md5(&body);
    let metadata = BTreeMap::from([(MD5.to_owned(), tag.clone())]);
    let object = PutObject { metadata, ..PutObject::new(CONTAINER, &part_name(&id, number), body) };
    aws.store.commit(vec![Operation::PutObject(object)]).await?;
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
    let Call { aws, place, origin, .. } = call;
    let id = id(call)?;
    let upload = upload(aws, place, &id).await?;
    let parts = opened(aws, &id, &wanted(std::str::from_utf8(body).unwrap_or_default())?).await?;
    let count = parts.len().to_string();
    let mut writer = aws.store.stage_object();
    for Object { mut content, .. } in parts {
        while let Some(piece) = content.next().await? {
            writer.write(&piece).await?;
        }
    }
    let mut metadata: BTreeMap<String, String> =
        serde_json::from_value(upload["metadata"].clone()).unwrap_or_default();
    metadata.insert(PARTS.to_owned(), count);
    let object = PutObject {
        content_type: upload["type"].as_str().unwrap_or_default().to_owned(),
        metadata,
        hop_count: origin.hop_count,
        trace_parent: origin.trace_parent.clone(),
        ..PutObject::new(&place.container, &place.key, writer.finish().await?)
    };
    let mut operations = ends(aws, &id).await?;
    operations.push(Operation::PutObject(object));
    aws.store.commit(operations).await?;
    let found = aws.store.read_object(&place.container, &place.key).await?;
    let tag = found.map(|object| tag(&object.info)).unwrap_or_default();
    let location = format!("http://{}/{}/{}", aws.address, place.bucket, place.key);
    let inner =
        [("Location", location.as_str()), ("Bucket", &place.bucket), ("Key", &place.key), ("ETag", &tag)]
            .map(|(name, value)| xml::element(name, value));
    let document = xml::document("CompleteMultipartUploadResult", &inner.concat());
    Ok(whole(StatusCode::OK, "application/xml", document))
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

/// The parts, if they are those that are named and none but the last is too small.
async fn opened(aws: &Aws, id: &str, wanted: &[(u32, String)]) -> Result<Vec<Object>, Fault> {
    let mut parts = Vec::with_capacity(wanted.len());
    for (number, tag) in wanted {
        let found = aws.store.read_object(CONTAINER, &part_name(id, *number)).await?;
        let Some(part) = found.filter(|part| part.info.metadata.get(MD5) == Some(tag)) else {
            let message = format!("Part {number} could not be found, or its entity tag is another one.");
            return Err(Fault::bad("InvalidPart", message));
        };
        parts.push(part);
    }
    if parts.iter().rev().skip(1).any(|part| part.info.size < PART_BYTES_MIN) {
        let message = "Your proposed upload is smaller than the minimum allowed size";
        return Err(Fault::bad("EntityTooSmall", message));
    }
    Ok(parts)
}

/// All objects of an upload.
async fn all(aws: &Aws, id: &str) -> Result<Vec<ObjectInfo>, Fault> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = aws.store.list_objects(CONTAINER, &format!("{id}/"), &after, LISTED_MAX).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after.clone_from(&last.name);
        found.extend(page);
    }
}

/// What ends an upload, whatever becomes of it.
async fn ends(aws: &Aws, id: &str) -> Result<Vec<Operation>, Fault> {
    let delete =
        |object: ObjectInfo| Operation::DeleteObject { container: CONTAINER.to_owned(), name: object.name };
    Ok(all(aws, id).await?.into_iter().map(delete).collect())
}

pub(super) async fn abort(call: &Call<'_>) -> Result<Answer, Fault> {
    let id = id(call)?;
    upload(call.aws, &call.place, &id).await?;
    call.aws.store.commit(ends(call.aws, &id).await?).await?;
    Ok(whole(StatusCode::NO_CONTENT, "application/xml", ""))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Fault> {
    let Call { aws, place, .. } = call;
    let id = &id(call)?;
    upload(aws, place, id).await?;
    let mut inner = xml::element("Bucket", &place.bucket)
        + &xml::element("Key", &place.key)
        + &xml::element("UploadId", id)
        + &xml::element("IsTruncated", "false");
    for part in all(aws, id).await?.into_iter().filter(|part| !part.name.ends_with(HEAD)) {
        let number = part.name.rsplit('/').next().unwrap_or_default().trim_start_matches('0');
        let changed = DateTime::<Utc>::from(part.updated_at).to_rfc3339_opts(SecondsFormat::Millis, true);
        let tag = part.metadata.get(MD5).map(|tag| format!("\"{tag}\"")).unwrap_or_default();
        let told = [
            xml::element("PartNumber", number),
            xml::element("LastModified", &changed),
            xml::element("ETag", &tag),
            xml::element("Size", &part.size.to_string()),
        ];
        inner += &format!("<Part>{}</Part>", told.concat());
    }
    Ok(whole(StatusCode::OK, "application/xml", xml::document("ListPartsResult", &inner)))
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
}
