//! One task for all timers of an app: a heap of the times at which to look at a timer again.
//!
//! It sleeps on monotonic time but decides by the wall clock, and looks at that at least every [`LOOK_AGAIN`]: a clock
//! that is set and a machine that was suspended are noticed however far the next occurrence is (T-069).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, SystemTime};

use ingle_store::{NamedCheckpoint, Operation};
use ingle_tasks::{StopSignal, Stopper, TaskKind};
use ingle_types::spec::TimerTrigger;
use tokio::sync::mpsc;

use super::board::{Board, Seat};
use super::fire::{Fired, Firing, Report};
use super::plan::{CLOCK_SET_BACK, Occurrence, Plan, Step};
use super::stored::{self, Stored};
use super::{PREFIX, Source};
use crate::{ListenerRooms, wait};

/// Longest time without a look at the wall clock.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Occurrences in work at once; more wait, and are then late at worst.
const IN_WORK_MAX: usize = 2_000;
/// Pause before an occurrence that found no room is tried again; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// States saved in one commit when the listener starts.
const SAVED_AT_ONCE: usize = 1_000;

pub(super) struct Listener {
    timers: Vec<Timer>,
    /// When to look at which timer again, the earliest first. One entry for each that is not in work.
    agenda: BinaryHeap<Reverse<(SystemTime, usize)>>,
    rooms: ListenerRooms,
    board: Board,
    in_work: usize,
    /// The latest time that the wall clock has shown.
    latest: SystemTime,
    sender: mpsc::Sender<(usize, Occurrence, Fired)>,
    receiver: mpsc::Receiver<(usize, Occurrence, Fired)>,
}

struct Timer {
    source: Source,
    plan: Plan,
    is_in_work: bool,
    /// How often the current occurrence was given back.
    given_back: u32,
}

impl Listener {
    pub(super) fn new(timers: Vec<(Source, TimerTrigger)>, rooms: ListenerRooms, board: Board) -> Self {
        let now = rooms.clock.now();
        let timer = |(source, trigger)| {
            let plan = Plan::open(trigger, None, now, rooms.host.catch_up);
            Timer { source, plan, is_in_work: false, given_back: 0 }
        };
        let timers = timers.into_iter().map(timer).collect();
        let (sender, receiver) = mpsc::channel(IN_WORK_MAX);
        Self { timers, agenda: BinaryHeap::new(), rooms, board, in_work: 0, latest: now, sender, receiver }
    }

    pub(super) fn start(self) -> Stopper {
        let (stopper, stop) = self.rooms.tasks.stoppable(TaskKind::Listener);
        let tasks = self.rooms.tasks.clone();
        let seat = self.board.seat();
        drop(tasks.spawn(TaskKind::Listener, "timers", self.run(stop, seat)));
        stopper
    }

