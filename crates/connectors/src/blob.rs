//! Blobs in the embedded store: trigger, input, output.
//!
//! A put is pushed to the functions that wait for it: the store asks each trigger's hook inside the commit of the put
//! and sends a notification into the function's internal queue, so that from there on a blob is worked on like a
//! message, with leases, attempts and a poison queue ([`listener`]).

pub mod by_hand;
pub mod listener;
pub mod remote;
mod source;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ingle_store::{Object, ObjectContent, ObjectInfo, Operation, PutObject, Store};
use ingle_types::account::{Account, StorageAccount};
use ingle_types::blob::{INTERNAL_QUEUE_PREFIX, check_container, check_name};
use ingle_types::datum::Datum;
use ingle_types::expression::{Scope, Template};
use ingle_types::local_file::LocalFile;
use ingle_types::spec::DataType;
use serde_json::json;

use crate::OutputContext;
use crate::account::Accounts;
use crate::error::Error;
use crate::foreign::{Content, ForeignWrite, What, Writes};

/// Where notifications of all functions go after their last attempt, as in Azure.
pub(crate) const POISON_QUEUE: &str = "webjobs-blobtrigger-poison";
/// Contents that are longer than this are never in the server's memory, in bytes.
const SHORT_BYTES_MAX: u64 = 1024 * 1024;

/// Whether a content of the store goes to functions and comes from them as a file.
pub(crate) fn is_long(size: u64) -> bool {
    size > SHORT_BYTES_MAX
}

/// Whether a queue holds notifications of a blob trigger.
pub(crate) fn is_internal(queue: &str) -> bool {
    queue.starts_with(INTERNAL_QUEUE_PREFIX)
}

/// What an input binding asks for, once its expressions have values.
#[derive(Debug, PartialEq)]
pub struct Request {
    container: String,
    name: String,
    data_type: DataType,
    as_file: bool,
}

/// Fills in the expressions of an input binding.
///
/// # Errors
/// [`Error::Expression`], or [`Error::BlobPath`] for a path that no blob can have.
pub fn request(
    binding: &str,
    path: &Template,
    (data_type, as_file): (DataType, bool),
    scope: &dyn Scope,
) -> Result<Request, Error> {
    let (container, name) = resolve(binding, path, scope)?;
    Ok(Request { container, name, data_type, as_file })
}

fn resolve(binding: &str, path: &Template, scope: &dyn Scope) -> Result<(String, String), Error> {
    let path =
        path.resolve(scope).map_err(|source| Error::Expression { binding: binding.to_owned(), source })?;
    let refused = |problem| Error::BlobPath { binding: binding.to_owned(), path: path.clone(), problem };
    let (container, name) = path.split_once('/').ok_or_else(|| refused("a path is container/name"))?;
    check_container(container).map_err(refused)?;
    check_name(name).map_err(refused)?;
    Ok((container.to_owned(), name.to_owned()))
}

/// Something that is gone when it is dropped, such as a local copy.
pub type Held = Box<dyn Send + Sync>;

/// A value for a function, and the local file behind it, if there is one, which must live as long as the function runs.
pub struct Handed {
    pub value: Datum,
    pub file: Option<Held>,
}

impl From<Datum> for Handed {
    fn from(value: Datum) -> Self {
        Self { value, file: None }
    }
}

/// Reads what an input binding asks for; a blob that is not there is nothing.
///
/// # Errors
/// [`Error::Input`], or [`Error::Account`].
pub async fn read(
    store: &Store,
    (accounts, account): (&Accounts, &Account),
    binding: &str,
    request: Request,
) -> Result<Handed, Error> {
    if let Some(account) = account.remote() {
        return read_remote(accounts, account, binding, request).await;
    }
    let failed = |source| Error::Input { binding: binding.to_owned(), source };
    let found = store.read_object(&request.container, &request.name).await.map_err(failed)?;
    let Some(object) = found else { return Ok(Datum::Nothing.into()) };
    hand_over(store, object, request.data_type, request.as_file).await.map_err(failed)
}

