//! Messages on a connection: a header `Content-Length: N`, an empty line, and N bytes of JSON (Debug Adapter Protocol,
//! "Base Protocol").

use std::io;

use serde_json::Value;

/// A longer message is none of a debugger: its connection is closed.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
const HEADER_BYTES_MAX: usize = 4 * 1024;
const END_OF_HEADER: &[u8] = b"\r\n\r\n";

/// Takes messages out of what was read so far.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) buffer: Vec<u8>,
}

impl Decoder {
    /// The next whole message.
    ///
    /// # Errors
    /// `InvalidData`: this is no such protocol.
    pub(super) fn take(&mut self) -> io::Result<Option<Value>> {
        let Some(header) = find(&self.buffer, END_OF_HEADER) else {
            return if self.buffer.len() > HEADER_BYTES_MAX {
                Err(broken("no end of the header"))
            } else {
                Ok(None)
            };
        };
        let length = length(&self.buffer[..header])?;
        let begin = header + END_OF_HEADER.len();
        let Some(body) = self.buffer.get(begin..begin + length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(|error| broken(&error.to_string()))?;
        self.buffer.drain(..begin + length);
        Ok(Some(message))
    }
}

pub(super) fn encode(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn length(header: &[u8]) -> io::Result<usize> {
    let header = std::str::from_utf8(header).map_err(|_| broken("the header is no text"))?;
    let value = header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().to_owned())
    });
    let length = value.and_then(|value| value.parse::<usize>().ok());
    length.filter(|length| *length <= BODY_BYTES_MAX).ok_or_else(|| broken("no length that can be"))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let messages = [json!({"seq": 1, "text": "ü"}), json!({"seq": 2}), json!({})];
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        for size in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.buffer.extend_from_slice(piece);
                while let Some(message) = decoder.take().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, messages, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_such_protocol_is_refused() {
        let check = |bytes: &[u8]| Decoder { buffer: bytes.to_vec() }.take().is_err();
        assert!(check(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(check(b"Content-Length: 99999999999\r\n\r\n"));
        assert!(check(b"Content-Length: -1\r\n\r\n"));
        assert!(check(b"Content-Length: 2\r\n\r\n{{"));
        assert!(check(&[b'x'; HEADER_BYTES_MAX + 1]));
        assert!(!check(b"content-length : 2\r\nother: x\r\n\r\n{"));
    }
}
