//! Lists of buckets and of the objects in one.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use ingle_store::ObjectInfo;

use super::s3::Call;
use super::{ACCOUNT, Answer, Aws, Fault, uploads, whole, xml};

/// As S3 has it.
const KEYS_MAX: u32 = 1000;
/// Objects that are looked at, at once.
const STEP: u32 = 1000;

pub(super) async fn buckets(aws: &Aws, prefix: &str) -> Result<Answer, Fault> {
    let now = DateTime::<Utc>::from(aws.clock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
    let bucket = |name: &str| {
        format!("<Bucket>{}{}</Bucket>", xml::element("Name", name), xml::element("CreationDate", &now))
    };
    let found = aws.store.object_containers().await?;
    let is_wanted = |name: &str| name != uploads::CONTAINER && name.starts_with(prefix);
    let named = found.iter().filter(|container| is_wanted(&container.name));
    let listed: String = named.map(|container| bucket(&container.name)).collect();
    let owner = format!("<Owner>{}</Owner>", xml::element("ID", ACCOUNT));
    let document = xml::document("ListAllMyBucketsResult", &format!("{owner}<Buckets>{listed}</Buckets>"));
    Ok(whole(StatusCode::OK, "application/xml", document))
}

/// What is asked for.
struct Asked<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    after: &'a str,
    most: usize,
    /// Keys are written as in a URL.
    encodes: bool,
    /// Version 2 of the list.
    is_second: bool,
}

/// A page of a list.
#[derive(Default)]
struct Page {
    objects: Vec<ObjectInfo>,
    prefixes: BTreeSet<String>,
    /// Behind which the next page begins, if there is more.
    next: Option<String>,
}

pub(super) async fn objects(call: &Call<'_>) -> Result<Answer, Fault> {
    let value = |name: &str| call.value(name);
    let most = value("max-keys").and_then(|text| text.parse().ok()).unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let after = ["continuation-token", "start-after", "marker"].iter().find_map(|name| value(name));
    let asked = Asked {
        prefix: value("prefix").unwrap_or_default(),
        delimiter: value("delimiter").unwrap_or_default(),
        after: after.unwrap_or_default(),
        most: usize::try_from(most).unwrap_or(usize::MAX),
        encodes: value("encoding-type") == Some("url"),
        is_second: value("list-type") == Some("2"),
    };
    let page = page(call.aws, &call.place.container, &asked).await?;
    let document = xml::document("ListBucketResult", &written(&call.place.bucket, &asked, &page));
    Ok(whole(StatusCode::OK, "application/xml", document))
}

async fn page(aws: &Aws, container: &str, asked: &Asked<'_>) -> Result<Page, Fault> {
    let (mut page, mut after) = (Page::default(), asked.after.to_owned());
    loop {
        let found = aws.store.list_objects(container, asked.prefix, &after, STEP).await?;
        let is_last = found.len() < STEP as usize;
        for object in found {
            let group = group(&object.name, asked);
            // A group that was on the page before is not on this one again.
            let is_known = group.as_deref().is_some_and(|group| {
                page.prefixes.contains(group) || !asked.after.is_empty() && asked.after.starts_with(group)
            });
            if !is_known && page.objects.len() + page.prefixes.len() >= asked.most {
                page.next = Some(after);
                return Ok(page);
            }
            after.clone_from(&object.name);
            match group {
                Some(_) if is_known => {}
                Some(group) => drop(page.prefixes.insert(group)),
                None => page.objects.push(object),
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The beginning that a key has in common with others, up to the delimiter.
fn group(key: &str, asked: &Asked<'_>) -> Option<String> {
    let rest = key.strip_prefix(asked.prefix).filter(|_| !asked.delimiter.is_empty())?;
    let (head, _) = rest.split_once(asked.delimiter)?;
    Some(format!("{}{head}{}", asked.prefix, asked.delimiter))
}

fn written(bucket: &str, asked: &Asked<'_>, page: &Page) -> String {
    let shown = |text: &str| if asked.encodes { encoded(text) } else { text.to_owned() };
    let mut inner = xml::element("Name", bucket);
    inner += &xml::element("Prefix", &shown(asked.prefix));
    inner += &xml::element("MaxKeys", &asked.most.to_string());
    if !asked.delimiter.is_empty() {
        inner += &xml::element("Delimiter", &shown(asked.delimiter));
    }
    if asked.encodes {
        inner += &xml::element("EncodingType", "url");
    }
    inner += &xml::element("IsTruncated", &page.next.is_some().to_string());
    if asked.is_second {
        inner += &xml::element("KeyCount", &(page.objects.len() + page.prefixes.len()).to_string());
    }
    if let Some(next) = &page.next {
        // Clients read a marker as they read keys, and give a token back as it is.
        let (name, text) = if asked.is_second {
            ("NextContinuationToken", next.clone())
        } else {
            ("NextMarker", shown(next))
        };
        inner += &xml::element(name, &text);
    }
    for object in &page.objects {
        let changed = DateTime::<Utc>::from(object.updated_at).to_rfc3339_opts(SecondsFormat::Millis, true);
        let content = [
            xml::element("Key", &shown(&object.name)),
            xml::element("LastModified", &changed),
            xml::element("ETag", &object.etag),
            xml::element("Size", &object.size.to_string()),
            xml::element("StorageClass", "STANDARD"),
        ];
        inner += &format!("<Contents>{}</Contents>", content.concat());
    }
    for prefix in &page.prefixes {
        inner += &format!("<CommonPrefixes>{}</CommonPrefixes>", xml::element("Prefix", &shown(prefix)));
    }
    inner
}

pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
