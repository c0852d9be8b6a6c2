//! The listeners of a handler: its events that nobody waits for, and its queues.

use std::sync::Arc;

use ingle_tasks::Stopper;
use ingle_types::ids::FunctionName;
use ingle_types::spec::{HandlerQueue, HandlerTrigger, QueueOptions};

use crate::queue::batch::Batches;
use crate::queue::{Form, Listener, ListenerOptions};
use crate::{ListenerRooms, later};

/// Starts them, until their stoppers are used or dropped.
pub(crate) fn start(
    function: &FunctionName,
    handler: &HandlerTrigger,
    rooms: &ListenerRooms,
) -> Vec<Stopper> {
    let later = later::start(function, handler, rooms.clone());
    let queues = handler.queues.iter().map(|queue| start_queue(function, queue, handler, rooms));
    std::iter::once(later).chain(queues).collect()
}

fn start_queue(
    function: &FunctionName,
    source: &HandlerQueue,
    handler: &HandlerTrigger,
    rooms: &ListenerRooms,
) -> Stopper {
    // More deliveries than the queue allows are none of its redrive's.
    let of_host = &rooms.host.queues;
    let receives = source.redrive.as_ref().map(|redrive| redrive.receives_max);
    let queues =
        &QueueOptions { max_dequeue_count: receives.unwrap_or(of_host.max_dequeue_count), ..of_host.clone() };
    let batches = Batches {
        source: source.clone(),
        region: handler.region.clone(),
        max_dequeue_count: queues.max_dequeue_count,
        // AWS wants the first to be no shorter than the second.
        retry_delay: source.visibility.unwrap_or(queues.visibility_timeout).max(handler.timeout),
        hops_max: rooms.hops_max,
        clock: rooms.clock.clone(),
    };
    // One event for each worker that there may be: more would only wait at its door.
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processors = u32::try_from(processors).unwrap_or(1);
    let parallel = source.parallel_max.map_or(processors, |most| most.min(processors));
    let options = ListenerOptions {
        function: function.clone(),
        queue: source.queue.clone(),
        queues: QueueOptions { new_batch_threshold: parallel.saturating_sub(1), ..queues.clone() },
        dead_letters: source.redrive.as_ref().map(|redrive| redrive.queue.clone()),
        form: Form::Batch(Arc::new(batches)),
    };
    let ListenerRooms { store, invoker, tasks, clock, .. } = rooms.clone();
    Listener::new(options, store, invoker, tasks, clock).start()
}
