//! The steps of one invocation, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ingle_connectors::{
    ForeignWrite, Held, InputRequest, OutputContext, Writes, checkpoint, prepare_input, queue, read_input,
    write_output,
};
use ingle_store::Operation;
use ingle_tasks::TaskKind;
use ingle_types::datum::Datum;
use ingle_types::event::{Completion, Delivery, Event, Invocation, Phases};
use ingle_types::exchange::ExchangeHandle;
use ingle_types::expression::BindingData;
use ingle_types::faults::Fault;
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::{CallLog, InvocationRecord};
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use ingle_types::spec::TriggerSpec;
use ingle_worker::pool::SlotKind;
use ingle_worker::{Call, Retry, Slot, Starting};
use tokio::time::Instant;
use tracing::Instrument;

use crate::caller::Caller;
use crate::hops;
use crate::line::Place;
use crate::retry::Attempts;
use crate::{Function, Inner};

/// Names a step in the invocation's span, as it begins. The names are those of the module's functions.
macro_rules! step {
    ($name:literal) => {
        tracing::debug!(step = $name)
    };
}

/// Longest wait for a worker when functions have no time limit and nobody waits for the answer.
const WAIT_WITHOUT_LIMIT: Duration = Duration::from_secs(3600);

/// Runs an invocation from event to outcome.
pub(crate) async fn live(inner: Arc<Inner>, invocation: Invocation) -> Completion {
    let span = tracing::info_span!("invocation", id = %invocation.id, function = %invocation.function);
    steps(inner, invocation).instrument(span).await
}

async fn steps(inner: Arc<Inner>, invocation: Invocation) -> Completion {
    let Invocation { id, function: name, event, caller, exchange } = invocation;
    let began = Instant::now();
    let mut phases = Phases::default();
    let (mut effects, mut told) = (Vec::new(), None);
    step!("route");
    let outcome = match route(&inner, &name) {
        Ok(function) => {
            let outcome = match hops::check(inner.options.hops_max, &function.spec, &event) {
                Ok(()) => {
                    let exchange = exchange.as_ref();
                    let course = Course { inner: &inner, function: &function, id, event: &event, exchange };
                    let mut caller = Caller::new(caller, function.on_disconnect);
                    let outcome = attempts(course, &mut caller, &mut phases, (&mut effects, &mut told)).await;
                    effects.extend(caller.effect(&outcome));
                    outcome
                }
                Err(failure) => Outcome::Failed(failure),
            };
            conclude(&inner, &event, &outcome, &mut effects).await;
            outcome
        }
        Err(failure) => Outcome::Rejected(failure),
    };
    phases.total = began.elapsed();
    let completion = Completion { id, outcome, phases, effects, log: told };
    step!("log");
    if event.delivery != Delivery::Direct {
        log(&inner, &name, &event, &completion);
    }
    completion
}

/// What all attempts of an invocation share.
#[derive(Clone, Copy)]
struct Course<'a> {
    inner: &'a Inner,
    function: &'a Function,
    id: InvocationId,
    event: &'a Event,
    exchange: Option<&'a ExchangeHandle>,
}

/// Attempts until one succeeds and its outputs are written, the retry policy is used up, or nobody waits any more.
async fn attempts(
    course: Course<'_>,
    caller: &mut Caller,
    phases: &mut Phases,
    (effects, told): (&mut Vec<String>, &mut Option<Box<CallLog>>),
) -> Outcome {
    let Course { inner, function, id, event, .. } = course;
    // A body that was read in pieces can't be read again.
    let policy = function.spec.retry.as_ref().filter(|_| !function.spec.streams);
    let mut attempts = Attempts::new(policy, id);
    // Someone who waits for the answer has nowhere to take the event to.
    let mut stop = match event.delivery {
        Delivery::Direct => inner.rooms.tasks.stop_signal(TaskKind::Listener),
        Delivery::Queue(_) | Delivery::Batch(_) | Delivery::Remote(_) | Delivery::Checkpoint(_) => {
            inner.retiring.clone()
        }
    };
    let outcome = loop {
        let turn = inner.turn(event).await;
        let outcome = run_once(course, attempts.retry(), caller, (phases, told)).await;
        let outcome = commit(inner, function, event, outcome, phases, effects).await;
        drop(turn);
        let next = attempts.delay_after(&outcome).filter(|_| !caller.has_withdrawn());
        let Some(delay) = next else { break outcome };
        let next = format!("{}, the next in {delay:.1?}", attempts.label());
        inner.rooms.records.record(InvocationRecord {
            outcome: "retrying",
            effects: vec![next],
            phases: Phases { total: phases.queue + phases.start() + phases.user + phases.bind, ..*phases },
            ..record(id, &function.spec.name, event, &outcome)
        });
        let stopped = async {
            tokio::select! {
                () = stop.wait() => {}
                () = caller.withdrawn() => {}
            }
        };
        if let Err(given_back) = attempts.wait(delay, event, outcome, stopped, &inner.rooms.clock).await {
            break given_back;
        }
    };
    effects.extend(attempts.effect());
    outcome
}

