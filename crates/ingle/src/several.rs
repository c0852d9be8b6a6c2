//! `ingle start` with several apps, or with a project of functions: one port, one printer, one stop; everything else is each app's own.
//!
//! An app that can't be served does not keep the others from it: its callers are told what is wrong, and it is tried
//! again when its files change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_apps::project::{Member, Project};
use ingle_apps::{Failures, ReadOptions};
use ingle_control::watch::{Watch, Watcher};
use ingle_control::{Event, absolute};
use ingle_gateway::auth::Guard;
use ingle_gateway::hosts::{Hosts, label_of};
use ingle_gateway::service::Service;
use ingle_sandbox::means::Means;
use ingle_store::keys::KeyFile;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::clock::SystemClock;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::app::{App, Entrance, Plan};
use crate::cli::StartArguments;
use crate::commands::start::{PORT_DEFAULT, Signals, parents, plan, progress};
use crate::exit::{CommandError, USAGE};
use crate::keys::{Key, Keys, Typed};
use crate::printer::{Printer, Style, of_app};
use crate::project::{
    self,
    common::{Common, Shares},
};
use crate::screen;
use crate::serve::{changed_files, end, extra};
use crate::server::{Apps, Server, Shared};
use crate::surroundings::Surroundings;

mod told;

use told::{Started, ready};

/// Apps that are read and imported at once, for each core.
const STARTS_PER_CORE: usize = 2;
const HELP: &str = "r reload · q quit · h this help";

/// What each app is tended with.
#[derive(Clone)]
struct Care {
    printer: Printer,
    style: Style,
    shared: Shared,
    apps: Apps,
    watcher: Option<Watcher>,
    /// Of those that may start at once.
    places: Arc<Semaphore>,
    /// Counts what was asked for on the keyboard.
    reloads: watch::Receiver<u64>,
    started: mpsc::Sender<Started>,
}

pub(crate) async fn run(
    arguments: &StartArguments,
    surroundings: &Surroundings,
    style: Style,
    (printer, tasks): (&Printer, &Tasks),
    mut signals: Signals,
    project: Option<Project>,
) -> Result<u8, CommandError> {
    let began = Instant::now();
    let members = match &project {
        Some(project) => of_project(arguments, project)?,
        None => folders(arguments)?,
    };
    if let Some(project) = &project {
        printer.text(project::told(project, style));
    }
    let count = members.len();
    let address = SocketAddr::new(arguments.address, arguments.port.unwrap_or(PORT_DEFAULT));
    let parents = parents(arguments.zygote_memory, surroundings).await?;
    let means = parents.means.clone();
    let mut server = Server::listen(address, parents, tasks.clone()).await?;
    if let Some(project) = &project {
        server.common = Some(Common::open(project, arguments, surroundings, (&server, printer))?);
    }
    let common = server.common.as_ref().map(Common::shares);
    let (reload, reloads) = watch::channel(0);
    let (started, mut news) = mpsc::channel(count);
    let follower = if arguments.no_reload { None } else { watcher(printer) };
    let care = Care {
        printer: printer.clone(),
        style,
        shared: server.shared.clone(),
        apps: server.apps(),
        watcher: follower.clone(),
        places: Arc::new(Semaphore::new(STARTS_PER_CORE * cores())),
        reloads,
        started,
    };
    let mut services = BTreeMap::new();
    let failures = Failures::default();
    for mut member in members {
        join(&mut member, common.as_ref());
        let seen = (surroundings, means.clone());
        let mut plan = with_common(common.as_ref(), plan_of(arguments, &member, seen, printer)?);
        plan.read.failures = failures.clone();
        let name = member.name;
        let entrance = Entrance::new(&plan);
        services.insert(name.clone(), entrance.service.clone());
        let care = Care { printer: printer.of_app(&name), ..care.clone() };
        drop(tasks.spawn(TaskKind::Supervisor, format!("app {name}"), tend(name, plan, entrance, care)));
    }
    server.serve(hosts(project.as_ref(), services, arguments, (printer, style))?);
    tokio::select! {
        all = tried(&mut news, count) => {
            let took = began.elapsed().as_millis();
            printer.text(ready(&server, (all, project.as_ref()), took, style));
            let attended = attend(&mut signals, &reload, (printer, style));
            match (&project, &follower) {
                (Some(project), Some(watcher)) => {
                    let root = absolute(&arguments.app.folder);
                    tokio::select! {
                        () = attended => {}
                        () = project::follow(project, (watcher, &root), (printer, style)) => {}
                    }
                }
                _ => attended.await,
            }
        }
        () = signals.next() => {}
    }
    Ok(end(server, signals, (printer, style)).await)
}

