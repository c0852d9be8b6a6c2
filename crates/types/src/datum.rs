//! One value on its way between a binding and a function, in the shapes that the SDK's converters know
//! (`azure.functions.meta.Datum`; the names of the shapes are those of FunctionRpc's `TypedData`).

use bytes::Bytes;

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
    pub body: Bytes,
}

/// An HTTP response as a function gave it. Not validated yet: names and values can be anything.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HttpResponse {
    pub status: i64,
    /// In the order given; `set-cookie` may be repeated.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}
