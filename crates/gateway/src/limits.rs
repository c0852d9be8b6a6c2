//! What a request may weigh, decided before anything is spent on it (T-032, T-034, T-035).

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Version};
use thiserror::Error;

use ingle_types::outcome::Blame;

/// Limits on the head of a request. The defaults are Azure's where Azure states one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Path and query together.
    pub url_bytes_max: usize,
    pub query_bytes_max: usize,
    pub header_count_max: usize,
    /// Names and values together, with the four bytes of `: ` and the line end for each.
    pub headers_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            url_bytes_max: 8192,
            query_bytes_max: 4096,
            header_count_max: 100,
            headers_bytes_max: 64 * 1024,
        }
    }
}

/// A request that is refused by its size or by how it states its size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("the URL has {bytes} bytes, more than {max}")]
    UrlTooLong { bytes: usize, max: usize },
    #[error("the query string has {bytes} bytes, more than {max}")]
    QueryTooLong { bytes: usize, max: usize },
    #[error("the request has {count} headers, more than {max}")]
    TooManyHeaders { count: usize, max: usize },
    #[error("the headers have {bytes} bytes, more than {max}")]
    HeadersTooLarge { bytes: usize, max: usize },
    #[error("the body has more than {max} bytes")]
    BodyTooLarge { max: u64 },
    #[error("the body ended before or after the length that the request stated")]
    LengthMismatch,
    #[error("the request does not say in one clear way how long its body is")]
    UnclearLength,
    #[error("the request needs exactly one Host header")]
    UnclearHost,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Self::UrlTooLong { .. } | Self::QueryTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LengthMismatch | Self::UnclearLength | Self::UnclearHost => StatusCode::BAD_REQUEST,
        }
    }

    pub fn code(self) -> &'static str {
        if matches!(self, Self::BodyTooLarge { .. }) { "E0503" } else { "E0505" }
    }

    pub fn blame(self) -> Blame {
        Blame::Caller
    }

    pub fn hint(self) -> Option<String> {
        let hint = match self {
            Self::UrlTooLong { .. } | Self::QueryTooLong { .. } => "send long values in the body",
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => {
                "send fewer headers; large ones are often cookies"
            }
            Self::BodyTooLarge { .. } => {
                "raise FUNCTIONS_REQUEST_BODY_SIZE_LIMIT (bytes) if the app needs larger bodies"
            }
            Self::LengthMismatch | Self::UnclearLength | Self::UnclearHost => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the connection can't be used for another request, because it is unclear where the next one begins.
    pub fn closes_connection(self) -> bool {
        matches!(
            self,
            Self::BodyTooLarge { .. } | Self::LengthMismatch | Self::UnclearLength | Self::UnclearHost
        )
    }
}

/// Judges the head of a request.
///
/// # Errors
/// [`Refusal`] with the status to answer.
pub fn check_head(limits: &HeadLimits, head: &Parts) -> Result<(), Refusal> {
    let query = head.uri.query().map_or(0, str::len);
    let url = head.uri.path().len() + query + usize::from(query > 0);
    if url > limits.url_bytes_max {
        return Err(Refusal::UrlTooLong { bytes: url, max: limits.url_bytes_max });
    }
    if query > limits.query_bytes_max {
        return Err(Refusal::QueryTooLong { bytes: query, max: limits.query_bytes_max });
    }
    let count = head.headers.len();
    if count > limits.header_count_max {
        return Err(Refusal::TooManyHeaders { count, max: limits.header_count_max });
    }
    let bytes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.headers_bytes_max {
        return Err(Refusal::HeadersTooLarge { bytes, max: limits.headers_bytes_max });
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::UnclearHost);
    }
    Ok(())
}

/// Counts a body while it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyMeter {
    stated: Option<u64>,
    seen: u64,
    max: u64,
}

impl BodyMeter {
    /// Starts with what the headers say; a body that is stated too large is refused before it is read.
    ///
    /// A request with both `Content-Length` and `Transfer-Encoding`, or with lengths that differ, is how one request
    /// is smuggled in another (RFC 9112, section 6.3). hyper has settled some of these before we see the headers: it
    /// drops the length beside `chunked`, so this is the second lock on that door.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] or [`Refusal::UnclearLength`].
    pub fn start(headers: &HeaderMap, max: u64) -> Result<Self, Refusal> {
        let stated = stated_length(headers)?;
        if stated.is_some_and(|length| length > max) {
            return Err(Refusal::BodyTooLarge { max });
        }
        Ok(Self { stated, seen: 0, max })
    }

