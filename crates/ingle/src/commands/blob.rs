//! `ingle put|get|ls blob`: contents of any size, through the running server or, without one, directly.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use ingle_gateway::blobs::{self, Target};
use ingle_store::{ObjectReader, Store};
use ingle_types::blob::{check_container, check_name};
use serde_json::Value;

use super::state::{Holder, closing, holder, show};
use crate::cli::{GetCommand, LsCommand, PutCommand};
use crate::client::{broken, json};
use crate::exit::{APP, CommandError, MACHINE, USAGE};
use crate::printer::Style;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that may wait for the server.
const PIECES_MAX: usize = 4;

pub(crate) async fn put(command: PutCommand, style: Style) -> Result<u8, CommandError> {
    let PutCommand::Blob { path, content, content_type, at } = command;
    let (container, name) = parse(&path)?;
    let source = source(&content)?;
    let shown = match holder(&at).await? {
        Holder::Server(client) => {
            let mut query = vec![("path", path.as_str())];
            query.extend(content_type.as_deref().map(|kind| ("type", kind)));
            let (sender, body) = Channel::<Bytes, io::Error>::new(PIECES_MAX);
            let exchange = client.exchange(Method::PUT, "/v1/blobs", &query, body);
            let (answer, ()) = tokio::join!(exchange, feed(source, sender));
            json(answer?).await?
        }
        Holder::Us(store) => {
            let target = Target { container, name, content_type: content_type.as_deref() };
            let done = put_directly(&store, source, target).await;
            store.close().await;
            done?
        }
    };
    show(&shown, style);
    Ok(0)
}

/// Checked here, so that a typing error is told before anything is read.
fn parse(path: &str) -> Result<(&str, &str), CommandError> {
    let refused = |problem: &str| {
        CommandError::new(USAGE, "E0420", format!("'{path}': {problem}")).hint("write container/name")
    };
    let (container, name) = path.split_once('/').ok_or_else(|| refused("a path is container/name"))?;
    check_container(container).map_err(refused)?;
    check_name(name).map_err(refused)?;
    Ok((container, name))
}

/// Sends the content; what can't be read ends the request in the middle, and the server keeps nothing of it.
async fn feed(mut source: Box<dyn Read + Send>, mut sender: Sender<Bytes, io::Error>) {
    loop {
        match piece(&mut *source) {
            Ok(piece) if piece.is_empty() => return,
            Ok(piece) => {
                if sender.send_data(piece).await.is_err() {
                    return;
                }
            }
            Err(error) => return sender.abort(error),
        }
    }
}

async fn put_directly(
    store: &Store,
    mut source: Box<dyn Read + Send>,
    target: Target<'_>,
) -> Result<Value, CommandError> {
    let mut writer = store.stage_object();
    loop {
        let piece = piece(&mut *source).map_err(|error| unreadable("the content", &error))?;
        if piece.is_empty() {
            return Ok(blobs::put(store, writer, target).await?);
        }
        writer.write(&piece).await?;
    }
}

/// `@file`, `-` for standard input, or the text itself.
fn source(argument: &str) -> Result<Box<dyn Read + Send>, CommandError> {
    match (argument, argument.strip_prefix('@')) {
        ("-" | "@-", _) => Ok(Box::new(io::stdin())),
        (_, Some(file)) => {
            let opened = File::open(file).and_then(|opened| {
                // Opening a folder succeeds, reading it does not.
                if opened.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(opened) }
            });
            let opened = opened.map_err(|error| unreadable(&format!("'{file}'"), &error))?;
            Ok(Box::new(opened))
        }
        (text, None) => Ok(Box::new(io::Cursor::new(text.to_owned()))),
    }
}

fn unreadable(what: &str, error: &io::Error) -> CommandError {
    CommandError::new(USAGE, "E0106", format!("can't read {what}: {error}"))
}

fn piece(source: &mut (dyn Read + Send)) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut limited = source.take(PIECE_BYTES as u64);
    limited.read_to_end(&mut piece)?;
    Ok(piece.into())
}

pub(crate) async fn get(command: GetCommand, style: Style) -> Result<u8, CommandError> {
    let GetCommand::Blob { path, output, at } = command;
    let (container, name) = parse(&path)?;
    let mut target = Output::open(output)?;
    let bytes = match holder(&at).await? {
        Holder::Server(client) => {
            let query = [("path", path.as_str())];
            let empty = http_body_util::Empty::<Bytes>::new();
            let response = client.exchange(Method::GET, "/v1/blobs", &query, empty).await?;
            receive(response.into_body(), &mut target).await?
        }
        Holder::Us(store) => {
            let found = store.read_object(container, name).await;
            let copied = match found {
                Ok(Some(object)) => copy(object.content, &mut target).await,
                Ok(None) => Err(CommandError::new(APP, "E0421", format!("there is no blob {path}"))),
                Err(error) => Err(error.into()),
            };
            store.close().await;
            copied?
        }
    };
    if let Some(file) = target.finish()? {
        let file = file.display().to_string();
        show(&serde_json::json!({"file": file, "from": path, "bytes": bytes}), style);
    }
    Ok(0)
}