/// Workers that may end before they have read a call, before the caller is told.
const UNREAD_MAX: u32 = 5;

/// Runs the function; again if its worker ended before it had read the call, and once more if the worker ended because
/// of another invocation, or may have, and running it twice does no harm.
async fn run_once(
    course: Course<'_>,
    retry: Option<Retry>,
    caller: &mut Caller,
    (phases, told): (&mut Phases, &mut Option<Box<CallLog>>),
) -> Outcome {
    let mut unread = 0;
    let mut repeated = false;
    loop {
        let outcome = attempt(course, retry.clone(), caller, (phases, told)).await;
        match outcome.failure() {
            // Run once more it would be for nobody.
            _ if caller.has_withdrawn() => return outcome,
            Some(failure) if was_not_read(failure) && unread < UNREAD_MAX => unread += 1,
            // Only for the end of a worker: whoever stands by for another reason would not fare better now.
            Some(failure)
                if (failure.bystander || failure.suspect)
                    && failure.code == "E0303"
                    && is_safe(course.event)
                    && !repeated =>
            {
                repeated = true
            }
            _ => return outcome,
        }
    }
}

/// The worker that should have run it is gone; another can.
fn was_not_read(failure: &Failure) -> bool {
    failure.code == "E0303" && !failure.started
}

/// Requests that by their method change nothing (RFC 9110, section 9.2.1).
fn is_safe(event: &Event) -> bool {
    match &event.payload {
        // Of a streamed response some may have been sent already.
        Datum::Request(request) if request.exchange.is_some() => false,
        Datum::Request(request) => matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS"),
        _ => false,
    }
}

async fn attempt(
    course: Course<'_>,
    retry: Option<Retry>,
    caller: &mut Caller,
    (phases, told): (&mut Phases, &mut Option<Box<CallLog>>),
) -> Outcome {
    let Course { inner, function, id, event, exchange } = course;
    step!("admit");
    let permit = match function.gate.enter() {
        Ok(permit) => permit,
        Err(failure) => return Outcome::Rejected(failure),
    };
    step!("bind_inputs");
    let binding = Instant::now();
    // Local copies of blobs live until the attempt is over.
    let (call, _files) = match bind_inputs(inner, function, id, event).await {
        Ok((call, files)) => (Call { retry, exchange: exchange.cloned(), ..call }, files),
        // What the app asks for and can't have will not be there the next time either: it counts as an attempt.
        Err(failure) if failure.blame == Blame::App => return Outcome::Failed(failure),
        Err(failure) => return Outcome::Failed(failure.not_started()),
    };
    phases.bind += binding.elapsed();
    step!("acquire");
    let waiting = Instant::now();
    // A place is held until the attempt is over.
    let acquired = caller.unless_withdrawn(acquire(inner, function, event, waiting)).await;
    let (slot, starting, _place) = match acquired {
        Ok(Ok(acquired)) => acquired,
        Ok(Err(failure)) => return Outcome::Rejected(failure),
        Err(withdrawn) => {
            phases.queue += waiting.elapsed();
            return withdrawn;
        }
    };
    drop(permit);
    phases.fork += starting.fork;
    phases.ready += starting.ready;
    phases.queue += waiting.elapsed().saturating_sub(starting.fork + starting.ready);
    if inner.rooms.faults.at("dispatch.run.before") == Fault::Fail {
        return Outcome::Failed(planted("dispatch.run.before").not_started());
    }
    step!("run");
    let running = Instant::now();
    let deadline = inner.options.function_timeout.map(|limit| running + limit);
    let answer = slot.run(call, deadline, caller.departure()).await;
    phases.user += running.elapsed();
    phases.memory_bytes = answer.memory_bytes;
    *told = answer.log;
    answer.outcome
}

/// Disabled functions are found too: nothing listens for them, but whoever administers the app may run them by hand.
fn route(inner: &Inner, name: &FunctionName) -> Result<Arc<Function>, Failure> {
    inner.functions.get(name).cloned().ok_or_else(|| {
        Failure::new(Blame::Caller, "E0231", "NoSuchFunction", format!("there is no function '{name}'"))
            .not_started()
    })
}

