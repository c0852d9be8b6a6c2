//! Bodies that clients of S3 send in pieces, each with its length and perhaps a signature (`aws-chunked`).

use bytes::{Buf as _, Bytes};
use http::request::Parts;

use super::Fault;

/// Longest line before a piece, in bytes.
const LINE_BYTES_MAX: usize = 1024;

/// The content itself.
///
/// # Errors
/// 400: what is said to come in pieces does not.
pub(super) fn decoded(head: &Parts, body: Bytes) -> Result<Bytes, Fault> {
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let in_pieces = header("x-amz-content-sha256").starts_with("STREAMING-");
    if !in_pieces {
        return Ok(body);
    }
    joined(body)
        .ok_or_else(|| Fault::bad("IncompleteBody", "the body is not in the pieces that it is said to be in"))
}

/// `5;chunk-signature=…\r\nhello\r\n0\r\nx-amz-checksum-crc32:…\r\n\r\n`.
fn joined(mut body: Bytes) -> Option<Bytes> {
    let mut content = Vec::with_capacity(body.len());
    loop {
        let end = body.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n')?;
        let line = body.split_to(end + 1);
        let line = std::str::from_utf8(&line).ok()?.trim_end();
        let length = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if length == 0 {
            // What follows are checksums, which the transport over one machine does not need.
            return Some(content.into());
        }
        if body.len() < length.checked_add(2)? {
            return None;
        }
        content.extend_from_slice(&body.split_to(length));
        if !body.starts_with(b"\r\n") {
            return None;
        }
        body.advance(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_content() {
        let check = |body: &'static str, expected: Option<&'static str>| {
            assert_eq!(joined(Bytes::from_static(body.as_bytes())), expected.map(Bytes::from), "{body:?}");
        };
        check(
            "5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:a==\r\n\r\n",
            Some("hello!"),
        );
        check("0\r\n\r\n", Some(""));
        check("5\r\nhel", None);
        check("5\r\nhello0\r\n", None);
        check("ffffffffffffffff\r\nhello\r\n0\r\n", None);
        check("hello", None);
        check("", None);
    }
}
