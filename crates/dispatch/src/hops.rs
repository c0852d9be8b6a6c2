//! The loop breaker: an event that has passed through too many functions is put aside instead of run (T-081).
//!
//! Each output carries one hop more than the event that it was made of. A loop of functions that feed each other would
//! go on for ever and fill the disk, and nobody else would notice.

use ingle_connectors::queue::poison_queue;
use ingle_types::event::{Delivery, Event};
use ingle_types::outcome::{Blame, Failure};
use ingle_types::spec::FunctionSpec;

/// Whether the event may be run.
///
/// # Errors
/// A final [`Failure`]: it has passed through too many functions.
pub(crate) fn check(hops_max: Option<u32>, function: &FunctionSpec, event: &Event) -> Result<(), Failure> {
    let Some(most) = hops_max else { return Ok(()) };
    if event.hop_count < most + extra(event) {
        return Ok(());
    }
    let message = format!(
        "{} has passed through {} functions, each started by the output of the one before; {} was not run",
        event.summary, event.hop_count, function.name
    );
    let hint =
        "break the circle of outputs and triggers, or raise max_hops in [loops] of ingle.toml (0: no limit)";
    let failure = Failure::new(Blame::App, "E0310", "EventLoop", message).not_started().hint(hint);
    Err(Failure { is_final: true, ..failure })
}

/// Whoever listens to a poison queue may see what was put aside there, one time.
fn extra(event: &Event) -> u32 {
    match &event.delivery {
        Delivery::Queue(delivery) | Delivery::Remote(delivery) => {
            u32::from(poison_queue(&delivery.queue).is_none())
        }
        Delivery::Direct | Delivery::Checkpoint(_) => 0,
    }
}
