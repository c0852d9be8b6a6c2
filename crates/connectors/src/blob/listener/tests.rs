//! The trigger against a real store and a scripted function that settles as `dispatch` does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use ingle_store::{DeleteObject, ObjectContent, Operation, PutObject};
use ingle_tasks::Tasks;
use ingle_types::account::Account;
use ingle_types::clock::SystemClock;
use ingle_types::event::{Completion, Invocation, Invoker, Phases};
use ingle_types::faults::Faults;
use ingle_types::health::Health;
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use ingle_types::spec::{DataType, HostConfig};
use tokio::sync::mpsc;

use super::*;
use crate::Accounts;
use crate::queue::acknowledge;

/// Tells each event, and fails those whose summary holds a word that it was told to fail.
struct Function {
    store: Store,
    events: mpsc::Sender<Seen>,
    fails: &'static str,
    in_work: Arc<AtomicU32>,
    in_work_max: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Seen {
    summary: String,
    payload: Datum,
    metadata: BTreeMap<String, Datum>,
    hop_count: u32,
    /// Of the local file, while the function runs.
    file: Option<String>,
}

impl Invoker for Function {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let event = invocation.event;
        let in_work = self.in_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_work_max.fetch_max(in_work, Ordering::SeqCst);
        let failed = !self.fails.is_empty() && event.summary.contains(self.fails);
        let failure = Failure::new(Blame::App, "E0301", "ValueError", "kaput");
        let outcome = if failed { Outcome::Failed(failure) } else { Outcome::Success(Outputs::default()) };
        let Delivery::Queue(delivery) = event.delivery else { panic!("not from a queue") };
        let file = match &event.payload {
            Datum::Text(path) if path.starts_with('/') => Some(std::fs::read_to_string(path).unwrap()),
            _ => None,
        };
        let metadata = event.metadata.into_iter().collect();
        let seen = Seen {
            summary: event.summary,
            payload: event.payload,
            metadata,
            hop_count: event.hop_count,
            file,
        };
        let (store, events, in_work) = (self.store.clone(), self.events.clone(), self.in_work.clone());
        Box::pin(async move {
            store.commit(vec![acknowledge(&delivery, &outcome)]).await.unwrap();
            events.send(seen).await.ok();
            in_work.fetch_sub(1, Ordering::SeqCst);
            Completion {
                id: invocation.id,
                outcome,
                phases: Phases::default(),
                effects: Vec::new(),
                log: None,
            }
        })
    }
}

struct Fixture {
    store: Store,
    tasks: Tasks,
    in_work_max: Arc<AtomicU32>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = ingle_store::Options::new(directory.path());
        let store = Store::open(options, Arc::new(SystemClock), Faults::none()).unwrap();
        Self { store, tasks: Tasks::new(), in_work_max: Arc::default(), _directory: directory }
    }

    async fn put(&self, name: &str, content: &str) {
        let object = PutObject {
            hop_count: 3,
            ..PutObject::new("images", name, ObjectContent::Bytes(content.to_owned().into()))
        };
        self.store.commit(vec![Operation::PutObject(object)]).await.unwrap();
    }

    /// Listens to `images/<pattern>`; the events come out of the receiver.
    fn listen(
        &self,
        pattern: &str,
        set: impl FnOnce(&mut BlobTrigger, &mut Function),
    ) -> (Stopper, mpsc::Receiver<Seen>) {
        let (events, receiver) = mpsc::channel(20_000);
        let mut trigger = BlobTrigger {
            container: "images".to_owned(),
            account: Account::Embedded,
            pattern: BlobPattern::parse(pattern).unwrap(),
            data_type: DataType::Undefined,
            as_file: false,
        };
        let mut function = Function {
            store: self.store.clone(),
            events,
            fails: "",
            in_work: Arc::default(),
            in_work_max: self.in_work_max.clone(),
        };
        set(&mut trigger, &mut function);
        let rooms = ListenerRooms {
            store: self.store.clone(),
            invoker: Arc::new(function),
            tasks: self.tasks.clone(),
            clock: Arc::new(SystemClock),
            host: HostConfig::default(),
            accounts: Accounts::new(Arc::new(SystemClock), Health::default()),
            hops_max: None,
        };
        (start(&FunctionName::new("Thumb"), &trigger, rooms), receiver)
    }

    /// Stops everything, and says what is left in the function's queue.
    async fn left(self) -> u64 {
        self.tasks.stop(TaskKind::Listener, Duration::from_secs(10)).await;
        self.tasks.stop(TaskKind::Invocation, Duration::from_secs(10)).await;
        let queue = queue_name(&FunctionName::new("Thumb"));
        let queues = self.store.queues().await.unwrap();
        queues
            .iter()
            .filter(|summary| summary.name == queue)
            .map(|summary| summary.ready + summary.leased)
            .sum()
    }
}

