//! Events of buckets, as S3 sends them to functions (facts of Lambda, section 4.1).
//!
//! The store asks in the commit of the put or of the removal, and the event goes into the function's queue of events that nobody
//! waits for ([`crate::later`]). So it is there if and only if the change is, needs no listener of its own, is there for a
//! function that is not imported yet, and is tried and given up on as AWS does it.

use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use ingle_store::{NewMessage, ObjectChange, ObjectChangeKind, ObjectHook, ObjectOrigin, ObjectWatch, Store};
use ingle_types::ids::FunctionName;
use serde_json::json;
use uuid::Uuid;

use crate::later;

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";
/// Before the names of events, where they are chosen.
const PREFIX: &str = "s3:";
/// For the ids of configurations; any constant will do.
const NAMESPACE: Uuid = Uuid::from_u128(0x696e_676c_652d_6275_636b_6574_2d65_7674);

/// Of which changes in a bucket a function is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketRule {
    /// As AWS names it.
    pub bucket: String,
    /// `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete`.
    pub events: Vec<String>,
    /// Of the object's key.
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    /// The region that the function believes to be in.
    pub region: String,
}

impl BucketRule {
    fn is_for(&self, event: &str, key: &str) -> bool {
        let is_chosen = self.events.iter().any(|chosen| {
            let chosen = chosen.strip_prefix(PREFIX).unwrap_or(chosen);
            match chosen.strip_suffix('*') {
                Some(group) => event.starts_with(group),
                None => event == chosen,
            }
        });
        let has = |part: &Option<String>, test: fn(&str, &str) -> bool| {
            part.as_deref().is_none_or(|part| test(key, part))
        };
        is_chosen
            && has(&self.prefix, |key, part| key.starts_with(part))
            && has(&self.suffix, |key, part| key.ends_with(part))
    }
}

/// Tells a function of changes in a bucket, for as long as the watch lives. `container` stands for it in the store.
pub fn watch(store: &Store, container: &str, function: &FunctionName, rule: BucketRule) -> ObjectWatch {
    let queue = later::queue_name(function);
    let written = format!("{function} {} {:?} {:?} {:?}", rule.bucket, rule.events, rule.prefix, rule.suffix);
    let configuration = Uuid::new_v5(&NAMESPACE, written.as_bytes()).to_string();
    let hook = ObjectHook::new(move |change: &ObjectChange<'_>| {
        let name = event_name(change.kind);
        if !rule.is_for(name, change.name) {
            return None;
        }
        let event = Changed {
            bucket: &rule.bucket,
            region: &rule.region,
            configuration: &configuration,
            name,
            key: change.name,
            content: (change.kind != ObjectChangeKind::Removed).then_some((change.size, change.etag)),
            number: change.number,
            at: change.at,
        };
        Some(NewMessage {
            hop_count: change.hop_count,
            trace_parent: change.trace_parent.to_owned(),
            ..NewMessage::new(&queue, Bytes::from(event.text()))
        })
    });
    store.on_object(container, hook.with_removals())
}

fn event_name(kind: ObjectChangeKind) -> &'static str {
    match kind {
        ObjectChangeKind::Put(ObjectOrigin::Put) => "ObjectCreated:Put",
        ObjectChangeKind::Put(ObjectOrigin::Copy) => "ObjectCreated:Copy",
        ObjectChangeKind::Put(ObjectOrigin::Upload { .. }) => "ObjectCreated:CompleteMultipartUpload",
        ObjectChangeKind::Removed => "ObjectRemoved:Delete",
    }
}

/// A change of an object.
struct Changed<'a> {
    bucket: &'a str,
    region: &'a str,
    configuration: &'a str,
    name: &'a str,
    key: &'a str,
    /// Size and entity tag; none if it was removed.
    content: Option<(u64, &'a str)>,
    number: u64,
    at: SystemTime,
}

impl Changed<'_> {
    /// The event, as JSON text.
    fn text(&self) -> String {
        let mut object = json!({"key": encoded(self.key), "sequencer": format!("{:018X}", self.number)});
        if let Some((size, etag)) = self.content {
            object["size"] = size.into();
            object["eTag"] = etag.trim_matches('"').into();
        }
        let request =
            Uuid::new_v5(&NAMESPACE, format!("{} {} {}", self.bucket, self.key, self.number).as_bytes());
        let request = request.simple().to_string().to_ascii_uppercase();
        let record = json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": DateTime::<Utc>::from(self.at).to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": self.name,
            "userIdentity": {"principalId": ACCOUNT},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": request.get(..16), "x-amz-id-2": request},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.configuration,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": ACCOUNT},
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": object,
            },
        });
        json!({"Records": [record]}).to_string()
    }
}

/// The event of an object of so many bytes that was put, as JSON text; for a sample.
pub fn sample(bucket: &str, key: &str, size: u64, region: &str, at: SystemTime) -> String {
    let changed = Changed {
        bucket,
        region,
        configuration: "sample",
        name: event_name(ObjectChangeKind::Put(ObjectOrigin::Put)),
        key,
        content: Some((size, "0x0000000000000001")),
        number: 1,
        at,
    };
    changed.text()
}

