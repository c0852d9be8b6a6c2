//! The task between the editor and the debugger of whichever process is debugged now.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ingle_worker::hold::Hold;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::frame::{Decoder, encode};
use super::session::Session;

/// How long a debugger may take to listen, and to answer what is repeated to it.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pause between two tries to reach a debugger that is about to listen.
const LISTEN_STEP: Duration = Duration::from_millis(10);
/// How long a debugger may take to let its process go.
const LET_GO_MAX: Duration = Duration::from_secs(2);
/// How long either side may take to read what it is told.
const WRITE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) enum Command {
    LeadTo { port: u16, done: oneshot::Sender<()> },
    LetGo { done: oneshot::Sender<()> },
}

/// One end of a debug adapter connection.
struct Peer {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    decoder: Decoder,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        // Messages are short and each is waited for.
        stream.set_nodelay(true).ok();
        let (read, write) = stream.into_split();
        Self { read, write, decoder: Decoder::default() }
    }

    /// The next message. What was read so far is kept when this is dropped.
    async fn next(&mut self) -> io::Result<Value> {
        loop {
            if let Some(message) = self.decoder.take()? {
                return Ok(message);
            }
            if self.read.read_buf(&mut self.decoder.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send(&mut self, message: &Value) -> io::Result<()> {
        let bytes = encode(message);
        tokio::time::timeout(WRITE_MAX, self.write.write_all(&bytes)).await?
    }

    /// Asks and waits for the answer; what comes meanwhile is put aside.
    async fn ask(&mut self, request: &Value, aside: &mut Vec<Value>) -> io::Result<()> {
        self.send(request).await?;
        loop {
            let message = self.next().await?;
            if message["type"] == "response" && message["request_seq"] == request["seq"] {
                return Ok(());
            }
            aside.push(message);
        }
    }
}

/// What happened next.
enum Happening {
    Command(Option<Command>),
    Arrived(io::Result<(TcpStream, SocketAddr)>),
    Editor(io::Result<Value>),
    Debugger(io::Result<Value>),
}

pub(super) struct Proxy {
    listener: TcpListener,
    editor: Option<Peer>,
    debugger: Option<Peer>,
    session: Session,
    hold: Hold,
    /// Nothing of the app runs before an editor is there.
    waits: bool,
}

impl Proxy {
    pub(super) fn new(listener: TcpListener, hold: Hold, waits: bool) -> Self {
        Self { listener, editor: None, debugger: None, session: Session::default(), hold, waits }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let is_free = self.editor.is_none();
            // An editor that is early waits for the first process.
            let has_debugger = self.debugger.is_some();
            let happening = tokio::select! {
                command = commands.recv() => Happening::Command(command),
                arrived = self.listener.accept(), if is_free => Happening::Arrived(arrived),
                said = next(&mut self.editor), if has_debugger => Happening::Editor(said),
                said = next(&mut self.debugger) => Happening::Debugger(said),
            };
            match happening {
                Happening::Command(None) => return,
                Happening::Command(Some(Command::LeadTo { port, done })) => {
                    self.lead_to(port).await;
                    done.send(()).ok();
                }
                Happening::Command(Some(Command::LetGo { done })) => {
                    self.let_go().await;
                    done.send(()).ok();
                }
                Happening::Arrived(Ok((stream, _))) => self.editor = Some(Peer::new(stream)),
                Happening::Arrived(Err(error)) => tracing::warn!("an editor can't connect: {error}"),
                Happening::Editor(Ok(message)) => self.editor_said(message).await,
                Happening::Editor(Err(_left)) => self.editor_left().await,
                Happening::Debugger(Ok(message)) => self.debugger_said(message).await,
                // The process has ended; the pool starts another one.
                Happening::Debugger(Err(_ended)) => self.debugger_ended().await,
            }
            self.hold.set(self.waits || self.session.is_stopped());
        }
    }

    async fn editor_said(&mut self, message: Value) {
        if message["type"] == "request" && message["command"] == "disconnect" {
            // The process belongs to the server: an editor that leaves does not end it.
            let answer = json!({"type": "response", "request_seq": message["seq"], "success": true,
                "command": "disconnect"});
            let answer = self.session.farewell(answer);
            self.tell_editor(answer).await;
            self.editor_left().await;
            return;
        }
        self.session.editor_says(&message);
        if self.session.is_configured() {
            self.waits = false;
        }
        if let Some(debugger) = &mut self.debugger
            && debugger.send(&message).await.is_err()
        {
            self.debugger_ended().await;
        }
    }

    async fn debugger_said(&mut self, message: Value) {
        if let Some(message) = self.session.debugger_says(message) {
            self.tell_editor(message).await;
        }
    }

    async fn tell_editor(&mut self, message: Value) {
        if let Some(editor) = &mut self.editor
            && editor.send(&message).await.is_err()
        {
            // Its next read ends as well; then it is seen off.
            tracing::debug!("the editor does not listen any more");
        }
    }

    async fn editor_left(&mut self) {
        self.editor = None;
        let asked = self.session.release();
        self.session = self.session.next();
        for message in asked {
            let Some(debugger) = &mut self.debugger else { return };
            if debugger.send(&message).await.is_err() {
                self.debugger_ended().await;
            }
        }
    }

    async fn debugger_ended(&mut self) {
        self.debugger = None;
        for message in self.session.moved() {
            self.tell_editor(message).await;
        }
    }

    /// Moves the editor to another process: first everything is repeated there, then the old one is let go.
    async fn lead_to(&mut self, port: u16) {
        let mut aside = Vec::new();
        let next = match tokio::time::timeout(ANSWER_MAX, self.prepare(port, &mut aside)).await {
            Ok(Ok(next)) => Some(next),
            Ok(Err(error)) => {
                tracing::warn!("the debugger of a worker can't be reached: {error}");
                None
            }
            Err(_elapsed) => {
                tracing::warn!("the debugger of a worker does not answer");
                None
            }
        };
        self.release_process().await;
        if self.session.is_begun() && (next.is_none() || !self.session.is_configured()) {
            // What was said so far is worth nothing to the new process: the editor has to attach again.
            self.editor = None;
            self.session = self.session.next();
        }
        for message in self.session.moved() {
            self.tell_editor(message).await;
        }
        self.debugger = next;
        for message in aside {
            self.debugger_said(message).await;
        }
    }

    /// Connects to a debugger and repeats to it what the editor has asked for.
    async fn prepare(&mut self, port: u16, aside: &mut Vec<Value>) -> io::Result<Peer> {
        let mut peer = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => break Peer::new(stream),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tokio::time::sleep(LISTEN_STEP).await;
                }
                Err(error) => return Err(error),
            }
        };
        if self.session.is_configured() {
            for wish in self.session.wishes() {
                let request = self.session.request(&wish.command, wish.arguments);
                peer.ask(&request, aside).await?;
            }
        }
        // The editor knows its process already.
        aside.retain(|message| {
            let event = message["event"].as_str().unwrap_or_default();
            !matches!(event, "initialized" | "process")
        });
        Ok(peer)
    }

    /// Takes breakpoints and debugger from a process that goes on.
    async fn release_process(&mut self) {
        let Some(mut old) = self.debugger.take() else { return };
        let request = self.session.request("disconnect", json!({"terminateDebuggee": false}));
        let mut aside = Vec::new();
        let asked = old.ask(&request, &mut aside);
        if tokio::time::timeout(LET_GO_MAX, asked).await.is_err() {
            tracing::warn!("the debugger of an old worker does not let go");
        }
    }

    async fn let_go(&mut self) {
        self.release_process().await;
        for message in self.session.moved() {
            self.tell_editor(message).await;
        }
        let end = self.session.farewell(json!({"type": "event", "event": "terminated"}));
        self.tell_editor(end).await;
        self.editor = None;
        self.session = self.session.next();
        self.waits = false;
    }
}

/// The next message of a peer; never, without one.
async fn next(peer: &mut Option<Peer>) -> io::Result<Value> {
    match peer {
        Some(peer) => peer.next().await,
        None => std::future::pending().await,
    }
}
