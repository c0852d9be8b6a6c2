//! Leasing the messages of one event.

use ingle_store::{LeasedMessage, MessageLease, Operation, QueueWatch};
use ingle_tasks::{StopSignal, TaskKind};
use ingle_types::event::Invocation;
use ingle_types::ids::InvocationId;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

use super::batch::{self, Added, Batches, Gathered};
use super::listener::{LEASE, Leave, Listener, attend};
use crate::wait;

/// Messages that are leased at once, so that no more of them than this are given back when an event is full.
const LEASED_MAX: u32 = 32;

impl Listener {
    /// Gathers messages until an event is full, the queue is empty and the window over, or the listener is stopped, and
    /// starts its invocation. Gives how many messages it has seen.
    pub(super) async fn fetch_batch(
        &self,
        batches: &Batches,
        watch: &mut QueueWatch,
        stop: &mut StopSignal,
    ) -> Result<usize, ingle_store::Error> {
        let mut gathered = Gathered::default();
        let mut seen = 0;
        let mut end = None;
        loop {
            let wanted = gathered.room(batches).min(LEASED_MAX);
            let (leased, count) = match self.lease(wanted, LEASE + batches.window()).await {
                Ok(leased) => leased,
                Err(error) if gathered.is_empty() => return Err(error),
                // What is there can be worked on.
                Err(error) => {
                    tracing::error!(queue = %self.options.queue, code = error.code(), "can't fetch more messages: {error}");
                    break;
                }
            };
            let is_empty = count < usize::try_from(wanted).unwrap_or(usize::MAX);
            seen += count;
            self.add(&mut gathered, leased, batches).await;
            if gathered.is_empty() || gathered.room(batches) == 0 {
                break;
            }
            let end = *end.get_or_insert_with(|| Instant::now() + batches.window());
            if is_empty && !self.more(watch, stop, end).await {
                break;
            }
        }
        if stop.is_set() {
            self.end(gathered.leases().into_iter().map(given_back).collect()).await;
        } else if let Some((leases, event)) = batches.event(gathered) {
            self.in_work.count.fetch_add(1, Ordering::AcqRel);
            let leave = Leave(self.in_work.clone());
            let function = self.options.function.clone();
            let invocation =
                Invocation { id: InvocationId::random(), function, event, caller: None, exchange: None };
            let (store, clock) = (self.store.clone(), self.clock.clone());
            let running = self.invoker.invoke(invocation);
            let work = async move {
                let _leave = leave;
                attend(running, &leases, &store, &clock).await;
            };
            drop(self.tasks.spawn(TaskKind::Invocation, "queue messages", work));
        }
        Ok(seen)
    }

    async fn add(&self, gathered: &mut Gathered, leased: Vec<LeasedMessage>, batches: &Batches) {
        let mut ends = Vec::new();
        for message in leased {
            match gathered.add(message, batches, self.clock.now()) {
                Added::Taken => {}
                Added::Full(lease) => ends.push(given_back(lease)),
                // As at AWS, it is gone for everybody.
                Added::Unwanted(lease) => {
                    tracing::debug!(queue = %lease.queue, message = %lease.message_id, "no filter of the function wants this message");
                    ends.push(Operation::DeleteMessage(lease));
                }
                Added::Hopeless(lease, reason) => {
                    tracing::error!(queue = %lease.queue, message = %lease.message_id, %reason, "gave a message up");
                    ends.push(batch::hopeless(lease, reason));
                }
            }
        }
        self.end(ends).await;
    }

    /// Whether there may be more messages before the window ends.
    async fn more(&self, watch: &mut QueueWatch, stop: &mut StopSignal, end: Instant) -> bool {
        let due = self.next_look().await;
        tokio::select! {
            biased;
            () = stop.wait() => false,
            () = tokio::time::sleep_until(end) => false,
            () = watch.changed() => true,
            () = wait::until(&self.clock, due, LEASE) => true,
        }
    }

    async fn end(&self, ends: Vec<Operation>) {
        if let Err(error) = batch::commit(&self.store, ends).await {
            // The leases run out by themselves, or are void after a restart: no message is lost.
            tracing::error!(queue = %self.options.queue, code = error.code(), "can't put messages aside: {error}");
        }
    }
}

/// As if it had not been leased.
fn given_back(lease: MessageLease) -> Operation {
    Operation::ReleaseMessage { lease, visible_after: Duration::ZERO, counts: false }
}
