//! Warming: a function of the app runs in a new worker for which nobody waits, before that one takes work.
//!
//! It is an invocation like others, with inputs, time limit and record, except that its worker is given. The function is
//! the one that `warm_up` of ingle.toml names, or the one with a `warmupTrigger`. Only the latter writes its outputs: the
//! other one was made for callers, is called with a GET without a body here, and what it returns is thrown away. When it
//! fails the worker takes work all the same: a cold worker is better than none.

use std::sync::Arc;

use ingle_types::datum::{Datum, HttpRequest};
use ingle_types::event::{Completion, Delivery, Event, Phases, Trace};
use ingle_types::ids::InvocationId;
use ingle_types::outcome::Outcome;
use ingle_types::spec::{FunctionSpec, TriggerSpec};
use ingle_worker::Departure;
use ingle_worker::Slot;
use ingle_worker::pool::SlotKind;
use tokio::time::Instant;

use crate::life::{bind_inputs, commit, log};
use crate::{Dispatcher, Function, Inner};

impl Dispatcher {
    /// Warms the workers that run and each that will, if the app has a function for it. Returns when those that run
    /// are warm, so it is called before any work is let in.
    pub async fn warm_up(&self) {
        let Some(function) = self.warmup_function() else { return };
        let kind = if function.spec.is_async { SlotKind::Loop } else { SlotKind::Lane };
        // The pool keeps what it is given, and it is part of `Inner`: a strong reference would keep both for ever.
        let inner = Arc::downgrade(&self.0);
        let run = move |slot| -> ingle_types::event::futures::BoxFuture<()> {
            let (inner, function) = (inner.upgrade(), function.clone());
            Box::pin(async move {
                if let Some(inner) = inner {
                    warm(&inner, &function, slot).await;
                }
            })
        };
        self.0.rooms.pool.warm_with(kind, Arc::new(run)).await;
    }

    fn warmup_function(&self) -> Option<Arc<Function>> {
        let find = |is_it: &dyn Fn(&FunctionSpec) -> bool| {
            let mut active = self.0.functions.values().filter(|function| !function.spec.disabled);
            active.find(|function| is_it(&function.spec)).cloned()
        };
        let named = self.0.options.warm_up.as_ref().and_then(|name| {
            // What needs an input is a problem of the app, which says so.
            find(&|spec| spec.name.as_str().eq_ignore_ascii_case(name) && spec.needs_input().is_none())
        });
        named.or_else(|| find(&|spec| spec.trigger == TriggerSpec::Warmup))
    }
}

fn payload(trigger: &TriggerSpec) -> Datum {
    let TriggerSpec::Http(http) = trigger else { return Datum::Json("{}".to_owned()) };
    Datum::Request(Box::new(HttpRequest {
        method: "GET".to_owned(),
        url: format!("http://localhost/{}", without_parameters(&http.route)),
        ..HttpRequest::default()
    }))
}

/// Of a route whose parameters may all be left out.
fn without_parameters(route: &str) -> &str {
    route.split('{').next().unwrap_or_default().trim_end_matches('/')
}

async fn warm(inner: &Inner, function: &Function, slot: Slot) {
    let event = Event {
        payload: payload(&function.spec.trigger),
        metadata: Vec::new(),
        delivery: Delivery::Direct,
        received_at: inner.rooms.clock.now(),
        trace: Trace::default(),
        hop_count: 0,
        summary: format!("warmup of {}", slot.worker()),
    };
    let (id, began) = (InvocationId::random(), Instant::now());
    let (mut phases, mut effects) = (Phases::default(), Vec::new());
    let outcome = match bind_inputs(inner, function, id, &event).await {
        // Local copies of blobs live until the call is over.
        Ok((call, _files)) => {
            let running = Instant::now();
            let deadline = inner.options.function_timeout.map(|limit| running + limit);
            let answer = slot.run(call, deadline, Departure::never()).await;
            phases.user = running.elapsed();
            phases.memory_bytes = answer.memory_bytes;
            answer.outcome
        }
        Err(failure) => Outcome::Failed(failure.not_started()),
    };
    let outcome = match function.spec.trigger {
        TriggerSpec::Warmup => commit(inner, function, &event, outcome, &mut phases, &mut effects).await,
        _ => outcome,
    };
    phases.total = began.elapsed();
    log(inner, &function.spec.name, &event, &Completion { id, outcome, phases, effects, log: None });
}
