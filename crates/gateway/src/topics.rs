//! The topics of a project, for the doors through which something is published.

use std::sync::Arc;

use ingle_types::event::futures::BoxFuture;
use ingle_types::topic::{Publication, TopicAttribute};
use uuid::Uuid;

/// Publishes, all in one commit; the number of events that came of it, or why it was not done, in words.
pub type Publish = Arc<dyn Fn(Vec<Publication>) -> BoxFuture<Result<usize, String>> + Send + Sync>;

/// Topics that functions subscribe to.
#[derive(Clone)]
pub struct Topics {
    /// Sorted, each once.
    pub names: Vec<String>,
    pub publish: Publish,
}

impl Topics {
    /// Of an app that has none.
    pub fn none() -> Self {
        let publish: Publish = Arc::new(|_publications| Box::pin(std::future::ready(Ok(0))));
        Self { names: Vec::new(), publish }
    }
}

/// What somebody publishes by hand. `a.NAME=VALUE` in a query is an attribute, all of them texts.
pub(crate) fn by_hand(topic: &str, query: &[(String, String)], body: &[u8]) -> Publication {
    let attribute = |(key, value): &(String, String)| {
        let name = key.strip_prefix("a.")?.to_owned();
        Some((name, TopicAttribute { kind: "String".to_owned(), value: value.clone() }))
    };
    let subject = query.iter().find(|(key, _)| key == "subject").map(|(_, value)| value.clone());
    Publication {
        id: Uuid::new_v4(),
        topic: topic.to_owned(),
        subject,
        message: String::from_utf8_lossy(body).into_owned(),
        attributes: query.iter().filter_map(attribute).collect(),
        hop_count: 0,
        trace_parent: String::new(),
    }
}