/// What became of so many apps, when all were tried.
async fn tried(news: &mut mpsc::Receiver<Started>, count: usize) -> Vec<Started> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(news.recv().await);
    }
    all
}

fn hosts(
    project: Option<&Project>,
    services: BTreeMap<String, Arc<Service>>,
    arguments: &StartArguments,
    shown: (&Printer, Style),
) -> Result<Hosts, CommandError> {
    let Some(project) = project else {
        return Ok(Hosts::ByLabel { services, development: !arguments.hide_errors });
    };
    let state = Surroundings::state(&absolute(&arguments.app.folder), arguments.app.state.as_ref());
    let file = KeyFile::in_folder(&state);
    project::api_keys::make(project, &file, shown)?;
    let guard = Guard::new(arguments.auth, file, Arc::new(SystemClock));
    Ok(Hosts::Project { apis: project::apis(project, &services, guard), services })
}

/// Waits for the end. On a terminal, some keys do something.
async fn attend(signals: &mut Signals, reload: &watch::Sender<u64>, (printer, style): (&Printer, Style)) {
    let mut keys = Keys::listen(style);
    loop {
        let typed = tokio::select! {
            () = signals.next() => return,
            typed = keys.next() => typed,
        };
        match typed {
            Typed::Key(Key::Quit) => return,
            Typed::Key(Key::Reload) => reload.send_modify(|count| *count += 1),
            Typed::Key(Key::Help) => printer.text(HELP.to_owned()),
            // The others ask for a function, which may be in several apps.
            Typed::Key(Key::Try | Key::ShowOnly | Key::Open | Key::PauseTimers) | Typed::Line(_) => {}
        }
    }
}

/// Opens an app, starts it, and follows its files, until the server stops.
async fn tend(name: String, plan: Plan, entrance: Entrance, mut care: Care) {
    let mut watched = care.watch(&plan.folder);
    let mut app: Option<Arc<App>> = None;
    let mut changed = BTreeSet::new();
    let mut is_first = true;
    loop {
        let place = care.places.acquire().await;
        if app.is_none() {
            app = care.open(&plan, &entrance);
        }
        let generation = match &app {
            Some(app) if is_first || app.control.current().is_none() => care.start(app).await,
            Some(app) => {
                changed_files(app, &changed, care.style, &care.printer).await;
                None
            }
            None => None,
        };
        drop(place);
        if is_first {
            is_first = false;
            // It is gone only when the server stops already.
            care.started.send(Started { name: name.clone(), counts: generation }).await.ok();
        }
        if let (Some(watch), Some(current)) =
            (&mut watched, app.as_ref().and_then(|app| app.control.current()))
        {
            watch.set_extra(extra(&current.app.host));
        }
        changed = care.change(&mut watched).await;
    }
}

impl Care {
    fn watch(&self, folder: &Path) -> Option<Watch> {
        match Watch::start(self.watcher.as_ref()?, folder) {
            Ok(watch) => Some(watch),
            Err(error) => {
                self.printer.text(
                    self.said(json!({"event": "unwatched", "message": error.to_string()}), || {
                        format!("changes of files are not noticed: {error}")
                    }),
                );
                None
            }
        }
    }

