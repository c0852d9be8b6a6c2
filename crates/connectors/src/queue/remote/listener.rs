//! The running side of a queue trigger whose queue is in an account.
//!
//! A message is held by making it invisible for ten minutes, which is renewed at half time for as long as the function
//! runs. It is deleted after the function's success and never before: outputs first, then the acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ingle_store::{LeasedMessage, MessageLease};
use ingle_tasks::{StopSignal, Stopper, TaskKind, Tasks};
use ingle_types::account::StorageAccount;
use ingle_types::event::{Delivery, Event, Invocation, InvokerHandle, QueueDelivery};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::Outcome;
use ingle_types::spec::QueueOptions;
use tokio::sync::Notify;

use super::{Held, RemoteQueue, decode};
use crate::account::fault::Fault;
use crate::account::trouble::Recovery;
use crate::account::{Accounts, hinted};
use crate::queue::listener::Messages;
use crate::queue::{Verdict, poison_queue, verdict};

/// How long a message is held; renewed at half time (facts 7.1).
pub const HELD_FOR: Duration = Duration::from_secs(600);
/// Pauses between looks into an empty queue: they grow from the first to the last, which host.json can set.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// As Azure's host does on a developer's machine; in the cloud it would be a minute (facts 7.1).
const POLL_LAST: Duration = Duration::from_secs(2);
/// How long a stop waits for a fetch that is on its way.
const FETCH_GRACE: Duration = Duration::from_secs(3);
/// Tries to tell the account what became of a message. After that it comes again.
const SETTLE_TRIES: u32 = 6;

pub struct RemoteListenerOptions {
    pub function: FunctionName,
    pub queue: String,
    pub account: Arc<StorageAccount>,
    pub queues: QueueOptions,
    pub reader: Arc<Messages>,
    /// How long a message is held; renewed at half time.
    pub held_for: Duration,
}

/// Turns the messages of one queue of an account into invocations of one function.
pub struct RemoteListener {
    options: RemoteListenerOptions,
    accounts: Accounts,
    invoker: InvokerHandle,
    tasks: Tasks,
    in_work: Arc<InWork>,
}

#[derive(Default)]
struct InWork {
    count: AtomicU32,
    finished: Notify,
}

enum Look {
    /// Something was there: look again at once.
    Again,
    /// Too much is in work.
    ForRoom,
    /// Nothing was there, or it went wrong.
    After(Duration),
}

impl RemoteListener {
    pub fn new(
        options: RemoteListenerOptions,
        accounts: Accounts,
        invoker: InvokerHandle,
        tasks: Tasks,
    ) -> Self {
        Self { options, accounts, invoker, tasks, in_work: Arc::default() }
    }

    /// Starts listening; ends when its stopper or all listeners are stopped.
    pub fn start(self) -> Stopper {
        let (stopper, stop) = self.tasks.stoppable(TaskKind::Listener);
        let name = format!("queue {} in {}", self.options.queue, self.options.account.connection);
        let tasks = self.tasks.clone();
        drop(tasks.spawn(TaskKind::Listener, name, self.run(stop)));
        stopper
    }

