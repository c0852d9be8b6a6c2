//! What a request to S3 asks for, by its method, its place and its query.
//!
//! S3 has many requests that differ from those of an object or a bucket by nothing but a word in the query (`PUT /bucket/key?retention`).
//! So what is not in the table is refused, with its name: taken for another request, it would replace or delete what it is about.

use http::StatusCode;
use http::request::Parts;

use super::Fault;

/// What is asked for, if it is something that there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Buckets,
    /// Whether there is such a bucket, or that there shall be one.
    Bucket,
    Location,
    Objects,
    Uploads,
    DeleteMany,
    Get,
    Put,
    Delete,
    BeginUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    Parts,
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Service,
    Bucket,
    Object,
}

struct Row {
    method: &'static str,
    of: Of,
    /// The word of the query that makes it this request, if one does.
    word: &'static str,
    /// What else the query may have.
    others: &'static [&'static str],
    asked: Asked,
}

const fn row(
    method: &'static str,
    of: Of,
    word: &'static str,
    others: &'static [&'static str],
    asked: Asked,
) -> Row {
    Row { method, of, word, others, asked }
}

const LIST: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "prefix",
    "start-after",
];

/// ("Actions" in Amazon's reference of the API of S3.)
const ROWS: [Row; 16] = [
    row("GET", Of::Service, "", &["prefix"], Asked::Buckets),
    row("HEAD", Of::Bucket, "", &[], Asked::Bucket),
    row("PUT", Of::Bucket, "", &[], Asked::Bucket),
    row("GET", Of::Bucket, "", LIST, Asked::Objects),
    row("GET", Of::Bucket, "location", &[], Asked::Location),
    row("GET", Of::Bucket, "uploads", UPLOADS, Asked::Uploads),
    row("POST", Of::Bucket, "delete", &[], Asked::DeleteMany),
    row("GET", Of::Object, "", &[], Asked::Get),
    row("HEAD", Of::Object, "", &[], Asked::Get),
    row("PUT", Of::Object, "", &[], Asked::Put),
    row("DELETE", Of::Object, "", &[], Asked::Delete),
    row("POST", Of::Object, "uploads", &[], Asked::BeginUpload),
    row("PUT", Of::Object, "uploadId", &["partNumber"], Asked::PutPart),
    row("POST", Of::Object, "uploadId", &[], Asked::CompleteUpload),
    row("DELETE", Of::Object, "uploadId", &[], Asked::AbortUpload),
    row("GET", Of::Object, "uploadId", &["max-parts", "part-number-marker"], Asked::Parts),
];

const UPLOADS: &[&str] = &["encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"];

/// Some clients name the action in the query; it changes nothing.
const NAME: &str = "x-id";

/// Headers that ask for what is not there, and whose absence somebody would notice later.
const REFUSED_HEADERS: [&str; 11] = [
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-object-lock-event-hold",
    "x-amz-object-lock-event-hold-duration-days",
    "x-amz-object-lock-event-hold-duration-years",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-write-offset-bytes",
];

impl Asked {
    /// # Errors
    /// 501, with the word of the query or the header that asks for what there is not.
    pub(super) fn read(head: &Parts, of: Of, query: &[(String, String)]) -> Result<Self, Fault> {
        if let Some(header) = REFUSED_HEADERS.iter().find(|name| head.headers.contains_key(**name)) {
            return Err(not_there(format!("Ingle's buckets do not take the header {header}")));
        }
        let method = head.method.as_str();
        let has = |word: &str| query.iter().any(|(key, _)| key == word);
        let is_known = |row: &Row, key: &str| key == row.word || key == NAME || row.others.contains(&key);
        let fits = |row: &&Row| {
            let is_chosen = row.word.is_empty() || has(row.word);
            row.method == method
                && row.of == of
                && is_chosen
                && query.iter().all(|(key, _)| is_known(row, key))
        };
        if let Some(row) = ROWS.iter().find(fits) {
            return Ok(row.asked);
        }
        let words: Vec<&str> = query.iter().map(|(key, _)| key.as_str()).filter(|key| *key != NAME).collect();
        let with = if words.is_empty() { String::new() } else { format!(" with {}", words.join(", ")) };
        let place = match of {
            Of::Service => "all buckets",
            Of::Bucket => "a bucket",
            Of::Object => "an object",
        };
        Err(not_there(format!("Ingle's buckets do not take {method} of {place}{with}")))
    }
}

pub(super) fn not_there(message: String) -> Fault {
    Fault::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: &str, of: Of, query: &str, header: Option<&str>) -> Result<Asked, Fault> {
        let request = Request::builder().method(method);
        let request = header.into_iter().fold(request, |request, name| request.header(name, "x"));
        Asked::read(&request.body(()).unwrap().into_parts().0, of, &crate::request::query(query))
    }

    #[test]
    fn the_query_says_what_is_asked_for() {
        let check = |method: &str, of: Of, query: &str, expected: Asked| {
            assert_eq!(asked(method, of, query, None), Ok(expected), "{method} {of:?} {query}");
        };
        check("GET", Of::Service, "x-id=ListBuckets", Asked::Buckets);
        check("GET", Of::Bucket, "list-type=2&prefix=a&encoding-type=url", Asked::Objects);
        check("GET", Of::Bucket, "location", Asked::Location);
        check("GET", Of::Bucket, "uploads&prefix=a", Asked::Uploads);
        check("POST", Of::Bucket, "delete", Asked::DeleteMany);
        check("HEAD", Of::Object, "", Asked::Get);
        check("PUT", Of::Object, "x-id=PutObject", Asked::Put);
        check("DELETE", Of::Object, "", Asked::Delete);
        check("POST", Of::Object, "uploads", Asked::BeginUpload);
        check("PUT", Of::Object, "partNumber=7&uploadId=x", Asked::PutPart);
        check("POST", Of::Object, "uploadId=x", Asked::CompleteUpload);
        check("DELETE", Of::Object, "uploadId=x", Asked::AbortUpload);
        check("GET", Of::Object, "uploadId=x&max-parts=5", Asked::Parts);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let check = |method: &str, of: Of, query: &str, header: Option<&str>, named: &str| {
            let fault = asked(method, of, query, header).unwrap_err();
            assert_eq!(
                (fault.status, fault.code),
                (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
                "{query}"
            );
            assert!(fault.message.contains(named), "{named}: {}", fault.message);
        };
        for word in ["retention", "legal-hold", "encryption", "renameObject", "acl", "tagging", "annotation"]
        {
            check("PUT", Of::Object, word, None, word);
        }
        for word in ["cors", "notification", "versioning", "object-lock", "website"] {
            check("PUT", Of::Bucket, word, None, word);
        }
        check("DELETE", Of::Object, "versionId=1", None, "versionId");
        check("GET", Of::Object, "partNumber=1", None, "partNumber");
        check("PUT", Of::Object, "partNumber=1", None, "partNumber");
        check("GET", Of::Bucket, "versions&prefix=a", None, "versions");
        check("GET", Of::Bucket, "list-type=2&uploads", None, "uploads");
        check("DELETE", Of::Bucket, "", None, "DELETE of a bucket");
        check("PUT", Of::Object, "", Some("x-amz-tagging"), "x-amz-tagging");
        check("PUT", Of::Object, "", Some("x-amz-object-lock-mode"), "x-amz-object-lock-mode");
    }
}
