//! Lists of uploads in parts, and of the parts of one.

use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use ingle_store::ObjectInfo;

use super::listing::encoded;
use super::s3::Call;
use super::uploads::{self, BUCKET, HEADS, KEY, MD5};
use super::{Answer, Fault, whole, xml};

/// As S3 has it.
const LISTED_MAX: usize = 1000;

fn most(call: &Call<'_>, name: &str) -> usize {
    call.value(name).and_then(|text| text.parse().ok()).unwrap_or(LISTED_MAX).min(LISTED_MAX)
}

fn time(info: &ObjectInfo) -> String {
    DateTime::<Utc>::from(info.updated_at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) async fn parts(call: &Call<'_>) -> Result<Answer, Fault> {
    let (id, found) = uploads::parts(call).await?;
    let most = most(call, "max-parts");
    let after = call.value("part-number-marker").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut found: Vec<(u32, ObjectInfo)> = found
        .into_iter()
        .filter_map(|part| Some((uploads::part_number(&part.name)?, part)))
        .filter(|(number, _)| *number > after)
        .collect();
    let is_truncated = found.len() > most;
    found.truncate(most);
    let last = found.last().map_or(after, |(number, _)| *number);
    let mut inner = [
        xml::element("Bucket", &call.place.bucket),
        xml::element("Key", &call.place.key),
        xml::element("UploadId", &id),
        xml::element("PartNumberMarker", &after.to_string()),
        xml::element("NextPartNumberMarker", &last.to_string()),
        xml::element("MaxParts", &most.to_string()),
        xml::element("IsTruncated", &is_truncated.to_string()),
    ]
    .concat();
    for (number, part) in found {
        let tag = part.metadata.get(MD5).map(|tag| format!("\"{tag}\"")).unwrap_or_default();
        let told = [
            xml::element("PartNumber", &number.to_string()),
            xml::element("LastModified", &time(&part)),
            xml::element("ETag", &tag),
            xml::element("Size", &part.size.to_string()),
        ];
        inner += &format!("<Part>{}</Part>", told.concat());
    }
    Ok(whole(StatusCode::OK, "application/xml", xml::document("ListPartsResult", &inner)))
}

/// An upload that goes on.
struct Upload {
    key: String,
    id: String,
    begun: String,
}

impl Upload {
    /// One to this bucket.
    fn of(info: &ObjectInfo, bucket: &str) -> Option<Self> {
        let of_bucket = info.metadata.get(BUCKET).is_some_and(|name| name == bucket);
        let id = info.name.strip_prefix(HEADS).filter(|_| of_bucket)?.to_owned();
        Some(Self { key: info.metadata.get(KEY)?.clone(), id, begun: time(info) })
    }
}

/// Those that are not completed and not aborted, by their keys.
pub(super) async fn uploads(call: &Call<'_>) -> Result<Answer, Fault> {
    let (prefix, most) = (call.value("prefix").unwrap_or_default(), most(call, "max-uploads"));
    let marker = (call.value("key-marker").unwrap_or_default(), call.value("upload-id-marker"));
    let is_after = |upload: &Upload| match marker {
        (key, Some(id)) => (upload.key.as_str(), upload.id.as_str()) > (key, id),
        (key, None) => key.is_empty() || upload.key.as_str() > key,
    };
    let heads = uploads::all(&call.aws.store, HEADS).await?;
    let mut found: Vec<Upload> = heads
        .iter()
        .filter_map(|head| Upload::of(head, &call.place.bucket))
        .filter(|upload| upload.key.starts_with(prefix) && is_after(upload))
        .collect();
    found.sort_unstable_by(|one, other| (&one.key, &one.id).cmp(&(&other.key, &other.id)));
    let is_truncated = found.len() > most;
    found.truncate(most);
    let encodes = call.value("encoding-type") == Some("url");
    let shown = |text: &str| if encodes { encoded(text) } else { text.to_owned() };
    let mut inner = [
        xml::element("Bucket", &call.place.bucket),
        xml::element("Prefix", &shown(prefix)),
        xml::element("KeyMarker", &shown(marker.0)),
        xml::element("UploadIdMarker", marker.1.unwrap_or_default()),
        xml::element("MaxUploads", &most.to_string()),
        xml::element("IsTruncated", &is_truncated.to_string()),
    ]
    .concat();
    if encodes {
        inner += &xml::element("EncodingType", "url");
    }
    if let Some(last) = found.last().filter(|_| is_truncated) {
        inner += &xml::element("NextKeyMarker", &shown(&last.key));
        inner += &xml::element("NextUploadIdMarker", &last.id);
    }
    for upload in &found {
        let told = [
            xml::element("Key", &shown(&upload.key)),
            xml::element("UploadId", &upload.id),
            xml::element("StorageClass", "STANDARD"),
            xml::element("Initiated", &upload.begun),
        ];
        inner += &format!("<Upload>{}</Upload>", told.concat());
    }
    Ok(whole(StatusCode::OK, "application/xml", xml::document("ListMultipartUploadsResult", &inner)))
}