pub(crate) async fn bind_inputs(
    inner: &Inner,
    function: &Function,
    id: InvocationId,
    event: &Event,
) -> Result<(Call, Vec<Held>), Failure> {
    let mut files = Vec::new();
    let mut inputs = vec![(function.spec.trigger_parameter.clone(), event.payload.clone())];
    for request in input_requests(inner, function, event)? {
        let name = request.binding.clone();
        let value = read_input(&inner.rooms.store, &inner.rooms.accounts, request)
            .await
            .map_err(|error| error.failure())?;
        inputs.push((name, value.value));
        files.extend(value.file);
    }
    let call = Call {
        id,
        function: function.spec.name.clone(),
        inputs,
        metadata: event.metadata.clone(),
        trace: event.trace.with_hop_count(event.hop_count + 1),
        retry: None,
        exchange: None,
    };
    Ok((call, files))
}

fn input_requests(inner: &Inner, function: &Function, event: &Event) -> Result<Vec<InputRequest>, Failure> {
    if function.spec.bindings.iter().all(|binding| binding.kind.is_output()) {
        return Ok(Vec::new());
    }
    let scope = scope(inner, function, event);
    let mut requests = Vec::new();
    for binding in &function.spec.bindings {
        requests.extend(prepare_input(binding, &scope).map_err(|error| error.failure())?);
    }
    Ok(requests)
}

fn scope<'a>(inner: &Inner, function: &'a Function, event: &'a Event) -> BindingData<'a> {
    let data = BindingData::new(
        function.spec.name.as_str(),
        &event.metadata,
        &event.payload,
        inner.rooms.clock.now(),
    );
    match function.spec.trigger {
        TriggerSpec::Blob(_) => data.metadata_first(),
        _ => data,
    }
}

type Acquired = (Slot, Starting, Option<Place>);

async fn acquire(
    inner: &Inner,
    function: &Function,
    event: &Event,
    since: Instant,
) -> Result<Acquired, Failure> {
    // Bodies in pieces belong to the event loop, whatever the function is.
    let on_loop = function.spec.is_async || function.spec.streams;
    let kind = if on_loop { SlotKind::Loop } else { SlotKind::Lane };
    let wait = match event.delivery {
        Delivery::Direct => inner.options.wait_max,
        Delivery::Queue(_) | Delivery::Batch(_) | Delivery::Remote(_) | Delivery::Checkpoint(_) => {
            inner.options.function_timeout.unwrap_or(WAIT_WITHOUT_LIMIT)
        }
    };
    let deadline = since + wait;
    let place = match &function.places {
        Some(places) => Some(places.take(since, deadline).await?),
        None => None,
    };
    let _at_the_door = function.door.reach(&inner.rooms.pool, since, deadline).await?;
    let (slot, starting) = inner.rooms.pool.acquire(kind, since, deadline).await?;
    Ok((slot, starting, place))
}

/// Writes the outputs and acknowledges the source, in one commit. What can't be written fails the attempt.
pub(crate) async fn commit(
    inner: &Inner,
    function: &Function,
    event: &Event,
    outcome: Outcome,
    phases: &mut Phases,
    effects: &mut Vec<String>,
) -> Outcome {
    step!("bind_outputs");
    let Outcome::Success(outputs) = outcome else { return outcome };
    let began = Instant::now();
    let bound = bind_outputs(inner, function, event, outputs, effects).await;
    phases.bind += began.elapsed();
    match bound {
        Ok(outputs) => Outcome::Success(outputs),
        Err(failure) => {
            effects.clear();
            Outcome::Failed(failure)
        }
    }
}

/// Acknowledges a source whose invocation failed for good.
async fn conclude(inner: &Inner, event: &Event, outcome: &Outcome, effects: &mut Vec<String>) {
    if outcome.is_success() {
        return;
    }
    let operations: Vec<Operation> = match &event.delivery {
        // Whoever holds the message sees what became of the invocation.
        Delivery::Remote(delivery) => {
            effects.extend(queue::poison_effect(delivery, outcome));
            return;
        }
        Delivery::Direct => return,
        Delivery::Queue(delivery) => vec![queue::acknowledge(delivery, outcome)],
        Delivery::Batch(batch) => queue::batch::acknowledge_failed(batch, outcome),
        Delivery::Checkpoint(delivery) => checkpoint::acknowledge(delivery, outcome).into_iter().collect(),
    };
    if operations.is_empty() {
        return;
    }
    effects.extend(queue::poison_effects(&operations));
    if let Err(error) = queue::batch::conclude(&inner.rooms.store, &event.delivery, operations).await {
        // A lease runs out by itself, or is void after a restart; a checkpoint stays where it is. Nothing is lost.
        tracing::error!(source = %event.summary, code = error.code(), "can't acknowledge a failed event: {error}");
    }
}