    async fn run(mut self, mut stop: StopSignal, seat: Seat) {
        loop {
            match self.open().await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(code = error.code(), "can't read the states of the timers: {error}");
                }
            }
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(PAUSE_MIN) => {}
            }
        }
        let mut pauses = self.board.pauses();
        while !stop.is_set() {
            let is_paused = *pauses.borrow_and_update();
            let next = if is_paused { None } else { self.work_off() };
            seat.tell(next, self.in_work);
            tokio::select! {
                () = stop.wait() => return,
                // The sender lives in the board.
                _ = pauses.changed() => {}
                () = wait::until(&self.rooms.clock, next, LOOK_AGAIN) => {}
                Some((index, occurrence, fired)) = self.receiver.recv() => self.finished(index, occurrence, fired),
            }
            while let Ok((index, occurrence, fired)) = self.receiver.try_recv() {
                self.finished(index, occurrence, fired);
            }
        }
    }

    /// Reads the stored states, and stores those of timers that are new: the first occurrence of a timer counts
    /// although the server may not run then.
    async fn open(&mut self) -> Result<(), ingle_store::Error> {
        let found = self.rooms.store.checkpoints(PREFIX).await?;
        let found: HashMap<String, NamedCheckpoint> =
            found.into_iter().map(|named| (named.consumer.clone(), named)).collect();
        let now = self.rooms.clock.now();
        let mut new = Vec::new();
        for (index, timer) in self.timers.iter_mut().enumerate() {
            let consumer = timer.source.consumer();
            let named = found.get(&consumer);
            let stored = named.and_then(|named| Stored::read(&named.checkpoint.value));
            let trigger = timer.plan.trigger.clone();
            timer.plan = Plan::open(trigger, stored.as_ref(), now, self.rooms.host.catch_up);
            if stored
                .is_none_or(|stored| !stored.is_for(&timer.plan.trigger) || stored.state != timer.plan.state)
            {
                new.push(Operation::SaveCheckpoint {
                    consumer,
                    follows: named.map_or(0, |named| named.checkpoint.version),
                    value: stored::text(&timer.plan.trigger, timer.plan.state, now),
                });
            }
            self.agenda.push(Reverse((now, index)));
        }
        for chunk in new.chunks(SAVED_AT_ONCE) {
            if let Err(error) = self.rooms.store.commit(chunk.to_vec()).await {
                tracing::warn!(code = error.code(), "can't store the states of new timers: {error}");
            }
        }
        Ok(())
    }

    /// Starts all that is due and there is room for; tells when something more is.
    fn work_off(&mut self) -> Option<SystemTime> {
        let now = self.rooms.clock.now();
        if now + CLOCK_SET_BACK < self.latest {
            self.start_anew(now);
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        while let Some(Reverse((time, index))) = self.agenda.peek().copied() {
            if time > now {
                return Some(time);
            }
            if self.in_work >= IN_WORK_MAX {
                break;
            }
            self.agenda.pop();
            match self.timers[index].plan.step(now) {
                Step::Run(occurrence) => self.fire(index, occurrence, now),
                Step::WaitUntil(time) => self.agenda.push(Reverse((time, index))),
                Step::Never => {}
            }
        }
        // Either nothing is planned, or an occurrence that ends makes room.
        None
    }

    fn fire(&mut self, index: usize, occurrence: Occurrence, now: SystemTime) {
        let timer = &mut self.timers[index];
        timer.is_in_work = true;
        self.in_work += 1;
        let firing = Firing {
            source: timer.source.clone(),
            trigger: timer.plan.trigger.clone(),
            occurrence,
            after: timer.plan.after(occurrence),
            status: timer.plan.status(occurrence, now),
            rooms: self.rooms.clone(),
            board: self.board.clone(),
        };
        let report = Report { index, occurrence, fired: Fired::GivenBack, sender: self.sender.clone() };
        drop(self.rooms.tasks.spawn(TaskKind::Invocation, "timer", firing.run(report)));
    }

    fn finished(&mut self, index: usize, occurrence: Occurrence, fired: Fired) {
        let now = self.rooms.clock.now();
        let timer = &mut self.timers[index];
        timer.is_in_work = false;
        self.in_work -= 1;
        let again = match fired {
            Fired::Done => {
                timer.given_back = 0;
                timer.plan.done(occurrence, now);
                timer.plan.state.next
            }
            Fired::GivenBack => {
                let pause = PAUSE_MIN.saturating_mul(1 << timer.given_back.min(6)).min(PAUSE_MAX);
                timer.given_back += 1;
                Some(now + pause)
            }
        };
        self.agenda.extend(again.map(|time| Reverse((time, index))));
    }

    /// The clock was set back far: what is planned lies in a future that is none.
    fn start_anew(&mut self, now: SystemTime) {
        tracing::warn!("the clock was set back by more than a day: timers start anew from now");
        self.agenda.clear();
        for (index, timer) in self.timers.iter_mut().enumerate().filter(|(_, timer)| !timer.is_in_work) {
            timer.plan.start_anew(now);
            self.agenda.push(Reverse((now, index)));
        }
    }
}
