//! Data in frames: `[kind, value, size]` in the header, bytes in the body.

use std::path::Path;

use bytes::Bytes;
use ingle_types::datum::{Datum, HttpRequest, HttpResponse};
use ingle_types::local_file::LocalFile;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// `[kind, value, size]`.
pub(super) struct DatumHeader<'a>(pub(super) &'a Datum);

impl Serialize for DatumHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(3))?;
        list.serialize_element(self.0.kind())?;
        match self.0 {
            Datum::Nothing | Datum::Text(_) | Datum::Bytes(_) | Datum::Json(_) => {
                list.serialize_element(&())?
            }
            Datum::Int(number) => list.serialize_element(number)?,
            Datum::Double(number) => list.serialize_element(number)?,
            Datum::Texts(texts) => {
                list.serialize_element(&texts.iter().map(String::len).collect::<Vec<_>>())?
            }
            Datum::ManyBytes(pieces) => {
                list.serialize_element(&pieces.iter().map(Bytes::len).collect::<Vec<_>>())?
            }
            Datum::Request(request) => list.serialize_element(&RequestHeader::from(&**request))?,
            Datum::File(file) => {
                list.serialize_element(&FileHeader { path: file.path(), text: file.is_text })?
            }
            Datum::Response(response) => list.serialize_element(&ResponseHeader::from(&**response))?,
        }
        list.serialize_element(&body_bytes(self.0))?;
        list.end()
    }
}

fn body_bytes(datum: &Datum) -> usize {
    match datum {
        Datum::Nothing | Datum::Int(_) | Datum::Double(_) | Datum::File(_) => 0,
        Datum::Text(text) | Datum::Json(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Texts(texts) => texts.iter().map(String::len).sum(),
        Datum::ManyBytes(pieces) => pieces.iter().map(Bytes::len).sum(),
        Datum::Request(request) => request.body.len(),
        Datum::Response(response) => response.body.len(),
    }
}

pub(super) fn push_body(datum: &Datum, body: &mut Vec<Bytes>) {
    match datum {
        Datum::Nothing | Datum::Int(_) | Datum::Double(_) | Datum::File(_) => {}
        Datum::Text(text) | Datum::Json(text) => body.push(Bytes::copy_from_slice(text.as_bytes())),
        Datum::Bytes(bytes) => body.push(bytes.clone()),
        Datum::Texts(texts) => body.push(Bytes::from(texts.concat())),
        Datum::ManyBytes(pieces) => body.extend(pieces.iter().cloned()),
        Datum::Request(request) => body.extend(request.body.pieces().iter().cloned()),
        Datum::Response(response) => body.push(response.body.clone()),
    }
}

#[derive(Serialize)]
struct FileHeader<'a> {
    path: &'a Path,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    text: bool,
}

#[derive(Serialize)]
struct RequestHeader<'a> {
    method: &'a str,
    url: &'a str,
    headers: Pairs<'a>,
    query: Pairs<'a>,
    params: Pairs<'a>,
    /// Bodies go in pieces, in frames of their own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

impl<'a> From<&'a HttpRequest> for RequestHeader<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        Self {
            method: &request.method,
            url: &request.url,
            headers: Pairs(&request.headers),
            query: Pairs(&request.query),
            params: Pairs(&request.route_parameters),
            stream: request.exchange.is_some(),
        }
    }
}

struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
struct ResponseHeader<'a> {
    status: i64,
    headers: &'a [(String, String)],
}

impl<'a> From<&'a HttpResponse> for ResponseHeader<'a> {
    fn from(response: &'a HttpResponse) -> Self {
        Self { status: response.status, headers: &response.headers }
    }
}

/// Reads one datum of a header and takes its bytes from `rest`.
pub(super) fn read_datum(value: Value, rest: &mut Bytes) -> Result<Datum, String> {
    let (kind, value, size): (String, Value, usize) =
        serde_json::from_value(value).map_err(|error| format!("not [kind, value, size]: {error}"))?;
    if size > rest.len() {
        return Err(format!("{size} bytes announced, {} there", rest.len()));
    }
    let bytes = rest.split_to(size);
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
    Ok(match kind.as_str() {
        "none" => Datum::Nothing,
        "string" => Datum::Text(text(&bytes)?),
        "json" => Datum::Json(text(&bytes)?),
        "bytes" => Datum::Bytes(bytes),
        "int" => Datum::Int(value.as_i64().ok_or("not a 64-bit whole number")?),
        "double" => Datum::Double(value.as_f64().ok_or("not a number")?),
        "collection_string" => {
            Datum::Texts(read_pieces(value, bytes)?.iter().map(text).collect::<Result<_, _>>()?)
        }
        "collection_bytes" => Datum::ManyBytes(read_pieces(value, bytes)?),
        "file" => {
            let named: NamedFile = serde_json::from_value(value).map_err(|error| error.to_string())?;
            Datum::File(LocalFile::new(named.name.into(), 0, None))
        }
        "http" => {
            let head: ResponseHead = serde_json::from_value(value).map_err(|error| error.to_string())?;
            Datum::Response(Box::new(HttpResponse {
                status: head.status,
                headers: head.headers,
                body: bytes,
            }))
        }
        other => return Err(format!("unknown kind '{other}'")),
    })
}

/// A file in the folder for large outputs.
#[derive(Deserialize)]
struct NamedFile {
    name: String,
}

#[derive(Deserialize)]
struct ResponseHead {
    status: i64,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

fn read_pieces(sizes: Value, mut bytes: Bytes) -> Result<Vec<Bytes>, String> {
    let sizes: Vec<usize> = serde_json::from_value(sizes).map_err(|error| error.to_string())?;
    let mut pieces = Vec::with_capacity(sizes.len());
    for size in sizes {
        if size > bytes.len() {
            return Err("the sizes of the elements do not add up".to_owned());
        }
        pieces.push(bytes.split_to(size));
    }
    Ok(pieces)
}