    fn open(&self, plan: &Plan, entrance: &Entrance) -> Option<Arc<App>> {
        let opened = App::open(plan.clone(), entrance.clone(), &self.shared);
        match opened.and_then(|app| app.serve_admin().map(|()| Arc::new(app))) {
            Ok(app) => {
                self.apps.add(app.clone());
                Some(app)
            }
            Err(error) => {
                entrance.tell(Some(error.to_string()));
                let told = json!({"event": "error", "code": error.code, "message": error.message, "hint": error.hint});
                self.printer.text(self.said(told, || error.to_string()));
                None
            }
        }
    }

    /// Starts the first generation, and tells what it is or why there is none. Functions and errors of it.
    async fn start(&self, app: &App) -> Option<(usize, usize)> {
        let event = app.reload(&mut progress(self.style, &self.printer)).await;
        let style = self.style;
        let text = match &event {
            Event::Reloaded { generation, took } => {
                let mut shown = screen::json(app, generation, took.as_millis());
                shown["event"] = "app".into();
                self.said(shown, || screen::short(generation, took.as_millis(), style))
            }
            Event::Kept { .. } => {
                let shown = screen::reload_json(&event, &[]);
                self.said(shown, || screen::not_started(&event, style))
            }
        };
        self.printer.text(text);
        match event {
            Event::Reloaded { generation, .. } => {
                Some((generation.app.functions.len(), screen::errors(&generation.app.problems)))
            }
            Event::Kept { .. } => None,
        }
    }

    fn said(&self, event: Value, text: impl FnOnce() -> String) -> String {
        if self.style.json { of_app(event, self.printer.app()).to_string() } else { text() }
    }