async fn read_remote(
    accounts: &Accounts,
    account: &Arc<StorageAccount>,
    binding: &str,
    request: Request,
) -> Result<Handed, Error> {
    let Request { container, name, data_type, as_file } = request;
    let failed = |fault| {
        let action = format!("blob {container}/{name} in {} can't be read", account.connection);
        Error::Account { binding: binding.to_owned(), action, fault }
    };
    let client = accounts.client(account).map_err(failed)?;
    let opened = client.note(remote::open(&client, &container, &name).await).map_err(failed)?;
    let Some(found) = opened else { return Ok(Datum::Nothing.into()) };
    client.note(found.hand_over(data_type, as_file).await).map_err(failed)
}

/// Bytes, unless the binding asks for text or a path: a function that wants text from bytes gets it from its worker,
/// which knows the annotation. A long content is handed over as a file, which the worker opens for the function.
pub(crate) async fn hand_over(
    store: &Store,
    object: Object,
    data_type: DataType,
    as_file: bool,
) -> Result<Handed, ingle_store::Error> {
    if as_file {
        let file = store.object_file(object).await?;
        let path = file.path().to_string_lossy().into_owned();
        return Ok(Handed { value: Datum::Text(path), file: Some(Box::new(file)) });
    }
    if is_long(object.info.size) {
        let size = object.info.size;
        let file = store.object_file(object).await?;
        let value = LocalFile::new(file.path().to_owned(), size, None).as_text(data_type == DataType::String);
        return Ok(Handed { value: Datum::File(value), file: Some(Box::new(file)) });
    }
    let bytes = object.content.read_all().await?;
    Ok(shaped(bytes, data_type).into())
}

pub(crate) fn shaped(bytes: Bytes, data_type: DataType) -> Datum {
    match data_type {
        DataType::String => Datum::Text(text(&bytes)),
        DataType::Undefined | DataType::Binary => Datum::Bytes(bytes),
    }
}

/// As Azure's host reads text: without byte order mark, and what is no UTF-8 replaced.
fn text(bytes: &Bytes) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The put that writing `value` to an output comes to.
///
/// # Errors
/// [`Error`]: an expression without value, a path that no blob can have, or a list.
pub fn write(
    (binding, account): (&str, &Account),
    path: &Template,
    value: Datum,
    context: &OutputContext<'_>,
) -> Result<Writes, Error> {
    let content = match value {
        Datum::Nothing | Datum::Request(_) => return Ok(Writes::default()),
        Datum::File(file) => return write_file((binding, account), path, file, context),
        Datum::Text(text) | Datum::Json(text) => Bytes::from(text),
        Datum::Bytes(bytes) => bytes,
        Datum::Int(number) => Bytes::from(number.to_string()),
        Datum::Double(number) => Bytes::from(number.to_string()),
        Datum::Response(response) => response.body,
        Datum::Texts(_) | Datum::ManyBytes(_) => {
            let problem = "a blob is one text or one run of bytes, this is a list".to_owned();
            return Err(Error::Value { binding: binding.to_owned(), problem });
        }
    };
    let (container, name) = resolve(binding, path, context.scope)?;
    Ok(written((binding, account), (container, name), Content::Bytes(content), context))
}

fn written(
    (binding, account): (&str, &Account),
    (container, name): (String, String),
    content: Content,
    context: &OutputContext<'_>,
) -> Writes {
    if let Some(account) = account.remote() {
        let what = What::Blob { container, name, content };
        let write = ForeignWrite { binding: binding.to_owned(), account: account.clone(), what };
        return vec![write].into();
    }
    vec![put(&container, &name, content.into(), context)].into()
}

fn put(container: &str, name: &str, content: ObjectContent, context: &OutputContext<'_>) -> Operation {
    Operation::PutObject(PutObject {
        hop_count: context.hop_count + 1,
        trace_parent: context.trace.parent.clone(),
        ..PutObject::new(container, name, content)
    })
}

/// The store takes the file itself; to an account it goes piece by piece.
fn write_file(
    (binding, account): (&str, &Account),
    path: &Template,
    file: LocalFile,
    context: &OutputContext<'_>,
) -> Result<Writes, Error> {
    let (container, name) = resolve(binding, path, context.scope)?;
    Ok(written((binding, account), (container, name), Content::File(file), context))
}

