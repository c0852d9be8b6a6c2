//! One value on its way between a binding and a function, in the shapes that the SDK's converters know
//! (`azure.functions.meta.Datum`; the names of the shapes are those of FunctionRpc's `TypedData`).

use bytes::Bytes;

use crate::exchange::ExchangeHandle;
use crate::local_file::LocalFile;

/// A value between binding and function.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// `None` in Python.
    Nothing,
    Text(String),
    Bytes(Bytes),
    /// JSON text, not yet parsed by us.
    Json(String),
    Int(i64),
    Double(f64),
    Texts(Vec<String>),
    ManyBytes(Vec<Bytes>),
    Request(Box<HttpRequest>),
    Response(Box<HttpResponse>),
    /// Bytes or text that are too many for memory.
    File(LocalFile),
}

impl Datum {
    /// The SDK's word for the shape; on the wire between server and worker too.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "json",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Texts(_) => "collection_string",
            Self::ManyBytes(_) => "collection_bytes",
            Self::Request(_) | Self::Response(_) => "http",
            Self::File(_) => "file",
        }
    }
}

/// An HTTP request as a function sees it. Header names are lower case, repeated headers and query keys are
/// joined with `,`, as Azure's host does (facts 3.2).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HttpRequest {
    pub method: String,
    /// Absolute, with the query string as it was sent.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    /// Values of the route's parameters, percent-decoded.
    pub route_parameters: Vec<(String, String)>,
    /// Empty if there is an [`ExchangeHandle`].
    pub body: Body,
    /// Through which the body is read and the response is sent, where both go in pieces.
    pub exchange: Option<ExchangeHandle>,
}

/// The bytes of a body in the pieces in which they came, so that a large one is never copied to be joined.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Body {
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The whole in one piece; copies if it came in several.
    pub fn joined(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [whole] => whole.clone(),
            pieces => Bytes::from(pieces.concat()),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

/// Equal if the bytes are, however they came.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.joined() == other.joined()
    }
}

/// An HTTP response as a function gave it. Not validated yet: names and values can be anything.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HttpResponse {
    pub status: i64,
    /// In the order given; `set-cookie` may be repeated.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}
