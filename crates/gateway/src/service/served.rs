//! Answers of a service, before they are sent.

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{Either, Full};

use super::Answer;
use crate::exchange::Pieces;

/// An answer that was given.
pub(crate) enum Served {
    Whole(Response<Bytes>),
    Streamed(Response<Pieces>),
}

impl Served {
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Whole(response) => response.headers_mut(),
            Self::Streamed(response) => response.headers_mut(),
        }
    }
}

pub(crate) fn whole(response: Response<Bytes>) -> Response<Answer> {
    response.map(|body| Either::Left(Full::new(body)))
}