/// What the SDK and binding expressions look up (facts 4.2); the parts of the name come besides.
pub(crate) fn metadata(info: &ObjectInfo, uri: &str) -> Vec<(String, Datum)> {
    let time = |time: SystemTime| {
        chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    };
    let properties = json!({"BlobType": "BlockBlob", "ContentLength": info.size, "Length": info.size,
        "ContentType": info.content_type, "ETag": info.etag, "LastModified": time(info.updated_at)});
    vec![
        ("BlobTrigger".to_owned(), Datum::Text(format!("{}/{}", info.container, info.name))),
        ("Uri".to_owned(), Datum::Json(json!(uri).to_string())),
        ("Properties".to_owned(), Datum::Json(properties.to_string())),
        ("Metadata".to_owned(), Datum::Json(json!(info.metadata).to_string())),
    ]
}

/// There is no HTTP address behind it; it names the blob all the same.
fn uri(container: &str, name: &str) -> String {
    let mut uri = format!("ingle://blob/{container}/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::event::Trace;
    use ingle_types::expression::BindingData;
    use ingle_types::spec::MessageEncoding;
    use std::time::UNIX_EPOCH;

    fn written(path: &str, value: Datum) -> Result<Vec<(String, Bytes)>, Error> {
        let metadata = vec![("name".to_owned(), Datum::Text("../a b".to_owned()))];
        let scope = BindingData::new("f", &metadata, &Datum::Nothing, UNIX_EPOCH);
        let trace = Trace::default();
        let context =
            OutputContext { scope: &scope, trace: &trace, hop_count: 2, encoding: MessageEncoding::Base64 };
        let writes = write(("out", &Account::Embedded), &Template::parse(path).unwrap(), value, &context)?;
        Ok(writes
            .operations
            .into_iter()
            .map(|operation| match operation {
                Operation::PutObject(PutObject {
                    container,
                    name,
                    content: ingle_store::ObjectContent::Bytes(bytes),
                    hop_count: 3,
                    ..
                }) => (format!("{container} {name}"), bytes),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn values_become_contents() {
        let check = |value, expected: &[(&str, &'static [u8])]| {
            let expected: Vec<(String, Bytes)> = expected
                .iter()
                .map(|(name, content)| (name.to_string(), Bytes::from_static(content)))
                .collect();
            assert_eq!(written("thumbs/{name}.png", value).unwrap(), expected);
        };
        let name = "thumbs ../a b.png";
        check(Datum::Text("grüß".to_owned()), &[(name, "grüß".as_bytes())]);
        check(Datum::Bytes(Bytes::from_static(b"\0\xff")), &[(name, b"\0\xff")]);
        check(Datum::Json("{\"a\": [1]}".to_owned()), &[(name, b"{\"a\": [1]}")]);
        check(Datum::Int(5), &[(name, b"5")]);
        check(Datum::Text(String::new()), &[(name, b"")]);
        check(Datum::Nothing, &[]);
    }

    /// T-026: a path is checked again when its expressions have values.
    #[test]
    fn t_026_paths_are_checked_when_they_are_known() {
        let code = |path: &str| written(path, Datum::Int(1)).unwrap_err().code();
        assert_eq!(code("{name}"), "E0420");
        assert_eq!(code("{name}/x"), "E0420");
        assert_eq!(code("thumbs/{nobody}"), "E0307");
        assert_eq!(written("thumbs/x", Datum::Texts(Vec::new())).unwrap_err().code(), "E0305");
    }

    #[test]
    fn text_is_read_as_azure_reads_it() {
        for (bytes, expected) in [(&b"\xef\xbb\xbfa"[..], "a"), (b"a\xffb", "a\u{fffd}b"), (b"", "")] {
            assert_eq!(text(&Bytes::from_static(bytes)), expected);
        }
    }

    #[test]
    fn an_address_is_plain_ascii() {
        assert_eq!(uri("images", "a b/ü.png"), "ingle://blob/images/a%20b/%C3%BC.png");
    }
}
