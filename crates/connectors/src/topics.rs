//! Messages of topics, as SNS sends them to functions and queues (facts of Lambda, section 4.1).
//!
//! A topic keeps nothing: what is published goes, in one commit, into the queues of events that nobody waits for of all functions
//! that subscribe to it ([`crate::later`]), and is tried and given up on there; and into the queues that subscribe.

use std::collections::HashSet;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use ingle_store::{NewMessage, Operation};
use ingle_types::ids::FunctionName;
use ingle_types::spec::embedded_name;
use ingle_types::topic::{self, FilterPolicy, Publication, TopicAttribute, TopicAttributes};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::later;

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";
/// For the ids of subscriptions; any constant will do.
const NAMESPACE: Uuid = Uuid::from_u128(0x696e_676c_652d_746f_7069_632d_7375_6273);

/// Who hears of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subscriber {
    Function(FunctionName),
    Queue {
        /// As AWS names it.
        name: String,
        /// A message is the body itself, with its attributes; else the body is JSON with all of it.
        is_raw: bool,
    },
}

impl Subscriber {
    /// Functions and queues may have one name.
    fn name(&self) -> (bool, &str) {
        match self {
            Self::Function(name) => (true, name.as_str()),
            Self::Queue { name, .. } => (false, name),
        }
    }
}

/// Somebody who hears of a topic.
#[derive(Clone, PartialEq, Debug)]
pub struct Subscription {
    pub subscriber: Subscriber,
    /// As AWS names it.
    pub topic: String,
    pub filter: Option<FilterPolicy>,
}

/// The subscriptions of a project.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Topics {
    subscriptions: Vec<Subscription>,
    /// Where AWS would be.
    region: String,
}

impl Topics {
    pub fn new(subscriptions: Vec<Subscription>, region: String) -> Self {
        Self { subscriptions, region }
    }

    /// Names of topics that somebody hears of, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.subscriptions.iter().map(|one| one.topic.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// `arn:aws:sns:us-east-1:000000000000:orders`.
    pub fn arn(&self, topic: &str) -> String {
        format!("arn:aws:sns:{}:{ACCOUNT}:{topic}", self.region)
    }

    /// What makes a message an event of each function that wants it, and a message of each queue. Nothing if none does.
    pub fn publish(&self, publication: &Publication, now: SystemTime) -> Vec<Operation> {
        let wants = |one: &&Subscription| {
            let is_accepted =
                |filter: &FilterPolicy| filter.accepts(&publication.attributes, &publication.message);
            one.topic == publication.topic && one.filter.as_ref().is_none_or(is_accepted)
        };
        let message = |one: &Subscription| {
            let (queue, body, attributes) = match &one.subscriber {
                Subscriber::Function(function) => {
                    (later::queue_name(function), self.event(one, publication, now), None)
                }
                Subscriber::Queue { name, is_raw: true } => {
                    let attributes = topic::kept(&publication.attributes).map(|kept| kept.to_string());
                    (embedded_name(name, "queue"), publication.message.clone(), attributes)
                }
                Subscriber::Queue { name, is_raw: false } => {
                    (embedded_name(name, "queue"), self.envelope(publication, now).to_string(), None)
                }
            };
            Operation::Enqueue(NewMessage {
                hop_count: publication.hop_count,
                trace_parent: publication.trace_parent.clone(),
                attributes,
                ..NewMessage::new(&queue, Bytes::from(body))
            })
        };
        // As at AWS, who subscribes twice hears once.
        let mut told = HashSet::new();
        let wanted = self.subscriptions.iter().filter(wants);
        wanted.filter(|one| told.insert(one.subscriber.name())).map(message).collect()
    }

