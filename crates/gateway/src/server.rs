//! Listening, connections, and how they end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ingle_tasks::{StopSignal, TaskKind, Tasks};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::admin::Admin;
use crate::auth::Peer;
use crate::aws::{Aws, keep_swept};
use crate::hosts::{Host, Hosts};
use crate::{apis, caller, service};

/// How long a client may take to send the head of a request (T-033).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last bytes of an answer may take to leave after a stop.
const LAST_BYTES: Duration = Duration::from_millis(200);
/// Connections of clients of AWS that are served at once.
const AWS_CONNECTIONS_MAX: usize = 1024;
/// Pause after `accept` failed, e.g. because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Starts to accept connections for functions.
pub fn serve(hosts: Arc<Hosts>, tasks: &Tasks, listener: TcpListener) {
    let owner = tasks.clone();
    let accept = async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!("a connection ended before it was served: {error}");
                        continue;
                    }
                    let stop = owner.stop_signal(TaskKind::Connection);
                    let connection = connection(stream, Peer(peer), hosts.clone(), stop);
                    drop(owner.spawn(TaskKind::Connection, "http", connection));
                }
                Err(error) => pause(&error).await,
            }
        }
    };
    drop(tasks.spawn(TaskKind::Acceptor, "http", accept));
}

/// Starts to accept connections for administration, on a Unix socket that only the owner can open.
pub fn serve_admin(admin: Arc<Admin>, tasks: &Tasks, listener: UnixListener) {
    let owner = tasks.clone();
    let accept = async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if comes_from_below(&stream) {
                        tracing::warn!("a process of an app knocked at the admin door, and was not let in");
                        continue;
                    }
                    let admin = admin.clone();
                    let in_work = InWork::default();
                    let answers = in_work.clone();
                    let serve = service_fn(move |request| answers.track(admin.clone().answer(request)));
                    let stop = owner.stop_signal(TaskKind::Connection);
                    let http = builder().serve_connection(TokioIo::new(stream), serve);
                    drop(owner.spawn(TaskKind::Connection, "admin", until_stopped(http, in_work, stop)));
                }
                Err(error) => pause(&error).await,
            }
        }
    };
    drop(tasks.spawn(TaskKind::Acceptor, "admin", accept));
}

/// Starts to accept connections of clients of AWS in the functions of a project.
pub fn serve_aws(aws: Arc<Aws>, listener: TcpListener) {
    let tasks = aws.tasks.clone();
    let owner = tasks.clone();
    let sweep = keep_swept(aws.store.clone(), aws.clock.clone());
    drop(tasks.spawn(TaskKind::Supervisor, "uploads", sweep));
    let places = Arc::new(Semaphore::new(AWS_CONNECTIONS_MAX));
    let accept = async move {
        loop {
            // Who comes when all are taken waits in the kernel.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    stream.set_nodelay(true).ok();
                    let aws = aws.clone();
                    let in_work = InWork::default();
                    let answers = in_work.clone();
                    let serve = service_fn(move |request| answers.track(aws.clone().answer(request)));
                    // Functions that finish their work after a stop was asked for still need it.
                    let stop = owner.stop_signal(TaskKind::Supervisor);
                    // A function that was ended while it waited for a message gets none any more.
                    let http = builder().half_close(false).serve_connection(TokioIo::new(stream), serve);
                    let connection = async move {
                        until_stopped(http, in_work, stop).await;
                        drop(place);
                    };
                    drop(owner.spawn(TaskKind::Supervisor, "aws", connection));
                }
                Err(error) => pause(&error).await,
            }
        }
    };
    drop(tasks.spawn(TaskKind::Supervisor, "aws", accept));
}

/// Whether the other side was started by this process. Those run the code of apps, which has no business here: where the
/// machine gives them no view of files of their own, the socket can be seen by them, as they have our user (T-051).
fn comes_from_below(stream: &UnixStream) -> bool {
    let Some(process) = stream.peer_cred().ok().and_then(|peer| peer.pid()) else { return true };
    // A parent that ends meanwhile breaks the chain, so it is walked again; one that may not be seen breaks it each time,
    // which is so for none of ours.
    (0..WALKS).find_map(|_| is_below_us(process)).unwrap_or(false)
}