    /// Counts a piece of the body.
    ///
    /// # Errors
    /// The body is larger than allowed, or than stated.
    pub fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.seen = self.seen.saturating_add(bytes as u64);
        if self.seen > self.max {
            return Err(Refusal::BodyTooLarge { max: self.max });
        }
        if self.stated.is_some_and(|length| self.seen > length) {
            return Err(Refusal::LengthMismatch);
        }
        Ok(())
    }

    /// Ends the count.
    ///
    /// # Errors
    /// The body is shorter than stated.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.stated.is_some_and(|length| self.seen != length) {
            Err(Refusal::LengthMismatch)
        } else {
            Ok(())
        }
    }
}

fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut stated = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        // `+5` is a number for Rust, but not in HTTP.
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse::<u64>().ok()).ok_or(Refusal::UnclearLength)?;
        if stated.replace(length).is_some_and(|before| before != length) {
            return Err(Refusal::UnclearLength);
        }
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Ok(stated) };
    let only_chunked = encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if stated.is_some() || !only_chunked { Err(Refusal::UnclearLength) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;

    fn head(uri: &str, headers: &[(&'static str, String)]) -> Parts {
        let mut builder = Request::builder().uri(uri).header("host", "h");
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn check(parts: &Parts, status: Option<u16>) {
        let refused = check_head(&HeadLimits::default(), parts).err();
        assert_eq!(refused.map(|refusal| refusal.status().as_u16()), status, "{refused:?}");
    }

    #[test]
    fn urls_and_queries_have_an_end_t_034() {
        check(&head(&format!("/{}", "a".repeat(8191)), &[]), None);
        check(&head(&format!("/{}", "a".repeat(8192)), &[]), Some(414));
        check(&head(&format!("/?{}", "a".repeat(4096)), &[]), None);
        check(&head(&format!("/?{}", "a".repeat(4097)), &[]), Some(414));
    }

    #[test]
    fn headers_have_an_end_t_034() {
        let many = |count: usize| vec![("x-a", "1".to_owned()); count];
        check(&head("/", &many(99)), None);
        check(&head("/", &many(100)), Some(431));
        let host = "host".len() + "h".len() + 4;
        let filling = 64 * 1024 - host - "x-a".len() - 4;
        check(&head("/", &[("x-a", "v".repeat(filling))]), None);
        check(&head("/", &[("x-a", "v".repeat(filling + 1))]), Some(431));
    }

    #[test]
    fn one_host_t_032() {
        let mut none = head("/", &[]);
        none.headers.clear();
        check(&none, Some(400));
        none.version = Version::HTTP_10;
        check(&none, None);
        check(&head("/", &[("host", "other".to_owned())]), Some(400));
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// The meter's judgement of a body in pieces, with a limit of 10 bytes.
    fn check_body(pairs: &[(&'static str, &str)], pieces: &[usize], expected: Result<(), Refusal>) {
        let judged = BodyMeter::start(&headers(pairs), 10).and_then(|mut meter| {
            pieces.iter().try_for_each(|piece| meter.add(*piece))?;
            meter.finish()
        });
        assert_eq!(judged, expected, "{pairs:?} {pieces:?}");
    }

    #[test]
    fn bodies_are_counted_t_035() {
        let too_large = Err(Refusal::BodyTooLarge { max: 10 });
        check_body(&[], &[], Ok(()));
        check_body(&[("content-length", "10")], &[4, 6], Ok(()));
        check_body(&[("content-length", "11")], &[], too_large);
        check_body(&[("content-length", "5")], &[4, 6], Err(Refusal::LengthMismatch));
        check_body(&[("content-length", "5")], &[4], Err(Refusal::LengthMismatch));
        check_body(&[("transfer-encoding", "Chunked")], &[10], Ok(()));
        check_body(&[("transfer-encoding", "chunked")], &[10, 1], too_large);
        check_body(&[("transfer-encoding", "chunked")], &[usize::MAX, usize::MAX], too_large);
    }

    #[test]
    fn unclear_lengths_are_refused_t_032() {
        for pairs in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("transfer-encoding", "chunked, identity")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            check_body(pairs, &[], Err(Refusal::UnclearLength));
        }
        check_body(&[("content-length", "5"), ("content-length", "5")], &[5], Ok(()));
        assert!(Refusal::UnclearLength.closes_connection());
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_passes(pieces in prop::collection::vec(0_usize..8, 0..8)) {
            let mut meter = BodyMeter::start(&HeaderMap::new(), 10).unwrap();
            let passed = pieces.iter().all(|piece| meter.add(*piece).is_ok());
            prop_assert_eq!(passed, pieces.iter().sum::<usize>() <= 10);
        }
    }
}