    async fn run(self, mut stop: StopSignal) {
        let RemoteListenerOptions { function, queue, account, .. } = &self.options;
        let what = format!("queue {queue} in {}, for function {function}", account.connection);
        let mut recovery = self.accounts.recovery(what);
        let client = match self.accounts.client(account) {
            Ok(client) => client,
            Err(fault) => {
                recovery.failed(&fault.to_string());
                return stop.wait().await;
            }
        };
        let wake = client.wake(queue);
        let queue = RemoteQueue::new(client, queue);
        let mut empty_looks = 0;
        while !stop.is_set() {
            // A fetch that is cut off may have made messages invisible for as long as they would be held.
            let look = {
                let look = self.look(&queue, &mut recovery, &mut empty_looks, &stop);
                tokio::pin!(look);
                tokio::select! {
                    biased;
                    look = &mut look => look,
                    () = async { stop.clone().wait().await; tokio::time::sleep(FETCH_GRACE).await } => return,
                }
            };
            let pause = async {
                match look {
                    Look::Again => {}
                    Look::ForRoom => self.in_work.finished.notified().await,
                    Look::After(pause) => {
                        tokio::select! {
                            () = wake.notified() => {}
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                }
            };
            tokio::select! {
                () = stop.wait() => {}
                () = pause => {}
            }
        }
    }

    /// Fetches a batch, if there is room for it, and starts an invocation for each message; after a stop they are given
    /// back instead.
    async fn look(
        &self,
        queue: &RemoteQueue,
        recovery: &mut Recovery,
        empty_looks: &mut u32,
        stop: &StopSignal,
    ) -> Look {
        let queues = &self.options.queues;
        if self.in_work.count.load(Ordering::Acquire) > queues.new_batch_threshold {
            return Look::ForRoom;
        }
        match queue.fetch(queues.batch_size, self.options.held_for).await {
            Ok(messages) => {
                recovery.well();
                queue.client.seen();
                if messages.is_empty() {
                    *empty_looks = empty_looks.saturating_add(1);
                    return Look::After(poll_pause(*empty_looks, queues.max_polling_interval));
                }
                *empty_looks = 0;
                for message in messages {
                    if stop.is_set() {
                        give_back(queue, &message).await;
                        continue;
                    }
                    self.in_work.count.fetch_add(1, Ordering::AcqRel);
                    let work = self.handle(queue.clone(), message);
                    drop(self.tasks.spawn(TaskKind::Invocation, "message of an account", work));
                }
                Look::Again
            }
            Err(fault) => Look::After(recovery.failed(&hinted(&fault, &self.options.account))),
        }
    }

    fn handle(&self, queue: RemoteQueue, message: Held) -> impl Future<Output = ()> + Send + 'static {
        let leave = Leave(self.in_work.clone());
        let (invoker, function) = (self.invoker.clone(), self.options.function.clone());
        let (reader, queues) = (self.options.reader.clone(), self.options.queues.clone());
        let (delivery, held_for) = (self.delivery(&message), self.options.held_for);
        async move {
            // Also counted down when the task is aborted or panics.
            let _leave = leave;
            let mut holder = Holder { queue, id: message.id.clone(), receipt: message.receipt.clone() };
            let body = decode(&message.text, queues.message_encoding);
            let event = match body {
                Some(body) if delivery.dequeue_count <= queues.max_dequeue_count => {
                    event(&reader, &message, body, delivery.clone())
                }
                Some(_) => {
                    let reason = format!("delivered {} times", message.dequeue_count);
                    return holder.give_up(&message.text, &delivery, &reason).await;
                }
                None => {
                    let reason = "its text is no Base64; send it in Base64, or set \"messageEncoding\": \"none\" in host.json";
                    return holder.give_up(&message.text, &delivery, reason).await;
                }
            };
            let mut running = invoker.invoke(Invocation {
                id: InvocationId::random(),
                function,
                event,
                caller: None,
                exchange: None,
            });
            let outcome = loop {
                tokio::select! {
                    completion = &mut running => break completion.outcome,
                    () = tokio::time::sleep(held_for / 2) => holder.renew(held_for).await,
                }
            };
            holder.settle(&message.text, &delivery, &outcome).await;
        }
    }

    fn delivery(&self, message: &Held) -> QueueDelivery {
        QueueDelivery {
            queue: self.options.queue.clone(),
            message_id: message.id.clone(),
            pop_receipt: message.receipt.clone(),
            dequeue_count: message.dequeue_count,
            max_dequeue_count: self.options.queues.max_dequeue_count,
            retry_delay: self.options.queues.visibility_timeout,
            dead_letters: None,
            group: None,
        }
    }
}

/// A message that was fetched after the stop: whoever comes next shall not wait for it.
async fn give_back(queue: &RemoteQueue, message: &Held) {
    if let Err(fault) = queue.release(&message.id, &message.receipt, Duration::ZERO).await {
        tracing::warn!(queue = %queue.name, message = %message.id, "can't give a message back: {fault}");
    }
}

fn event(reader: &Messages, message: &Held, body: Bytes, delivery: QueueDelivery) -> Event {
    let lease = MessageLease {
        queue: delivery.queue.clone(),
        message_id: message.id.clone(),
        pop_receipt: message.receipt.clone(),
    };
    let event = reader.event(LeasedMessage {
        lease,
        body,
        dequeue_count: message.dequeue_count,
        inserted_at: message.inserted_at,
        expires_at: message.expires_at,
        next_visible_at: message.visible_at,
        // The service keeps nothing beside the text.
        hop_count: 0,
        trace_parent: String::new(),
        attributes: None,
        group: None,
        sequence: 0,
    });
    Event { delivery: Delivery::Remote(delivery), ..event }
}

/// A held message, with the receipt that is good now.
struct Holder {
    queue: RemoteQueue,
    id: String,
    receipt: String,
}

impl Holder {
    async fn renew(&mut self, held_for: Duration) {
        match self.queue.release(&self.id, &self.receipt, held_for).await {
            Ok(receipt) => self.receipt = receipt,
            Err(fault) => {
                tracing::warn!(queue = %self.queue.name, message = %self.id, "can't hold a message any longer: {fault}");
            }
        }
    }

