//! Queues in an account of Azure Storage (facts 7.1).
//!
//! The service takes texts of up to 64 KiB. As in Azure, the text is the message in Base64, unless host.json says
//! `"messageEncoding": "none"`.

mod listener;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::http::RequestContent;
use azure_core::http::XmlFormat;
use azure_core::http::headers::HeaderName;
use azure_storage_queue::QueueClient;
use azure_storage_queue::models::{
    QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions, QueueMessage, ReceivedMessage,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ingle_types::spec::MessageEncoding;

use crate::account::fault::Fault;
use crate::account::{CALL_TIMEOUT, Client, limited};
use crate::collect::Element;

pub use listener::{HELD_FOR, RemoteListener, RemoteListenerOptions};

/// Largest text of a message, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The text of a message as the service takes it.
///
/// # Errors
/// What keeps this element from being a message.
pub(crate) fn encode(element: &Element, encoding: MessageEncoding) -> Result<String, String> {
    let bytes = match element {
        Element::Text(text) => text.as_bytes(),
        Element::Bytes(bytes) => bytes,
    };
    let text = match encoding {
        MessageEncoding::Base64 => STANDARD.encode(bytes),
        MessageEncoding::None => std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| {
            "these bytes are no UTF-8, which \"messageEncoding\": \"none\" in host.json asks for".to_owned()
        })?,
    };
    if text.len() > TEXT_BYTES_MAX {
        let most = if encoding == MessageEncoding::Base64 { TEXT_BYTES_MAX / 4 * 3 } else { TEXT_BYTES_MAX };
        return Err(format!(
            "a message of {} bytes is too large: a queue of Azure Storage takes {most}; put it into a blob and send its name",
            bytes.len()
        ));
    }
    Ok(text)
}