    /// What the body of a queue's message is, if not the message itself. SNS writes some names otherwise than in events of functions,
    /// and leaves out what there is not ("Message format for HTTP/S" in Amazon's developer guide). Nobody signs it.
    fn envelope(&self, publication: &Publication, now: SystemTime) -> Value {
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": publication.id.to_string(),
            "TopicArn": self.arn(&publication.topic),
            "Message": publication.message,
            "Timestamp": iso_time(now),
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertURL": "",
            "UnsubscribeURL": "",
        });
        if let Some(subject) = &publication.subject {
            envelope["Subject"] = subject.as_str().into();
        }
        if !publication.attributes.is_empty() {
            envelope["MessageAttributes"] = attributes(publication).into();
        }
        envelope
    }

    /// The event, as JSON text. Nobody signs it.
    fn event(&self, subscription: &Subscription, publication: &Publication, now: SystemTime) -> String {
        let topic = self.arn(&publication.topic);
        let subscriber = match &subscription.subscriber {
            Subscriber::Function(function) => function.as_str(),
            Subscriber::Queue { name, .. } => name,
        };
        let written = format!("{subscriber} {}", publication.topic);
        let subscription = format!("{topic}:{}", Uuid::new_v5(&NAMESPACE, written.as_bytes()));
        let record = json!({
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription,
            "EventSource": "aws:sns",
            "Sns": {
                "Type": "Notification",
                "MessageId": publication.id.to_string(),
                "TopicArn": topic,
                "Subject": publication.subject,
                "Message": publication.message,
                "Timestamp": iso_time(now),
                "SignatureVersion": "1",
                "Signature": "",
                "SigningCertUrl": "",
                "UnsubscribeUrl": "",
                "MessageAttributes": attributes(publication),
            },
        });
        json!({"Records": [record]}).to_string()
    }
}

fn iso_time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn attributes(publication: &Publication) -> Map<String, Value> {
    let one = |(name, one): (&String, &TopicAttribute)| {
        (name.clone(), json!({"Type": one.kind, "Value": one.value}))
    };
    publication.attributes.iter().map(one).collect()
}