    /// Does what an outcome means for the message.
    async fn settle(&mut self, text: &str, delivery: &QueueDelivery, outcome: &Outcome) {
        let mut pauses = Pauses::default();
        loop {
            let result = match verdict(delivery, outcome) {
                Verdict::Done => self.queue.delete(&self.id, &self.receipt).await,
                Verdict::Again { visible_after, .. } => {
                    self.queue.release(&self.id, &self.receipt, visible_after).await.map(drop)
                }
                Verdict::Poison { poison_queue, .. } => self.poison(text, &poison_queue).await,
            };
            match result {
                Ok(()) => {
                    // One that is visible at once is fetched at once.
                    self.queue.client.wake(&self.queue.name).notify_one();
                    return;
                }
                Err(fault) if fault.is_unreachable() && pauses.left() => pauses.wait().await,
                Err(fault) => {
                    tracing::warn!(queue = %self.queue.name, message = %self.id,
                        "can't settle a message, so it comes again: {fault}");
                    return;
                }
            }
        }
    }

    /// A message that no function shall see goes to the poison queue, or stays invisible if there is none.
    async fn give_up(&mut self, text: &str, delivery: &QueueDelivery, reason: &str) {
        let queue = &self.queue.name;
        tracing::warn!(%queue, message = %self.id, "gave a message up: {reason}");
        let Some(poison_queue) = poison_queue(&delivery.queue) else { return };
        if let Err(fault) = self.poison(text, &poison_queue).await {
            tracing::warn!(%poison_queue, message = %self.id, "can't put a message aside, so it comes again: {fault}");
        }
    }

    /// Copied first and deleted then: it may be there twice, but not nowhere.
    async fn poison(&self, text: &str, poison_queue: &str) -> Result<(), Fault> {
        RemoteQueue::new(self.queue.client.clone(), poison_queue).put(text, true).await?;
        self.queue.delete(&self.id, &self.receipt).await
    }
}

/// The pauses between tries to settle a message.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    fn left(&self) -> bool {
        self.0 < SETTLE_TRIES
    }

    async fn wait(&mut self) {
        tokio::time::sleep(crate::account::trouble::pause_after(self.0 + 1)).await;
        self.0 += 1;
    }
}

struct Leave(Arc<InWork>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.finished.notify_one();
    }
}

/// The pause after so many looks into an empty queue: it doubles, spread by a fifth.
fn poll_pause(empty_looks: u32, last: Option<Duration>) -> Duration {
    let last = last.unwrap_or(POLL_LAST);
    let doubled = POLL_FIRST.saturating_mul(2_u32.saturating_pow(empty_looks.saturating_sub(1)));
    doubled.mul_f64(0.8 + 0.4 * crate::account::trouble::fraction()).min(last)
}

#[cfg(test)]
mod tests;