/// The message that a text stands for; `None` if it is no Base64 although that is asked for.
fn decode(text: &str, encoding: MessageEncoding) -> Option<Bytes> {
    match encoding {
        MessageEncoding::Base64 => STANDARD.decode(text.trim()).ok().map(Bytes::from),
        MessageEncoding::None => Some(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// One queue of an account.
#[derive(Clone)]
pub(crate) struct RemoteQueue {
    client: Arc<Client>,
    name: String,
}

/// A message that was fetched and is held until its visibility ends.
#[derive(Debug)]
struct Held {
    id: String,
    /// Proof that it is held; another one after each renewal.
    receipt: String,
    text: String,
    dequeue_count: u32,
    inserted_at: SystemTime,
    expires_at: SystemTime,
    visible_at: SystemTime,
}

impl RemoteQueue {
    pub(crate) fn new(client: Arc<Client>, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    fn queue(&self) -> Result<QueueClient, Fault> {
        self.client.queues()?.queue_client(&self.name).map_err(|error| Fault::of(&error))
    }

    /// Puts a text into the queue, which is made if it is not there.
    pub(crate) async fn put(&self, text: &str, lives_for_ever: bool) -> Result<(), Fault> {
        match self.send(text, lives_for_ever).await {
            Err(fault) if fault.is_missing() => {
                self.create().await?;
                self.send(text, lives_for_ever).await
            }
            result => result,
        }?;
        self.client.wake(&self.name).notify_one();
        Ok(())
    }

    async fn send(&self, text: &str, lives_for_ever: bool) -> Result<(), Fault> {
        let message = QueueMessage { message_text: Some(text.to_owned()) };
        let content: RequestContent<QueueMessage, XmlFormat> =
            message.try_into().map_err(|error| Fault::of(&error))?;
        let options = QueueClientSendMessageOptions {
            message_time_to_live: lives_for_ever.then_some(-1),
            ..QueueClientSendMessageOptions::default()
        };
        limited(CALL_TIMEOUT, self.queue()?.send_message(content, Some(options))).await.map(drop)
    }

    async fn create(&self) -> Result<(), Fault> {
        match limited(CALL_TIMEOUT, self.queue()?.create(None)).await {
            // Somebody else was faster.
            Err(fault) if fault.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Fetches up to `count` messages and holds them for `held_for`. A queue that is not there is empty.
    async fn fetch(&self, count: u32, held_for: Duration) -> Result<Vec<Held>, Fault> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: i32::try_from(count).ok(),
            visibility_timeout: Some(seconds(held_for)),
            ..QueueClientReceiveMessagesOptions::default()
        };
        let fetched = limited(CALL_TIMEOUT, self.queue()?.receive_messages(Some(options))).await;
        let response = match fetched {
            Err(fault) if fault.is_missing() => return Ok(Vec::new()),
            fetched => fetched?,
        };
        let messages = response.into_model().map_err(|error| Fault::of(&error))?.items.unwrap_or_default();
        messages.into_iter().map(held).collect()
    }

    /// Makes a held message visible again after `visible_after`; gives the new receipt.
    async fn release(&self, id: &str, receipt: &str, visible_after: Duration) -> Result<String, Fault> {
        let update = self.queue()?;
        let response =
            limited(CALL_TIMEOUT, update.update_message(id, receipt, seconds(visible_after), None)).await?;
        let header = HeaderName::from_static("x-ms-popreceipt");
        let receipt = response.headers().get_optional_str(&header);
        receipt.map(str::to_owned).ok_or_else(|| Fault::refused("the answer has no receipt"))
    }

    async fn delete(&self, id: &str, receipt: &str) -> Result<(), Fault> {
        limited(CALL_TIMEOUT, self.queue()?.delete_message(id, receipt, None)).await.map(drop)
    }
}

fn held(message: ReceivedMessage) -> Result<Held, Fault> {
    let lacks = |what: &str| Fault::refused(format!("a message came without {what}"));
    let time = |time: Option<azure_core::time::OffsetDateTime>| {
        time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
    };
    Ok(Held {
        id: message.message_id.ok_or_else(|| lacks("an id"))?,
        receipt: message.pop_receipt.ok_or_else(|| lacks("a receipt"))?,
        text: message.message_text.unwrap_or_default(),
        dequeue_count: message.dequeue_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        inserted_at: time(message.insertion_time),
        expires_at: time(message.expiration_time),
        visible_at: time(message.time_next_visible),
    })
}

/// Whole seconds, rounded up: the service knows no parts, and no message shall come early.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(element: &Element, encoding: MessageEncoding, expected: Result<&str, &str>) {
        match (encode(element, encoding), expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{problem}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn messages_become_texts() {
        let text = |length: usize| Element::Text("x".repeat(length));
        check(&Element::Text("grüß".to_owned()), MessageEncoding::Base64, Ok("Z3LDvMOf"));
        check(&Element::Bytes(Bytes::from_static(b"\xff")), MessageEncoding::Base64, Ok("/w=="));
        check(&Element::Text("grüß".to_owned()), MessageEncoding::None, Ok("grüß"));
        check(&Element::Bytes(Bytes::from_static(b"\xff")), MessageEncoding::None, Err("no UTF-8"));
        check(&text(1024 * 1024), MessageEncoding::Base64, Err("1048576 bytes is too large"));
        assert_eq!(encode(&text(49152), MessageEncoding::Base64).map(|text| text.len()), Ok(65536));
        check(&text(49153), MessageEncoding::Base64, Err("takes 49152"));
        check(&text(65537), MessageEncoding::None, Err("takes 65536"));
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!((seconds(Duration::ZERO), seconds(Duration::from_millis(1))), (0, 1));
        assert_eq!(seconds(Duration::from_secs(600)), 600);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&Element::Bytes(Bytes::from(bytes.clone())), MessageEncoding::Base64).unwrap();
            prop_assert_eq!(decode(&text, MessageEncoding::Base64).unwrap(), bytes);
        }

        #[test]
        fn no_text_breaks_the_decoder(text in "\\PC{0,40}") {
            prop_assert_eq!(decode(&text, MessageEncoding::None).unwrap(), text.as_bytes());
            decode(&text, MessageEncoding::Base64);
        }
    }
}
