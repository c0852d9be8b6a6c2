//! What is known of a running process, and its lanes.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::Bytes;
use ingle_sandbox::cgroup::OutOfMemory;
use ingle_types::ids::InvocationId;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::FIRST_LANE;
use crate::bounds::Running;
use crate::stream::Streams;
use crate::wire::frame::FrameReader;
use crate::wire::message::Done;

/// A socket and a thread of the worker: room for one invocation of a `def` function.
pub(crate) struct Lane {
    pub(crate) stream: UnixStream,
    pub(crate) reader: FrameReader,
    /// Identity of its thread, as Python's fault handler prints it; known after the first frame.
    pub(crate) thread: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Loading,
    /// Makes other processes and runs nothing itself: a template or a zygote.
    Parent,
    /// Runs what the app wants to run before it takes work.
    Warming,
    Ready,
    /// Takes no new work.
    Draining,
    Gone,
}

impl Phase {
    /// Whether lanes that were used are kept for other calls.
    pub(crate) fn keeps_lanes(self) -> bool {
        matches!(self, Self::Warming | Self::Ready)
    }
}

pub(crate) struct State {
    /// The thread of the event loop.
    pub(crate) main_thread: Option<u64>,
    /// Who waits for the numbers of forked processes, in the order in which they were asked for.
    pub(crate) births: VecDeque<oneshot::Sender<io::Result<i32>>>,
    /// Who waits for the exit status of a process that this one forked.
    pub(crate) reaping: HashMap<i32, oneshot::Sender<Option<i32>>>,
    pub(crate) phase: Phase,
    /// Idle lanes; the one used last is taken first, its thread and memory are warm.
    pub(crate) idle: Vec<Lane>,
    pub(crate) lanes: usize,
    pub(crate) next_lane: u64,
    /// Invocations in work, on lanes and on the event loop.
    pub(crate) in_work: usize,
    /// The functions of the invocations in work, for their log lines.
    pub(crate) functions: HashMap<InvocationId, Running>,
    pub(crate) waiting: HashMap<InvocationId, oneshot::Sender<(Done, Bytes)>>,
    /// Invocations whose HTTP bodies go in pieces.
    pub(crate) streams: Streams,
    pub(crate) stacks: Vec<oneshot::Sender<HashMap<String, String>>>,
    pub(crate) exiting: Option<(Option<InvocationId>, i64)>,
    pub(crate) timed_out: Option<InvocationId>,
    /// The server ended it because it used up what is the server's: how that is said.
    pub(crate) killed_because: Option<String>,
    /// Processes of its box that the system had ended for want of memory when it came.
    pub(crate) kills_before: u64,
    /// The server ended it for want of memory.
    pub(crate) shortage: Option<OutOfMemory>,
    /// The server ended it because it stops itself.
    pub(crate) stopped: bool,
    pub(crate) completed: u64,
    /// Invocations after which the pool wants to look at it.
    pub(crate) worn_at: Option<u64>,
    /// Since when nothing is in work; means nothing while something is.
    pub(crate) idle_since: Instant,
    /// When the pool wanted it.
    pub(crate) asked_at: Instant,
    /// When work was let in; means nothing before.
    pub(crate) offered_at: Instant,
}

impl Lane {
    /// Our end, and the socket for the worker's.
    pub(crate) fn pair(frame_bytes: u32) -> std::io::Result<(Self, std::os::fd::OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        Ok((Self { stream: ours, reader: FrameReader::new(frame_bytes), thread: None }, theirs.into()))
    }
}

impl State {
    /// Takes a lane back that can serve the next one.
    pub(crate) fn keep(&mut self, lane: Lane) {
        if self.phase.keeps_lanes() {
            self.idle.push(lane);
        }
    }

    /// The lane that a forked process opened as its first.
    pub(crate) fn add_first_lane(&mut self, lane: Lane) {
        self.next_lane = FIRST_LANE;
        self.lanes = 1;
        self.idle.push(lane);
    }

    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            main_thread: None,
            births: VecDeque::new(),
            reaping: HashMap::new(),
            phase: Phase::Loading,
            idle: Vec::new(),
            lanes: 0,
            next_lane: 0,
            in_work: 0,
            functions: HashMap::new(),
            waiting: HashMap::new(),
            streams: Streams::default(),
            stacks: Vec::new(),
            exiting: None,
            timed_out: None,
            killed_because: None,
            kills_before: 0,
            shortage: None,
            stopped: false,
            completed: 0,
            worn_at: None,
            idle_since: now,
            asked_at: now,
            offered_at: now,
        }
    }
}