/// The event of a message, as JSON text; for a sample.
pub fn sample(topic: &str, message: String, region: &str, now: SystemTime) -> String {
    let subscriber = Subscriber::Function(FunctionName::new("sample"));
    let subscription = Subscription { subscriber, topic: topic.to_owned(), filter: None };
    let publication = Publication {
        id: Uuid::new_v4(),
        topic: topic.to_owned(),
        subject: None,
        message,
        attributes: TopicAttributes::new(),
        hop_count: 0,
        trace_parent: String::new(),
    };
    Topics { subscriptions: Vec::new(), region: region.to_owned() }.event(&subscription, &publication, now)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn subscription(function: &str, topic: &str, filter: Option<Value>) -> Subscription {
        let filter = filter.map(|policy| FilterPolicy::new(&policy, false).unwrap());
        let subscriber = Subscriber::Function(FunctionName::new(function));
        Subscription { subscriber, topic: topic.to_owned(), filter }
    }

    fn publication(topic: &str, store: &str) -> Publication {
        let attribute = TopicAttribute { kind: "String".to_owned(), value: store.to_owned() };
        Publication {
            id: Uuid::nil(),
            topic: topic.to_owned(),
            subject: Some("news".to_owned()),
            message: "soup".to_owned(),
            attributes: TopicAttributes::from([("store".to_owned(), attribute)]),
            hop_count: 2,
            trace_parent: "00-a-b-01".to_owned(),
        }
    }

    fn sent(topics: &Topics, publication: &Publication) -> Vec<(String, Value)> {
        let now = UNIX_EPOCH + Duration::from_millis(1_893_484_800_123);
        let read = |operation| match operation {
            Operation::Enqueue(message) => {
                assert_eq!((message.hop_count, message.trace_parent.as_str()), (2, "00-a-b-01"));
                (message.queue.clone(), serde_json::from_slice(&message.body).unwrap())
            }
            other => panic!("{other:?}"),
        };
        topics.publish(publication, now).into_iter().map(read).collect()
    }

    #[test]
    fn who_subscribes_twice_hears_once() {
        let queue = |is_raw| Subscription {
            subscriber: Subscriber::Queue { name: "kitchen".to_owned(), is_raw },
            topic: "orders".to_owned(),
            filter: None,
        };
        let books = Some(json!({"store": ["books"]}));
        let twice = [subscription("kitchen", "orders", books), subscription("kitchen", "orders", None)];
        let topics = Topics::new(
            twice
                .into_iter()
                .chain([subscription("kitchen", "orders", None), queue(false), queue(true)])
                .collect(),
            "eu-west-1".to_owned(),
        );
        let found = sent(&topics, &publication("orders", "music"));
        let queues: Vec<&str> = found.iter().map(|(queue, _)| queue.as_str()).collect();
        assert_eq!(queues, [later::queue_name(&FunctionName::new("kitchen")).as_str(), "kitchen"]);
    }

    #[test]
    fn a_message_is_an_event_of_each_function_that_wants_it() {
        let topics = Topics::new(
            vec![
                subscription("kitchen", "orders", None),
                subscription("books", "orders", Some(json!({"store": ["books"]}))),
                subscription("other", "others", None),
                subscription("music", "orders", Some(json!({"store": ["music"]}))),
            ],
            "eu-west-1".to_owned(),
        );
        assert_eq!(topics.names(), ["orders", "others"]);
        let found = sent(&topics, &publication("orders", "music"));
        let queues: Vec<&str> = found.iter().map(|(queue, _)| queue.as_str()).collect();
        let expected = ["kitchen", "music"].map(|name| later::queue_name(&FunctionName::new(name)));
        assert_eq!(queues, expected);
        let record = &found[0].1["Records"][0];
        let sns = &record["Sns"];
        assert_eq!(sns["TopicArn"], "arn:aws:sns:eu-west-1:000000000000:orders");
        assert!(
            record["EventSubscriptionArn"].as_str().unwrap().starts_with(sns["TopicArn"].as_str().unwrap())
        );
        assert_eq!((&sns["Subject"], &sns["Message"]), (&json!("news"), &json!("soup")));
        assert_eq!(sns["Timestamp"], "2030-01-01T08:00:00.123Z");
        assert_eq!(sns["MessageAttributes"], json!({"store": {"Type": "String", "Value": "music"}}));
        assert_eq!(sent(&topics, &publication("nobody", "music")).len(), 0);
    }

    #[test]
    fn a_queue_gets_an_envelope_or_the_message_itself() {
        let subscription = |name: &str, is_raw, filter: Option<Value>| Subscription {
            subscriber: Subscriber::Queue { name: name.to_owned(), is_raw },
            ..subscription("", "orders", filter)
        };
        let topics = Topics::new(
            vec![
                subscription("All_orders", false, None),
                subscription("raw", true, None),
                subscription("books", true, Some(json!({"store": ["books"]}))),
            ],
            "eu-west-1".to_owned(),
        );
        let now = UNIX_EPOCH + Duration::from_millis(1_893_484_800_123);
        let mut messages = Vec::new();
        for operation in topics.publish(&publication("orders", "music"), now) {
            let Operation::Enqueue(message) = operation else { panic!("{operation:?}") };
            assert_eq!((message.hop_count, message.trace_parent.as_str()), (2, "00-a-b-01"));
            messages.push(message);
        }
        let [whole, raw] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((whole.queue.as_str(), raw.queue.as_str()), ("all-orders", "raw"));
        let expected = json!({
            "Type": "Notification", "MessageId": Uuid::nil().to_string(),
            "TopicArn": "arn:aws:sns:eu-west-1:000000000000:orders", "Subject": "news", "Message": "soup",
            "Timestamp": "2030-01-01T08:00:00.123Z", "SignatureVersion": "1", "Signature": "", "SigningCertURL": "",
            "UnsubscribeURL": "", "MessageAttributes": {"store": {"Type": "String", "Value": "music"}},
        });
        assert_eq!(serde_json::from_slice::<Value>(&whole.body).unwrap(), expected);
        assert_eq!((&whole.attributes, &raw.body[..]), (&None, &b"soup"[..]));
        let kept: Value = serde_json::from_str(raw.attributes.as_deref().unwrap()).unwrap();
        assert_eq!(kept["record"]["store"]["stringValue"], "music");
        let bare = Publication {
            subject: None,
            attributes: TopicAttributes::new(),
            ..publication("orders", "music")
        };
        let envelope = topics.envelope(&bare, now);
        assert!(
            envelope.get("Subject").is_none() && envelope.get("MessageAttributes").is_none(),
            "{envelope}"
        );
    }
}