const WALKS: usize = 5;

/// Whether a process descends from this one; unknown if its line of parents breaks off.
fn is_below_us(mut process: i32) -> Option<bool> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut is_first = true;
    // The first process of all has no parent, and those of other containers have no number here.
    while process > 1 && process != own {
        match parent_of(process) {
            Some(parent) if parent == own => return Some(true),
            Some(parent) => process = parent,
            // Nobody who has ended waits for an answer, but somebody else may have got its connection.
            None if is_first => return Some(true),
            None => return None,
        }
        is_first = false;
    }
    Some(false)
}

fn parent_of(process: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything, a parenthesis as well.
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

async fn pause(error: &io::Error) {
    tracing::warn!("can't accept a connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(80 * 1024)
        .half_close(true);
    builder
}

async fn connection(stream: TcpStream, peer: Peer, hosts: Arc<Hosts>, stop: StopSignal) {
    let (line, client) = caller::split(stream);
    let in_work = InWork::default();
    let answers = in_work.clone();
    let serve = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(client.clone());
        let working = answers.begin();
        let hosts = hosts.clone();
        async move {
            let (mut head, body) = request.into_parts();
            let mut response = match hosts.choose(&head) {
                Ok(Host::Of(service)) => service.answer(head, body).await,
                Ok(Host::Behind(service, matched)) => {
                    head.extensions.insert(matched);
                    service.answer(head, body).await
                }
                Ok(Host::Url(service, cors)) => {
                    let asked = head.headers.clone();
                    let mut response = service.answer(head, body).await;
                    apis::decorate_url(cors, &asked, response.headers_mut());
                    response
                }
                Err(refused) => service::whole(refused),
            };
            if let Either::Right(pieces) = response.body_mut() {
                pieces.hold(working);
            }
            Ok::<_, Infallible>(response)
        }
    });
    until_stopped(builder().serve_connection(TokioIo::new(line), serve), in_work, stop).await;
}

/// Whether a connection has a request in work.
#[derive(Clone, Default)]
struct InWork(Arc<AtomicBool>);

/// Marks a connection's request as in work until it is dropped.
struct Working(Arc<AtomicBool>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl InWork {
    fn begin(&self) -> Working {
        self.0.store(true, Ordering::Release);
        Working(self.0.clone())
    }

    fn track<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
        let flag = self.0.clone();
        flag.store(true, Ordering::Release);
        async move {
            let output = answer.await;
            flag.store(false, Ordering::Release);
            output
        }
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves until the client leaves, or until a stop: then the request in work is answered and no other is read.
async fn until_stopped<I, S, B>(connection: http1::Connection<I, S>, in_work: InWork, mut stop: StopSignal)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.wait() => {
            connection.as_mut().graceful_shutdown();
            if in_work.is_set() {
                connection.await
            } else {
                // A client that has said nothing yet is not waited for; an answer on its way is.
                tokio::time::timeout(LAST_BYTES, connection).await.unwrap_or(Ok(()))
            }
        }
    };
    if let Err(error) = ended {
        // Clients that leave in the middle are everyday life.
        tracing::debug!("a connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-051: children and theirs are below us, and those above and beside are not.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test needs a process below its own")]
    fn t_051_processes_that_we_have_started_are_told_from_others() {
        let number = |id: u32| i32::try_from(id).unwrap();
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(is_below_us(number(child.id())), Some(true));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(is_below_us(number(child.id())), Some(true), "it has ended");
        let own = number(std::process::id());
        assert_eq!(
            (is_below_us(own), is_below_us(1), is_below_us(0)),
            (Some(false), Some(false), Some(false))
        );
        assert_eq!(is_below_us(parent_of(own).unwrap()), Some(false));
    }
}
