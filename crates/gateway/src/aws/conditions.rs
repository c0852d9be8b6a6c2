//! Conditions in the headers of requests: about what is read (RFC 9110, section 13), and about what is written ("Add preconditions
//! to S3 operations with conditional requests" in Amazon's guide of S3).
//!
//! What is read is looked at here. What is written is looked at by the store, in the same step in which it writes: a check before
//! that would let two through at once.

use chrono::{DateTime, Utc};
use http::StatusCode;
use http::request::Parts;
use ingle_store::{ObjectCondition, ObjectInfo, Operation};

use super::Fault;
use super::asked::not_there;
use super::s3::Place;

/// What somebody who reads an object wants it to be.
#[derive(Default, Debug)]
pub(super) struct Conditions {
    is: Option<String>,
    is_not: Option<String>,
    changed_since: Option<DateTime<Utc>>,
    same_since: Option<DateTime<Utc>>,
}

/// Whether an object is that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Met,
    /// Who asks has it already.
    Unchanged,
    Failed,
}

impl Conditions {
    /// The names of the headers may have something in front, as those about the source of a copy have.
    pub(super) fn read(head: &Parts, prefix: &str) -> Self {
        let text = |name: &str| Some(head.headers.get(format!("{prefix}{name}"))?.to_str().ok()?.to_owned());
        // What is no time is no condition, as RFC 9110 has it.
        let time = |name: &str| Some(DateTime::parse_from_rfc2822(&text(name)?).ok()?.to_utc());
        Self {
            is: text("if-match"),
            is_not: text("if-none-match"),
            changed_since: time("if-modified-since"),
            same_since: time("if-unmodified-since"),
        }
    }

    pub(super) fn verdict(&self, info: &ObjectInfo) -> Verdict {
        // Times in headers have whole seconds.
        let changed_after =
            |time: &DateTime<Utc>| DateTime::<Utc>::from(info.updated_at).timestamp() > time.timestamp();
        // A tag says more than a time, so a time beside it counts for nothing.
        let is_wanted = match (&self.is, &self.same_since) {
            (Some(tags), _) => names(tags, &info.etag),
            (None, Some(time)) => !changed_after(time),
            (None, None) => true,
        };
        let is_new = match (&self.is_not, &self.changed_since) {
            (Some(tags), _) => !names(tags, &info.etag),
            (None, Some(time)) => changed_after(time),
            (None, None) => true,
        };
        match (is_wanted, is_new) {
            (true, true) => Verdict::Met,
            (true, false) => Verdict::Unchanged,
            (false, _) => Verdict::Failed,
        }
    }
}

/// Whether a list of tags has this one, or stands for all.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',').map(plain).any(|tag| tag == "*" || tag == plain(etag))
}

/// Without what may stand around it.
fn plain(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

pub(super) fn failed() -> Fault {
    let message = "At least one of the pre-conditions you specified did not hold";
    Fault::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
}

/// What has to be so of the object at `place` for a put, a copy or a removal to be done.
///
/// # Errors
/// 501: S3 has no such condition either.
pub(super) fn of_write(head: &Parts, place: &Place) -> Result<Vec<Operation>, Fault> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut conditions = Vec::new();
    match text("if-none-match").map(plain) {
        Some("*") => conditions.push(ObjectCondition::Absent),
        Some(_) => return Err(not_there("If-None-Match of what is written can only be *".to_owned())),
        None => {}
    }
    match text("if-match").map(plain) {
        Some("*") => conditions.push(ObjectCondition::Present),
        Some(tag) => conditions.push(ObjectCondition::Tagged(format!("\"{tag}\""))),
        None => {}
    }
    let require =
        |is| Operation::RequireObject { container: place.container.clone(), name: place.key.clone(), is };
    Ok(conditions.into_iter().map(require).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use http::Request;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_read_has_to_be_what_is_wanted() {
        let info = ObjectInfo {
            container: "films".to_owned(),
            name: "a".to_owned(),
            etag: "\"0x1-3\"".to_owned(),
            size: 1,
            content_type: String::new(),
            metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            // 1 January 2030, 08:00:00.5 GMT.
            updated_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_893_484_800_500),
        };
        let check = |headers: &[(&str, &str)], expected: Verdict| {
            assert_eq!(Conditions::read(&head(headers), "").verdict(&info), expected, "{headers:?}");
        };
        let (before, then) = ("Tue, 01 Jan 2030 07:59:59 GMT", "Tue, 01 Jan 2030 08:00:00 GMT");
        check(&[], Verdict::Met);
        check(&[("if-match", "\"0x1-3\"")], Verdict::Met);
        check(&[("if-match", "0x2, 0x1-3")], Verdict::Met);
        check(&[("if-match", "*")], Verdict::Met);
        check(&[("if-match", "\"0x2\"")], Verdict::Failed);
        check(&[("if-none-match", "\"0x1-3\"")], Verdict::Unchanged);
        check(&[("if-none-match", "W/\"0x1-3\"")], Verdict::Unchanged);
        check(&[("if-none-match", "\"0x2\"")], Verdict::Met);
        check(&[("if-modified-since", then)], Verdict::Unchanged);
        check(&[("if-modified-since", before)], Verdict::Met);
        check(&[("if-unmodified-since", then)], Verdict::Met);
        check(&[("if-unmodified-since", before)], Verdict::Failed);
        check(&[("if-unmodified-since", "yesterday")], Verdict::Met);
        check(&[("if-match", "\"0x1-3\""), ("if-unmodified-since", before)], Verdict::Met);
        check(&[("if-none-match", "\"0x2\""), ("if-modified-since", then)], Verdict::Met);
        let of_source =
            Conditions::read(&head(&[("x-amz-copy-source-if-match", "\"0x2\"")]), "x-amz-copy-source-");
        assert_eq!(of_source.verdict(&info), Verdict::Failed);
    }

    #[test]
    fn what_is_written_has_conditions_for_the_store() {
        let check = |headers: &[(&str, &str)], expected: Result<Vec<ObjectCondition>, &'static str>| {
            let place = Place::read("/films/a");
            let found = of_write(&head(headers), &place).map_err(|fault| fault.code);
            let expected = expected.map(|list| {
                let require =
                    |is| Operation::RequireObject { container: "films".into(), name: "a".into(), is };
                list.into_iter().map(require).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{headers:?}");
        };
        check(&[], Ok(vec![]));
        check(&[("if-none-match", "*")], Ok(vec![ObjectCondition::Absent]));
        check(&[("if-none-match", "\"0x1\"")], Err("NotImplemented"));
        check(&[("if-match", "0x1")], Ok(vec![ObjectCondition::Tagged("\"0x1\"".to_owned())]));
        check(&[("if-match", "*")], Ok(vec![ObjectCondition::Present]));
    }
}