    /// Waits for a change of files, or for somebody who asks for a reload; then without files.
    async fn change(&mut self, watched: &mut Option<Watch>) -> BTreeSet<PathBuf> {
        let changed = async {
            match watched {
                Some(watch) => match watch.changed().await {
                    Some(files) => files,
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            files = changed => files,
            asked = self.reloads.changed() => match asked {
                Ok(()) => BTreeSet::new(),
                // The server stops.
                Err(_gone) => std::future::pending().await,
            },
        }
    }
}

/// One app.
struct Served {
    /// As hosts name it.
    name: String,
    folder: PathBuf,
    /// Of a project.
    member: Option<Box<Member>>,
}

/// The functions of a project.
fn of_project(arguments: &StartArguments, project: &Project) -> Result<Vec<Served>, CommandError> {
    check_arguments(arguments)?;
    let root = absolute(&arguments.app.folder);
    let mut named = BTreeMap::new();
    for member in project.members(&root) {
        let (name, place) = (label_of(&member.function.name), member.place());
        let served = Served { name: name.clone(), folder: member.folder(), member: Some(Box::new(member)) };
        if named.insert(name.clone(), served).is_some() {
            let message = format!("{place}: another function would be '{name}', too");
            return Err(CommandError::new(USAGE, "E0703", message).hint("give them names that differ"));
        }
    }
    Ok(named.into_values().collect())
}

fn check_arguments(arguments: &StartArguments) -> Result<(), CommandError> {
    if arguments.debug.is_some()
        || arguments.clock.is_some()
        || !arguments.app.functions.is_empty()
        || arguments.app.handler.is_some()
    {
        let message = "--debug, --clock, --functions and --handler are for one app".to_owned();
        return Err(CommandError::new(USAGE, "E0703", message));
    }
    Ok(())
}

/// Names and folders of the apps.
fn folders(arguments: &StartArguments) -> Result<Vec<Served>, CommandError> {
    let usage = |message: String| CommandError::new(USAGE, "E0703", message);
    check_arguments(arguments)?;
    let folders = match &arguments.apps {
        Some(parent) => below(parent)?,
        None => std::iter::once(&arguments.app.folder).chain(&arguments.more).cloned().collect(),
    };
    let mut named = BTreeMap::new();
    for folder in folders {
        let folder = absolute(&folder);
        if !folder.is_dir() {
            // Made for its state, it would look like an app that is empty.
            return Err(usage(format!("'{}' is no folder", folder.display())));
        }
        let name = name_of(&folder);
        if let Some(other) = named.insert(name.clone(), folder.clone()) {
            let message =
                format!("'{}' and '{}' would both be the app '{name}'", other.display(), folder.display());
            return Err(usage(message).hint("give the folders names that differ"));
        }
    }
    Ok(named.into_iter().map(|(name, folder)| Served { name, folder, member: None }).collect())
}

/// The apps in a folder.
fn below(parent: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = |error: std::io::Error| {
        let message = format!("can't read '{}': {error}", parent.display());
        CommandError::new(USAGE, "E0703", message)
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        if ["host.json", "function_app.py", "lambda_function.py"]
            .iter()
            .any(|file| folder.join(file).is_file())
        {
            found.push(folder);
        }
    }
    if found.is_empty() {
        let message = format!("no folder in '{}' is an app", parent.display());
        return Err(CommandError::new(USAGE, "E0703", message)
            .hint("an app has a host.json, or a lambda_function.py"));
    }
    Ok(found)
}

/// The name of a folder as a part of a host's name.
fn name_of(folder: &Path) -> String {
    label_of(&folder.file_name().map_or_else(|| "app".into(), |name| name.to_string_lossy()))
}

/// Tells a function where the door of its project is.
fn join(member: &mut Served, common: Option<&Shares>) {
    let door = common.map(|common| common.door.clone());
    member.member.iter_mut().for_each(|member| member.door.clone_from(&door));
}

/// What the functions of a project have together.
fn with_common(common: Option<&Shares>, plan: Plan) -> Plan {
    let Some(common) = common.cloned() else { return plan };
    Plan { store: Some(common.store), measured: common.measured, ..plan }
}

fn plan_of(
    arguments: &StartArguments,
    Served { name, folder, member }: &Served,
    seen: (&Surroundings, Option<Means>),
    printer: &Printer,
) -> Result<Plan, CommandError> {
    let plan = plan(arguments, folder.clone(), seen, &printer.of_app(name))?;
    // Each has a folder of its own in the one that was chosen, and functions in that of their project, as many may have one
    // folder.
    let chosen = arguments.app.state.as_ref();
    let state = match member {
        Some(member) => project::state(member, chosen),
        None => chosen.map_or(plan.state, |state| state.join(name)),
    };
    let read = ReadOptions { member: member.clone(), state: Some(state.clone()), ..plan.read };
    Ok(Plan { state, read, host: format!("{name}.localhost"), is_lazy: true, ..plan })
}

fn watcher(printer: &Printer) -> Option<Watcher> {
    match Watcher::start() {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            printer.text(format!("changes of files are not noticed: {error}"));
            None
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_app_as_hosts_are_named() {
        let check = |folder: &str, expected: &str| assert_eq!(name_of(Path::new(folder)), expected);
        check("/apps/shop", "shop");
        check("/apps/Web_Shop 2", "web-shop-2");
        check("/", "app");
    }

    #[test]
    fn only_folders_with_an_app_count() {
        let parent = tempfile::tempdir().unwrap();
        for (folder, file) in [("shop", "host.json"), ("blog", "function_app.py"), ("notes", "README.md")] {
            std::fs::create_dir(parent.path().join(folder)).unwrap();
            std::fs::write(parent.path().join(folder).join(file), "{}").unwrap();
        }
        let mut found = below(parent.path()).unwrap();
        found.sort();
        assert_eq!(found, [parent.path().join("blog"), parent.path().join("shop")]);
        assert!(below(&parent.path().join("notes")).is_err());
    }
}