async fn receive(mut body: Incoming, target: &mut Output) -> Result<u64, CommandError> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            bytes += target.write(&data)?;
        }
    }
    Ok(bytes)
}

async fn copy(mut content: ObjectReader, target: &mut Output) -> Result<u64, CommandError> {
    let mut bytes = 0;
    while let Some(piece) = content.next().await? {
        bytes += target.write(&piece)?;
    }
    Ok(bytes)
}

/// Where a content goes: standard output, or a file that gets its name when it is whole.
enum Output {
    Standard,
    File { file: File, part: PathBuf, path: PathBuf },
}

impl Output {
    fn open(path: Option<PathBuf>) -> Result<Self, CommandError> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|error| unwritable(&path, &error))?;
        Ok(Self::File { file, part, path })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<u64, CommandError> {
        let written = match self {
            Self::Standard => io::stdout().lock().write_all(bytes),
            Self::File { file, .. } => file.write_all(bytes),
        };
        written.map_err(|error| unwritable(self.path(), &error))?;
        Ok(u64::try_from(bytes.len()).unwrap_or(0))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Standard => Path::new("standard output"),
            Self::File { path, .. } => path,
        }
    }

    /// The file, if it is one.
    fn finish(mut self) -> Result<Option<PathBuf>, CommandError> {
        let done = match &mut self {
            Self::Standard => io::stdout().lock().flush(),
            Self::File { part, path, .. } => std::fs::rename(part, path),
        };
        done.map_err(|error| unwritable(self.path(), &error))?;
        Ok(matches!(self, Self::File { .. }).then(|| self.path().to_owned()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { part, .. } = self {
            // Gone already if it got its name.
            std::fs::remove_file(part).ok();
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(MACHINE, "E0106", format!("can't write {}: {error}", path.display()))
}

pub(crate) async fn list(command: LsCommand, style: Style) -> Result<u8, CommandError> {
    let LsCommand::Blob { path, at } = command;
    let path = path.unwrap_or_default();
    let (container, prefix) = path.split_once('/').unwrap_or((&path, ""));
    let container = Some(container).filter(|container| !container.is_empty());
    let mut after = String::new();
    loop {
        let shown = match holder(&at).await? {
            Holder::Server(client) => {
                let mut query = vec![("prefix", prefix), ("after", after.as_str())];
                query.extend(container.map(|container| ("container", container)));
                client.request(Method::GET, "/v1/blobs/list", &query, Bytes::new()).await?
            }
            Holder::Us(store) => closing(&store, blobs::list(&store, container, prefix, &after)).await?,
        };
        show(&shown, style);
        match shown.get("next").and_then(Value::as_str) {
            Some(next) => after = next.to_owned(),
            None => return Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.png");
        std::fs::write(&path, "old").unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut half = Output::open(Some(path.clone())).unwrap();
        half.write(b"ne").unwrap();
        assert_eq!(names(), 2);
        drop(half);
        assert_eq!((names(), std::fs::read_to_string(&path).unwrap()), (1, "old".to_owned()));
        let mut whole = Output::open(Some(path.clone())).unwrap();
        whole.write(b"new").unwrap();
        assert_eq!(whole.finish().unwrap(), Some(path.clone()));
        assert_eq!((names(), std::fs::read_to_string(&path).unwrap()), (1, "new".to_owned()));
    }

    /// T-026: what is no name is refused before anything is sent.
    #[test]
    fn t_026_a_path_is_checked_when_it_is_typed() {
        assert_eq!(parse("images/../x").unwrap(), ("images", "../x"));
        for bad in ["images", "images/", "../x", "Images/x", "/x", "images/a\nb"] {
            let error = parse(bad).unwrap_err();
            assert_eq!((error.exit, error.code), (USAGE, "E0420"), "{bad}");
        }
    }

    #[test]
    fn a_content_is_a_file_or_the_text_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'x'; PIECE_BYTES + 1]).unwrap();
        let mut file = source(&format!("@{}", path.display())).unwrap();
        assert_eq!(
            [piece(&mut *file), piece(&mut *file), piece(&mut *file)].map(|piece| piece.unwrap().len()),
            [PIECE_BYTES, 1, 0]
        );
        assert_eq!(piece(&mut *source("hello").unwrap()).unwrap(), "hello");
        for missing in ["@/nowhere/at/all", "@/"] {
            assert_eq!(source(missing).err().unwrap().code, "E0106");
        }
    }
}