/// A key as it stands in events: as in a form, but with its slashes.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => text.push('+'),
            b'/' | b'-' | b'_' | b'.' | b'*' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            // Writing to a text can't fail.
            _ => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ingle_store::{DeleteObject, Operation, Options, PutObject};
    use ingle_types::clock::MovedClock;
    use ingle_types::faults::Faults;
    use serde_json::Value;

    use super::*;

    fn rule(events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> BucketRule {
        BucketRule {
            bucket: "My.Photos".to_owned(),
            events: events.iter().map(|&event| event.to_owned()).collect(),
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
            region: "eu-west-1".to_owned(),
        }
    }

    #[test]
    fn a_rule_chooses_by_event_prefix_and_suffix() {
        let check = |rule: &BucketRule, event: &str, key: &str, expected: bool| {
            assert_eq!(rule.is_for(event, key), expected, "{rule:?} {event} {key}");
        };
        let all = rule(&["s3:ObjectCreated:*"], None, None);
        check(&all, "ObjectCreated:Put", "a", true);
        check(&all, "ObjectCreated:Copy", "a", true);
        check(&all, "ObjectRemoved:Delete", "a", false);
        let copies = rule(&["s3:ObjectCreated:Copy", "s3:ObjectRemoved:*"], Some("in/"), Some(".jpg"));
        check(&copies, "ObjectCreated:Put", "in/a.jpg", false);
        check(&copies, "ObjectCreated:Copy", "in/a.jpg", true);
        check(&copies, "ObjectRemoved:Delete", "in/a.jpg", true);
        check(&copies, "ObjectCreated:Copy", "out/a.jpg", false);
        check(&copies, "ObjectCreated:Copy", "in/a.png", false);
    }

    #[test]
    fn keys_are_encoded_as_in_a_form() {
        assert_eq!(encoded("in/red flower+ü.jpg"), "in/red+flower%2B%C3%BC.jpg");
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let clock = MovedClock::at(SystemTime::UNIX_EPOCH + Duration::from_millis(1_893_484_800_123));
        let store = Store::open(Options::new(folder.path()), Arc::new(clock), Faults::none()).unwrap();
        (folder, store)
    }

    async fn put(store: &Store, name: &str) {
        let object = PutObject { hop_count: 3, ..PutObject::new("my-photos", name, Bytes::from("content")) };
        store.commit(vec![Operation::PutObject(object)]).await.unwrap();
    }

    async fn events(store: &Store, function: &FunctionName) -> Vec<(Value, u32)> {
        let messages = store.peek_messages(&later::queue_name(function), 10).await.unwrap();
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["Records"][0].clone();
        messages.iter().map(|message| (read(&message.body), message.hop_count)).collect()
    }

    #[tokio::test]
    async fn a_change_is_an_event_in_the_queue_of_the_function() {
        let (_folder, store) = store();
        let function = FunctionName::new("work");
        let rule = rule(&["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], None, Some(".jpg"));
        let watch = watch(&store, "my-photos", &function, rule);
        put(&store, "red flower.jpg").await;
        put(&store, "notes.txt").await;
        let remove = |name: &str| {
            Operation::DeleteObject(DeleteObject { hop_count: 5, ..DeleteObject::new("my-photos", name) })
        };
        store.commit(vec![remove("red flower.jpg"), remove("red flower.jpg")]).await.unwrap();
        let found = events(&store, &function).await;
        assert_eq!(found.len(), 2, "{found:?}");
        let ((put, hop_count), (removed, removal_hop_count)) = (&found[0], &found[1]);
        assert_eq!(*removal_hop_count, 5, "whose work it was that removed it");
        assert_eq!((&put["eventName"], *hop_count), (&json!("ObjectCreated:Put"), 3));
        assert_eq!(
            (&put["eventTime"], &put["awsRegion"]),
            (&json!("2030-01-01T08:00:00.123Z"), &json!("eu-west-1"))
        );
        assert_eq!(put["s3"]["bucket"]["arn"], "arn:aws:s3:::My.Photos");
        let object = &put["s3"]["object"];
        assert_eq!((&object["key"], &object["size"]), (&json!("red+flower.jpg"), &json!(7)));
        assert!(object["eTag"].as_str().unwrap().starts_with("0x"), "{object}");
        assert_eq!(removed["eventName"], "ObjectRemoved:Delete");
        let gone = &removed["s3"]["object"];
        assert!(gone.get("size").is_none() && gone.get("eTag").is_none(), "{gone}");
        assert!(gone["sequencer"].as_str() > object["sequencer"].as_str());
        drop(watch);
        put_is_not_told(&store, &function).await;
    }

    #[tokio::test]
    async fn an_object_that_came_in_parts_is_told_as_one() {
        let (_folder, store) = store();
        let function = FunctionName::new("work");
        let events = ["s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:*"];
        let _watches = [
            watch(&store, "my-photos", &function, rule(&events, None, None)),
            watch(&store, "my-photos", &function, rule(&["s3:ObjectRemoved:Delete"], None, None)),
        ];
        put(&store, "whole.jpg").await;
        let origin = ObjectOrigin::Upload { part_count: 3 };
        let object = PutObject { origin, ..PutObject::new("my-photos", "parts.jpg", Bytes::from("content")) };
        let tag = store.put_objects(vec![Operation::PutObject(object)]).await.unwrap().remove(0);
        let found = self::events(&store, &function).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0["eventName"], "ObjectCreated:CompleteMultipartUpload");
        assert_eq!(found[0].0["s3"]["object"]["eTag"], tag.trim_matches('"'));
        assert!(tag.ends_with("-3\""), "{tag}");
        // Two rules of one function fit, and it is told once.
        let delete = DeleteObject::new("my-photos", "parts.jpg");
        store.commit(vec![Operation::DeleteObject(delete)]).await.unwrap();
        assert_eq!(self::events(&store, &function).await.len(), 2);
    }

    async fn put_is_not_told(store: &Store, function: &FunctionName) {
        put(store, "later.jpg").await;
        assert_eq!(events(store, function).await.len(), 2);
    }
}
