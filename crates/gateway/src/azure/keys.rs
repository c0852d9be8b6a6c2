//! Keys over HTTP, in Azure's shapes. One thing differs: a value is told once, when it is made, as only its hash is
//! kept; lists say `null`.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use ingle_store::keys::{KeyError, KeyFile, KeyRing, KeyScope, KeyText, MASTER};
use ingle_types::outcome::Blame;
use serde_json::{Value, json};

use super::{Request, base, empty, find, not_found, refusal};

/// The keys that a path is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shelf {
    Host,
    System,
    Function(String),
}

impl Shelf {
    fn scope(&self, key: Option<&str>) -> KeyScope {
        match self {
            Self::Host => KeyScope::Host,
            Self::System if key == Some(MASTER) => KeyScope::Master,
            Self::System => KeyScope::System,
            Self::Function(name) => KeyScope::function(name),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Host => "/admin/host/keys".to_owned(),
            Self::System => "/admin/host/systemkeys".to_owned(),
            Self::Function(name) => format!("/admin/functions/{name}/keys"),
        }
    }
}

pub(super) async fn answer(request: &Request<'_>, shelf: Shelf, key: Option<String>) -> Response<Bytes> {
    if let Shelf::Function(name) = &shelf
        && find(request, name).is_none()
    {
        return not_found("there is no function of this name");
    }
    let scope = shelf.scope(key.as_deref());
    let link = format!("{}{}", base(request.head), shelf.path());
    let file = request.guard.file().clone();
    let now = request.guard.clock().now();
    match (&request.head.method, key) {
        (&Method::GET, key) => listed(&file, &scope, key.as_deref(), &link),
        (&Method::POST, Some(name)) => match KeyText::random() {
            Ok(text) => {
                changed(file, name, link, text, move |ring, name, text| ring.set(&scope, name, text, now))
                    .await
            }
            Err(error) => failed(&error),
        },
        (&Method::PUT, Some(name)) => match chosen(&request.body) {
            Ok(text) => {
                changed(file, name, link, text, move |ring, name, text| ring.set(&scope, name, text, now))
                    .await
            }
            Err(error) => failed(&error),
        },
        (&Method::DELETE, Some(_)) if scope == KeyScope::Master => {
            refusal(StatusCode::BAD_REQUEST, "E0509", "the master key can be renewed, but not deleted")
        }
        (&Method::DELETE, Some(name)) => deleted(file, scope, name).await,
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "E0502", "this path does not know this method"),
    }
}

fn listed(file: &KeyFile, scope: &KeyScope, key: Option<&str>, link: &str) -> Response<Bytes> {
    let ring = match file.read() {
        Ok(ring) => ring,
        Err(error) => return failed(&error),
    };
    let keys = ring.iter().flat_map(KeyRing::list).filter(|known| known.scope == *scope);
    let mut names: Vec<String> = keys.map(|known| known.name).collect();
    if let Some(key) = key {
        names.retain(|name| name.eq_ignore_ascii_case(key));
        let Some(name) = names.pop() else { return not_found("there is no key of this name") };
        return super::json(StatusCode::OK, &one(&name, Value::Null, link));
    }
    let shown: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": null})).collect();
    super::json(StatusCode::OK, &json!({"keys": shown, "links": [{"rel": "self", "href": link}]}))
}

fn one(name: &str, value: Value, link: &str) -> Value {
    json!({"name": name, "value": value, "links": [{"rel": "self", "href": format!("{link}/{name}")}]})
}

/// The value of `{"name": …, "value": …}`.
fn chosen(body: &[u8]) -> Result<KeyText, KeyError> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    KeyText::chosen(value["value"].as_str().unwrap_or_default())
}

/// 201 for a new name, 200 for one that was there.
async fn changed(
    file: KeyFile,
    name: String,
    link: String,
    text: KeyText,
    change: impl FnOnce(&mut KeyRing, &str, &KeyText) -> Result<bool, KeyError> + Send + 'static,
) -> Response<Bytes> {
    let edit = move || {
        let is_new = file.edit(|ring| change(ring, &name, &text))?;
        Ok((is_new, one(&name, Value::from(text.reveal()), &link)))
    };
    match blocking(edit).await {
        Ok((true, shown)) => super::json(StatusCode::CREATED, &shown),
        Ok((false, shown)) => super::json(StatusCode::OK, &shown),
        Err(answer) => answer,
    }
}

async fn deleted(file: KeyFile, scope: KeyScope, name: String) -> Response<Bytes> {
    match blocking(move || file.edit(|ring| ring.delete(&scope, &name))).await {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(answer) => answer,
    }
}

/// The disk may take its time; other requests do not wait for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Response<Bytes>> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(_stopping) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "E0309", "the server is stopping")),
    }
}

fn failed(error: &KeyError) -> Response<Bytes> {
    let status = match error {
        KeyError::NoSuchKey { .. } => StatusCode::NOT_FOUND,
        error if error.blame() == Blame::Caller => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    crate::failure::refusal(status, error.code(), &error.to_string(), error.hint().as_deref())
}
