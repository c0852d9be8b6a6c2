//! The body of an answer of `InvokeWithResponseStream`: messages of `application/vnd.amazon.eventstream` (facts of Lambda, section
//! 1.5; Smithy's "Amazon Event Stream Specification").

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value, json};

/// The type of such a body.
pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// Larger contents go out in several messages, as clients bound the size of one.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Of a header's value: a text.
const TEXT: u8 = 7;

/// The messages of a whole answer: what the function returned or why it did not, and at last that it is complete. `log` is base64
/// already.
pub(super) fn body(result: Result<&[u8], &Value>, log: Option<&str>) -> Bytes {
    let mut body = BytesMut::new();
    if let Ok(content) = result {
        body.put(chunks(content));
    }
    body.put(end(result.err(), log));
    body.freeze()
}

/// The messages of a part of an answer.
pub(super) fn chunks(content: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    for chunk in content.chunks(CHUNK_BYTES_MAX) {
        put(&mut body, "PayloadChunk", "application/octet-stream", chunk);
    }
    body.freeze()
}

/// The message that an answer is complete, or why there is no more of it.
pub(super) fn end(error: Option<&Value>, log: Option<&str>) -> Bytes {
    let mut end = Map::new();
    if let Some(error) = error {
        let code = error.get("errorType").cloned().unwrap_or_else(|| json!("Unhandled"));
        end.insert("ErrorCode".to_owned(), code);
        end.insert("ErrorDetails".to_owned(), json!(error.to_string()));
    }
    if let Some(log) = log {
        end.insert("LogResult".to_owned(), json!(log));
    }
    let mut body = BytesMut::new();
    put(&mut body, "InvokeComplete", "application/json", Value::Object(end).to_string().as_bytes());
    body.freeze()
}

/// Lengths and a sum of them, headers, payload, and a sum of it all; numbers are of 32 bits, the largest byte first.
fn put(body: &mut BytesMut, kind: &str, content_type: &str, payload: &[u8]) {
    let mut headers = BytesMut::new();
    for (name, value) in [(":message-type", "event"), (":event-type", kind), (":content-type", content_type)]
    {
        // Names and values are ours, and short.
        headers.put_u8(u8::try_from(name.len()).unwrap_or_default());
        headers.put_slice(name.as_bytes());
        headers.put_u8(TEXT);
        headers.put_u16(u16::try_from(value.len()).unwrap_or_default());
        headers.put_slice(value.as_bytes());
    }
    const AROUND: usize = 16;
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut message = BytesMut::with_capacity(AROUND + headers.len() + payload.len());
    message.put_u32(length(AROUND + headers.len() + payload.len()));
    message.put_u32(length(headers.len()));
    message.put_u32(crc32fast::hash(&message));
    message.put_slice(&headers);
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    body.put_slice(&message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf as _;

    /// The type and payload of each message, read as a client does, with its sums checked.
    fn messages(mut body: Bytes) -> Vec<(String, Bytes)> {
        let mut found = Vec::new();
        while body.has_remaining() {
            let whole = body.clone();
            let (length, headers) = (body.get_u32() as usize, body.get_u32() as usize);
            assert_eq!(body.get_u32(), crc32fast::hash(&whole[..8]));
            let mut head = body.split_to(headers);
            let payload = body.split_to(length - headers - 16);
            assert_eq!(body.get_u32(), crc32fast::hash(&whole[..length - 4]));
            let mut kind = String::new();
            while head.has_remaining() {
                let name_length = usize::from(head.get_u8());
                let name = head.split_to(name_length);
                assert_eq!(head.get_u8(), TEXT);
                let value_length = usize::from(head.get_u16());
                let value = head.split_to(value_length);
                if name == ":event-type" {
                    kind = String::from_utf8(value.to_vec()).unwrap();
                }
            }
            found.push((kind, payload));
        }
        found
    }

    fn text(message: &(String, Bytes)) -> (&str, &str) {
        (&message.0, std::str::from_utf8(&message.1).unwrap())
    }

    #[test]
    fn a_result_comes_in_chunks_and_then_its_end() {
        let found = messages(body(Ok(b"{\"a\": 1}"), Some("bG9n")));
        assert_eq!(text(&found[0]), ("PayloadChunk", "{\"a\": 1}"));
        assert_eq!(text(&found[1]), ("InvokeComplete", "{\"LogResult\":\"bG9n\"}"));
        let large = vec![b'x'; 2 * CHUNK_BYTES_MAX + 1];
        let sizes: Vec<usize> =
            messages(body(Ok(&large), None)).iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(sizes, [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 1, 2]);
    }

    #[test]
    fn a_failure_is_told_at_the_end() {
        let error = json!({"errorType": "ValueError", "errorMessage": "no"});
        let found = messages(body(Err(&error), None));
        assert_eq!(found.len(), 1);
        let (kind, end) = text(&found[0]);
        let end: Value = serde_json::from_str(end).unwrap();
        assert_eq!((kind, &end["ErrorCode"]), ("InvokeComplete", &json!("ValueError")));
        assert_eq!(end["ErrorDetails"], error.to_string());
    }
}