/// The outputs that are left are those for the caller.
async fn bind_outputs(
    inner: &Inner,
    function: &Function,
    event: &Event,
    outputs: Outputs,
    effects: &mut Vec<String>,
) -> Result<Outputs, Failure> {
    let (Writes { mut operations, foreign }, outputs) = output_operations(inner, function, event, outputs)?;
    effects.extend(summary(&operations, &foreign));
    // Accounts know nothing of our commit, so they come before it: what is acknowledged has been written.
    for write in foreign {
        write.write(&inner.rooms.accounts).await.map_err(|error| error.failure())?;
    }
    let success = Outcome::Success(Outputs::default());
    match &event.delivery {
        Delivery::Direct | Delivery::Remote(_) => {}
        Delivery::Queue(delivery) => operations.push(queue::acknowledge(delivery, &success)),
        Delivery::Batch(batch) => {
            let ends = queue::batch::acknowledge(batch, &outputs).map_err(|error| error.failure())?;
            effects.extend(queue::batch::effect(&ends));
            effects.extend(queue::poison_effects(&ends));
            operations.extend(ends);
        }
        Delivery::Checkpoint(delivery) => operations.extend(checkpoint::acknowledge(delivery, &success)),
    }
    if operations.is_empty() {
        return Ok(outputs);
    }
    if inner.rooms.faults.at("dispatch.commit.before") == Fault::Fail {
        return Err(planted("dispatch.commit.before"));
    }
    let concluded = queue::batch::conclude(&inner.rooms.store, &event.delivery, operations).await;
    concluded.map_err(|error| store_failure(&error))?;
    // A fault here can only end the process: the commit has happened.
    inner.rooms.faults.at("dispatch.commit.after");
    Ok(outputs)
}

fn output_operations(
    inner: &Inner,
    function: &Function,
    event: &Event,
    outputs: Outputs,
) -> Result<(Writes, Outputs), Failure> {
    let scope = scope(inner, function, event);
    let context = OutputContext {
        scope: &scope,
        trace: &event.trace,
        hop_count: event.hop_count,
        encoding: inner.options.message_encoding,
    };
    let mut writes = Writes::default();
    let mut left = Vec::new();
    for (name, value) in outputs.0 {
        match function.spec.bindings.iter().find(|binding| binding.name == name) {
            Some(binding) if !matches!(binding.kind, ingle_types::spec::BindingKind::HttpOutput) => {
                let written = write_output(binding, value, &context).map_err(|error| error.failure())?;
                writes.operations.extend(written.operations);
                writes.foreign.extend(written.foreign);
            }
            _ => left.push((name, value)),
        }
    }
    Ok((writes, Outputs(left)))
}

/// `queue orders ×2`, `documents restaurant/orders`.
fn summary(operations: &[Operation], foreign: &[ForeignWrite]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for write in foreign {
        *counts.entry(write.target()).or_insert(0_u32) += 1;
    }
    for operation in operations {
        let target = match operation {
            Operation::Enqueue(message) => format!("queue {}", message.queue),
            Operation::UpsertDocument { container, .. } => format!("documents {container}"),
            Operation::PutObject(object) => format!("blob {}/{}", object.container, object.name),
            Operation::InsertEntity(entity) => format!("table {}", entity.table),
            _ => continue,
        };
        *counts.entry(target).or_insert(0_u32) += 1;
    }
    let text = |(target, count)| if count == 1 { target } else { format!("{target} ×{count}") };
    counts.into_iter().map(text).collect()
}

fn store_failure(error: &ingle_store::Error) -> Failure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    let mut failure = Failure::new(error.blame(), error.code(), "StoreError", message);
    failure.hint = error.hint();
    failure
}

fn planted(point: &str) -> Failure {
    Failure::new(Blame::Platform, "E0403", "PlantedFault", format!("a fault was planted at {point}"))
}

pub(crate) fn log(inner: &Inner, name: &FunctionName, event: &Event, completion: &Completion) {
    inner.rooms.records.record(InvocationRecord {
        phases: completion.phases,
        effects: completion.effects.clone(),
        ..record(completion.id, name, event, &completion.outcome)
    });
}

fn record(id: InvocationId, function: &FunctionName, event: &Event, outcome: &Outcome) -> InvocationRecord {
    InvocationRecord {
        id,
        function: function.clone(),
        received_at: event.received_at,
        summary: event.summary.clone(),
        outcome: outcome.label(),
        status: None,
        phases: Phases::default(),
        effects: Vec::new(),
        failure: outcome.failure().cloned(),
    }
}
