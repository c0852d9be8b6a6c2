//! What the functions of a project have together: one store, the events of its buckets, a door for their clients of AWS, and an
//! admin door over all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_apps::project::{BucketSource, EventSource, MemberDoor, Project, QueueSubscription};
use ingle_connectors::buckets::{self, BucketRule};
use ingle_connectors::topics::{Subscriber, Subscription, Topics as Subscriptions};
use ingle_control::absolute;
use ingle_gateway::admin::{Admin, LevelChange};
use ingle_gateway::aws::functions::Functions;
use ingle_gateway::aws::queues::Queues;
use ingle_gateway::aws::{Aws, Credentials};
use ingle_gateway::service::Rooms;
use ingle_gateway::topics::Topics;
use ingle_store::{ObjectWatch, Operation, Store};
use ingle_types::clock::{Clock as _, SystemClock};
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation, Invoker, Phases};
use ingle_types::health::Health;
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::{Blame, Failure, Outcome};
use ingle_types::spec::{FunctionSpec, embedded_name};
use ingle_types::topic::Publication;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::MARK;
use crate::app::{self, App, Measured, admin_socket, listen_admin, open_store, takes};
use crate::cli::StartArguments;
use crate::commands::start::planned_faults;
use crate::exit::{CommandError, MACHINE, chain};
use crate::printer::Printer;
use crate::server::{Apps, Server};
use crate::surroundings::Surroundings;

/// Is there as long as the server is.
pub(crate) struct Common {
    pub(crate) store: Store,
    measured: Measured,
    /// Those that functions can invoke.
    pub(crate) functions: Functions,
    /// Where functions find it.
    door: MemberDoor,
    socket: PathBuf,
    /// Tell functions of changes, from before the first of them runs.
    _buckets: Vec<ObjectWatch>,
}

/// What each function of a project gets of what they have together.
#[derive(Clone)]
pub(crate) struct Shares {
    pub(crate) store: Store,
    pub(crate) measured: Measured,
    pub(crate) door: MemberDoor,
}

impl Common {
    /// Opens the store of the project and lets commands in.
    pub(crate) fn open(
        project: &Project,
        arguments: &StartArguments,
        surroundings: &Surroundings,
        (server, printer): (&Server, &Printer),
    ) -> Result<Self, CommandError> {
        let root = absolute(&arguments.app.folder);
        let state = Surroundings::state(&root, arguments.app.state.as_ref());
        let store = open_store(&state, Arc::new(SystemClock), planned_faults(surroundings)?)?;
        mark(&state)?;
        let name =
            root.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned());
        let (socket, measured) = (admin_socket(&state), Measured::default());
        let topics = topics(project, &store);
        if let Some(listener) = listen_admin(&socket)? {
            let shares = (store.clone(), &measured, topics.clone());
            let admin = Arc::new(admin(name, shares, server, printer));
            ingle_gateway::server::serve_admin(admin, &server.shared.tasks, listener);
        }
        let buckets = watches(project, &store);
        let functions = Functions::default();
        let door = serve_aws(project, (&store, topics, functions.clone()), server)?;
        Ok(Self { store, measured, functions, door, socket, _buckets: buckets })
    }

    /// What each function gets of it.
    pub(crate) fn shares(&self) -> Shares {
        Shares { store: self.store.clone(), measured: self.measured.clone(), door: self.door.clone() }
    }

    /// No more commands come in.
    pub(crate) fn close_admin(&self) {
        std::fs::remove_file(&self.socket).ok();
    }
}

/// Lets clients of AWS in, with credentials that only functions of this project get, in this run.
fn serve_aws(
    project: &Project,
    (store, topics, functions): (&Store, Topics, Functions),
    server: &Server,
) -> Result<MemberDoor, CommandError> {
    let failed = |error: std::io::Error| {
        let message = format!("can't listen on 127.0.0.1 for the functions' clients of AWS: {error}");
        CommandError::new(MACHINE, "E0701", message)
    };
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?.to_string();
    let random = || InvocationId::random().uuid().simple().to_string();
    let access_key = format!("INGLE{}", random().to_ascii_uppercase().get(..15).unwrap_or_default());
    let credentials = Credentials { access_key, secret_key: random() };
    let door = MemberDoor {
        address: address.clone(),
        access_key: credentials.access_key.clone(),
        secret_key: credentials.secret_key.clone(),
    };
    let (store, clock, region) = (store.clone(), Arc::new(SystemClock), project.region.clone());
    let tasks = server.shared.tasks.clone();
    let queues = queues(project);
    let aws = Aws { store, clock, tasks, credentials, topics, queues, functions, address, region };
    ingle_gateway::server::serve_aws(Arc::new(aws), listener);
    Ok(door)
}

/// All queues that the project has a word about.
fn queues(project: &Project) -> Queues {
    let sources = project.functions.iter().flat_map(|function| &function.sources);
    let heard = sources.filter_map(|source| match source {
        EventSource::Queue(source) => Some(source.queue.clone()),
        EventSource::Http(_) | EventSource::Schedule(_) | EventSource::Bucket(_) | EventSource::Topic(_) => {
            None
        }
    });
    let subscribed = project.subscriptions.iter().map(|subscription| subscription.queue.clone());
    Queues::new(project.queues.clone(), heard.chain(subscribed))
}