fn text(datum: &Datum) -> &str {
    match datum {
        Datum::Text(text) | Datum::Json(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_put_runs_the_function_with_all_that_azure_tells() {
    let fixture = Fixture::new();
    let (_stopper, mut events) = fixture.listen("in/{name}.{extension}", |_, _| {});
    fixture.put("in/a.b.txt", "hello").await;
    fixture.put("out/a.txt", "not for it").await;
    let seen = events.recv().await.unwrap();
    assert_eq!((seen.summary.as_str(), seen.hop_count), ("blob images/in/a.b.txt", 3));
    assert_eq!(seen.payload, Datum::Bytes("hello".into()));
    assert_eq!(text(&seen.metadata["BlobTrigger"]), "images/in/a.b.txt");
    assert_eq!((text(&seen.metadata["name"]), text(&seen.metadata["extension"])), ("a.b", "txt"));
    assert_eq!(text(&seen.metadata["Uri"]), "\"ingle://blob/images/in/a.b.txt\"");
    let properties: Value = serde_json::from_str(text(&seen.metadata["Properties"])).unwrap();
    assert_eq!((&properties["ContentLength"], &properties["BlobType"]), (&json!(5), &json!("BlockBlob")));
    assert_eq!(text(&seen.metadata["Metadata"]), "{}");
    assert_eq!(fixture.left().await, 0);
    assert!(events.try_recv().is_err(), "the other blob does not fit the pattern");
}

/// By hand a blob runs once more, as often as it is asked for.
#[tokio::test]
async fn a_prompt_runs_a_blob_that_has_run_before() {
    let fixture = Fixture::new();
    let (_stopper, mut events) = fixture.listen("{name}", |_, _| {});
    fixture.put("a", "1").await;
    assert_eq!(events.recv().await.unwrap().summary, "blob images/a");
    let thumb = FunctionName::new("thumb");
    assert!(prompt(&fixture.store, &thumb, "images", "a").await.unwrap());
    assert_eq!(events.recv().await.unwrap().payload, Datum::Bytes("1".into()));
    assert!(!prompt(&fixture.store, &thumb, "images", "b").await.unwrap());
    assert_eq!(fixture.left().await, 0);
}

/// Receipts: what was there before runs once, and not again at the next start.
#[tokio::test]
async fn what_was_there_before_runs_once() {
    let fixture = Fixture::new();
    fixture.put("a", "1").await;
    let (stopper, mut events) = fixture.listen("{name}", |_, _| {});
    assert_eq!(events.recv().await.unwrap().summary, "blob images/a");
    drop(stopper);
    fixture.tasks.stop(TaskKind::Listener, Duration::from_secs(10)).await;
    fixture.put("b", "1").await;
    let again = Fixture { tasks: Tasks::new(), ..fixture };
    let (_stopper, mut events) = again.listen("{name}", |_, _| {});
    assert_eq!(events.recv().await.unwrap().summary, "blob images/b");
    assert_eq!(again.left().await, 0);
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn what_was_replaced_or_deleted_meanwhile_is_skipped() {
    let fixture = Fixture::new();
    fixture.put("a", "1").await;
    fixture.put("gone", "1").await;
    let hook = hook(
        &FunctionName::new("Thumb"),
        &queue_name(&FunctionName::new("thumb")),
        BlobPattern::parse("").unwrap(),
    );
    let watch = fixture.store.on_object("images", hook);
    assert_eq!(fixture.store.catch_up_objects(&watch).await.unwrap(), 2);
    fixture.put("a", "2").await;
    let delete = Operation::DeleteObject(DeleteObject::new("images", "gone"));
    fixture.store.commit(vec![delete]).await.unwrap();
    drop(watch);
    let (_stopper, mut events) = fixture.listen("", |_, _| {});
    let seen = events.recv().await.unwrap();
    assert_eq!(seen.payload, Datum::Bytes("2".into()));
    assert_eq!(fixture.left().await, 0);
    assert!(events.try_recv().is_err());
}

/// T-061: after its last attempt a notification is a message that tells which blob it was.
#[tokio::test]
async fn t_061_a_blob_that_fails_five_times_goes_to_the_poison_queue() {
    let fixture = Fixture::new();
    let (_stopper, mut events) = fixture.listen("{name}", |_, function| function.fails = "bad");
    fixture.put("bad", "x").await;
    fixture.put("good", "x").await;
    let mut summaries = Vec::new();
    for _ in 0..6 {
        summaries.push(events.recv().await.unwrap().summary);
    }
    summaries.sort_unstable();
    assert_eq!(
        summaries,
        [
            "blob images/bad",
            "blob images/bad try 2",
            "blob images/bad try 3",
            "blob images/bad try 4",
            "blob images/bad try 5",
            "blob images/good",
        ]
    );
    let poison = fixture.store.peek_messages(super::super::POISON_QUEUE, 9).await.unwrap().remove(0);
    let told: Value = serde_json::from_slice(&poison.body).unwrap();
    let etag = fixture.store.read_object("images", "bad").await.unwrap().unwrap().info.etag;
    assert_eq!(
        told,
        json!({"Type": "BlobTrigger", "FunctionId": "Host.Functions.Thumb", "BlobType": "BlockBlob",
        "ContainerName": "images", "BlobName": "bad", "ETag": etag})
    );
    assert_eq!(poison.poison.unwrap().attempts, 5);
    assert_eq!(fixture.left().await, 0);
}

#[tokio::test]
async fn a_file_is_there_while_the_function_runs_and_gone_afterwards() {
    let fixture = Fixture::new();
    let (_stopper, mut events) = fixture.listen("{name}", |trigger, _| trigger.as_file = true);
    fixture.put("films/../x.mp4", "content").await;
    let seen = events.recv().await.unwrap();
    assert_eq!(seen.file.as_deref(), Some("content"));
    let path = text(&seen.payload).to_owned();
    assert!(path.ends_with("/x.mp4"), "{path}");
    assert_eq!(fixture.left().await, 0);
    assert!(!std::path::Path::new(&path).exists());
}

#[tokio::test]
async fn text_is_handed_over_as_text_if_the_binding_says_so() {
    let fixture = Fixture::new();
    let (_stopper, mut events) = fixture.listen("{name}", |trigger, _| trigger.data_type = DataType::String);
    fixture.put("a", "grüß").await;
    assert_eq!(events.recv().await.unwrap().payload, Datum::Text("grüß".to_owned()));
}

/// Ten thousand files at once: each runs once, and only a few are in work at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_at_once_are_all_worked_on() {
    const COUNT: usize = 10_000;
    let fixture = Fixture::new();
    for chunk in (0..COUNT).collect::<Vec<_>>().chunks(1000) {
        let puts = chunk.iter().map(|number| {
            let content = ObjectContent::Bytes(format!("content {number}").into());
            Operation::PutObject(PutObject::new("images", &format!("{number}.txt"), content))
        });
        fixture.store.commit(puts.collect()).await.unwrap();
    }
    let (_stopper, mut events) = fixture.listen("{name}.txt", |_, _| {});
    let mut names = Vec::new();
    while names.len() < COUNT {
        let seen = events.recv().await.unwrap();
        names.push(text(&seen.metadata["name"]).to_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COUNT);
    let options = queue_options(BlobOptions::default(), &QueueOptions::default());
    let parallel = options.batch_size + options.new_batch_threshold;
    assert!(fixture.in_work_max.load(Ordering::SeqCst) <= parallel);
    assert_eq!(fixture.left().await, 0);
}

/// The memory that contents take is bounded: the third does not start before one of the first two is over.
#[tokio::test]
async fn large_contents_wait_for_memory() {
    let fixture = Fixture::new();
    let reader = BlobReader {
        trigger: BlobTrigger {
            container: "images".to_owned(),
            account: Account::Embedded,
            pattern: BlobPattern::parse("").unwrap(),
            data_type: DataType::Undefined,
            as_file: false,
        },
        source: Source::Embedded {
            store: fixture.store.clone(),
            _watch: Arc::new(fixture.store.on_object("images", ObjectHook::new(|_| None))),
        },
        clock: Arc::new(SystemClock),
        memory: Arc::new(Semaphore::new(2)),
    };
    let reader = Arc::new(reader);
    fixture.put("a", "x").await;
    let etag = fixture.store.read_object("images", "a").await.unwrap().unwrap().info.etag;
    let body = json!({"ContainerName": "images", "BlobName": "a", "ETag": etag}).to_string();
    fixture.store.commit(vec![Operation::Enqueue(NewMessage::new("q", body))]).await.unwrap();
    let message = fixture.store.lease_messages("q", 1, Duration::from_secs(60)).await.unwrap().remove(0);
    let first = reader.clone().read(message.clone()).await;
    let _second = reader.clone().read(message.clone()).await;
    let third = reader.clone().read(message);
    tokio::pin!(third);
    tokio::select! {
        biased;
        _ = &mut third => panic!("three contents in the memory of two"),
        () = async {
            // The store answers in order, so the third has read its blob by now: only the memory is missing.
            for _ in 0..3 {
                fixture.store.read_object("images", "a").await.unwrap();
            }
        } => {}
    }
    drop(first);
    assert!(matches!(third.await, Reading::Event { .. }));
}
