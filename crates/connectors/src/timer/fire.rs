//! One occurrence, from the checkpoint it follows to its end.

use std::time::SystemTime;

use ingle_store::Operation;
use ingle_types::event::{CheckpointDelivery, Invocation};
use ingle_types::ids::InvocationId;
use ingle_types::schedule::ScheduleStatus;
use ingle_types::spec::TimerTrigger;
use tokio::sync::mpsc;

use super::board::Board;
use super::plan::{CLOCK_SET_BACK, Kind, Occurrence, State};
use super::stored::{self, Stored};
use super::{Scheduled, Source, event};
use crate::{ListenerRooms, checkpoint, later};

/// What is needed to run one occurrence.
pub(super) struct Firing {
    pub(super) source: Source,
    pub(super) trigger: TimerTrigger,
    pub(super) occurrence: Occurrence,
    /// The state when it is done.
    pub(super) after: State,
    pub(super) status: Option<ScheduleStatus>,
    pub(super) rooms: ListenerRooms,
    pub(super) board: Board,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fired {
    /// It ran, or somebody else had run it.
    Done,
    /// It never reached the function.
    GivenBack,
}

/// Tells the listener, also when the task is aborted or panics.
pub(super) struct Report {
    pub(super) index: usize,
    pub(super) occurrence: Occurrence,
    pub(super) fired: Fired,
    pub(super) sender: mpsc::Sender<(usize, Occurrence, Fired)>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // There is room for every firing; without a receiver the listener has stopped.
        self.sender.try_send((self.index, self.occurrence, self.fired)).ok();
    }
}

impl Firing {
    /// Runs the occurrence, unless it is done already.
    pub(super) async fn run(self, mut report: Report) {
        let consumer = self.source.consumer();
        let _turn = self.board.turn(&consumer).await;
        let found = match self.rooms.store.read_checkpoint(&consumer).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%consumer, code = error.code(), "can't read the state of a timer: {error}");
                return;
            }
        };
        let now = self.rooms.clock.now();
        let stored = found.as_ref().and_then(|checkpoint| Stored::read(&checkpoint.value));
        if self.is_done(stored.as_ref(), now) {
            report.fired = Fired::Done;
            return;
        }
        let delivery = CheckpointDelivery {
            consumer,
            follows: found.map_or(0, |checkpoint| checkpoint.version),
            value: stored::text(&self.trigger, self.after, now),
        };
        let id = InvocationId::random();
        if let Some(scheduled) = &self.source.scheduled {
            if self.take(scheduled, delivery, id).await {
                report.fired = Fired::Done;
            }
            return;
        }
        let event = event(&self.trigger, self.occurrence, self.status, now, id, delivery);
        let invocation =
            Invocation { id, function: self.source.function, event, caller: None, exchange: None };
        let completion = self.rooms.invoker.invoke(invocation).await;
        if checkpoint::is_passed(&completion.outcome) {
            report.fired = Fired::Done;
        }
    }

    /// Takes the event of a handler, in the commit that remembers the occurrence. Whether it was taken.
    async fn take(&self, scheduled: &Scheduled, delivery: CheckpointDelivery, id: InvocationId) -> bool {
        let event = scheduled.event(self.occurrence.time, id);
        let CheckpointDelivery { consumer, follows, value } = delivery;
        let remember = Operation::SaveCheckpoint { consumer, follows, value };
        let taken = later::message(&self.source.function, id, event);
        match self.rooms.store.commit(vec![remember, Operation::Enqueue(taken)]).await {
            Ok(()) => true,
            Err(error) => {
                let (function, schedule) = (&self.source.function, &scheduled.name);
                tracing::error!(%function, schedule, code = error.code(), "an event can't be taken: {error}");
                false
            }
        }
    }

    /// Whether the generation before has done it in the meantime.
    fn is_done(&self, stored: Option<&Stored>, now: SystemTime) -> bool {
        let last = stored.filter(|stored| stored.is_for(&self.trigger)).and_then(|stored| stored.state.last);
        self.occurrence.kind != Kind::Startup
            && last.is_some_and(|last| last >= self.occurrence.time && last <= now + CLOCK_SET_BACK)
    }
}