/// Says that the folders in this one belong to functions.
fn mark(state: &Path) -> Result<(), CommandError> {
    std::fs::write(state.join(MARK), "").map_err(|error| {
        let message = format!("can't write into the state folder '{}': {error}", state.display());
        CommandError::new(MACHINE, "E0403", message).hint("choose another with --state")
    })
}

/// Who hears of which topic.
fn topics(project: &Project, store: &Store) -> Topics {
    let mut subscriptions = Vec::new();
    for function in &project.functions {
        for source in &function.sources {
            let EventSource::Topic(source) = source else { continue };
            let (topic, filter) = (source.topic.clone(), source.filter.clone());
            let subscriber = Subscriber::Function(FunctionName::new(&function.name));
            subscriptions.push(Subscription { subscriber, topic, filter });
        }
    }
    for of_queue in &project.subscriptions {
        let QueueSubscription { topic, queue, filter, is_raw, line: _ } = of_queue.clone();
        let subscriber = Subscriber::Queue { name: queue, is_raw };
        subscriptions.push(Subscription { subscriber, topic, filter });
    }
    let topics = Arc::new(Subscriptions::new(subscriptions, project.region.clone()));
    let names = topics.names().into_iter().map(str::to_owned).collect();
    let store = store.clone();
    let publish = move |publications: Vec<Publication>| -> BoxFuture<Result<usize, String>> {
        let (store, now) = (store.clone(), SystemClock.now());
        let events: Vec<Operation> =
            publications.iter().flat_map(|publication| topics.publish(publication, now)).collect();
        let count = events.len();
        Box::pin(async move { store.commit(events).await.map(|()| count).map_err(|error| chain(&error)) })
    };
    Topics { names, publish: Arc::new(publish) }
}

fn watches(project: &Project, store: &Store) -> Vec<ObjectWatch> {
    let mut watches = Vec::new();
    for function in &project.functions {
        for source in &function.sources {
            let EventSource::Bucket(source) = source else { continue };
            let BucketSource { bucket, events, prefix, suffix, line: _ } = source.clone();
            let container = embedded_name(&bucket, "bucket");
            let rule = BucketRule { bucket, events, prefix, suffix, region: project.region.clone() };
            watches.push(buckets::watch(store, &container, &FunctionName::new(&function.name), rule));
        }
    }
    watches
}

fn admin(
    name: String,
    (store, measured, topics): (Store, &Measured, Topics),
    server: &Server,
    printer: &Printer,
) -> Admin {
    let (apps, address) = (server.apps(), server.shared.address);
    let (functions, levels, invoker) = (apps.clone(), apps.clone(), Arc::new(Members(apps.clone())));
    let rooms = Rooms {
        invoker,
        tasks: server.shared.tasks.clone(),
        clock: Arc::new(SystemClock),
        records: Arc::new(printer.clone()),
        // No function of a project has a blob trigger.
        blobs: Arc::new(|_, _, _| Box::pin(std::future::ready(Ok(false)))),
        later: takes(store.clone()),
        health: Health::default(),
    };
    Admin {
        store,
        rooms,
        functions: Box::new(move || functions.all().iter().flat_map(|app| specs(app)).collect()),
        status: Box::new(move || {
            let all: Vec<Value> = apps.all().iter().map(|app| app.status()).collect();
            let each = |key: &str| -> Vec<Value> {
                all.iter().filter_map(|one| one[key].as_array().cloned()).flatten().collect()
            };
            json!({"app": name, "address": format!("http://{address}"), "processId": std::process::id(),
                "functions": all.iter().map(|one| one["app"].clone()).collect::<Vec<Value>>(),
                "workers": each("workers"), "degraded": each("degraded")})
        }),
        blob: Box::new(|_, _| Box::pin(std::future::ready(Ok(None)))),
        topics,
        metrics: measured.metrics.clone(),
        spans: measured.spans.clone(),
        log_levels: Box::new(move |change| Box::pin(log_levels(levels.clone(), change))),
        moved: None,
    }
}

fn specs(app: &App) -> Vec<FunctionSpec> {
    app.control.current().map(|generation| generation.app.functions.clone()).unwrap_or_default()
}

/// Of all functions; shows those of the last one, as they are the same.
async fn log_levels(apps: Apps, change: Option<LevelChange>) -> Value {
    let mut shown = Value::Null;
    for app in apps.all() {
        let change = change
            .as_ref()
            .map(|change| LevelChange { category: change.category.clone(), level: change.level });
        shown = app::log_levels(app.control.clone(), change).await;
    }
    shown
}

/// The functions of a project, each by its name.
struct Members(Apps);

impl Invoker for Members {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let apps = self.0.all();
        let is_meant =
            |app: &&Arc<App>| specs(app).iter().any(|function| function.name == invocation.function);
        if let Some(app) = apps.iter().find(is_meant) {
            return app.control.invoke(invocation);
        }
        let message = format!("the project does not serve a function {}", invocation.function);
        let failure = Failure::new(Blame::Caller, "E0231", "FunctionNotFound", message);
        let completion = Completion {
            id: invocation.id,
            outcome: Outcome::Rejected(failure.not_started()),
            phases: Phases::default(),
            effects: Vec::new(),
            log: None,
        };
        Box::pin(std::future::ready(completion))
    }
}
