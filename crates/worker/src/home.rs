//! The box of one revision: where its template, zygote and workers live.
//!
//! Without confinement there is none, and a template is shared by the apps of a server. With it each revision has its own
//! box, and in it a template of its own: what an environment runs when an interpreter starts is code of the app's
//! packages, too. A cell is ready before a worker is needed, as making one takes longer than forking.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingle_sandbox::boxes::{BoxError, BoxSpec, Boxed, Cell, Family, Protection};
use ingle_sandbox::cgroup::watchdog::Watchdog;
use ingle_sandbox::cgroup::{Entrance, Leaf, Limits, OutOfMemory};
use ingle_sandbox::egress::{Refused, Relay, Rules, Supervisor, resolver};
use ingle_sandbox::means::Means;
use ingle_sandbox::temporary::Temporary;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::ids::WorkerId;
use ingle_types::log::{LogLevel, LogLine, LogSource, Refusal};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::birth::{Maker, Newborn};
use crate::courtesy::{Manner, Work};
use crate::error::Error;
use crate::machine::Machine;
use crate::process::{Phase, Worker};
use crate::templates::NO_WORKER;

/// When a new worker joins its control group. Most first calls are over by then.
pub(crate) const JOIN_AFTER: Duration = Duration::from_millis(250);
/// A family of more processes stays in the group of its box, which has the same limits: each move stops all forks of the
/// machine for a moment, and those that fork for ever (T-013) would be moved for as long as that.
const FAMILY_MAX: usize = 32;
/// Times that the group of a box is looked through for what a worker has forked there.
const FAMILY_PASSES: usize = 5;
/// When the next quarters are made, behind a fork: the first call of what was forked needs the processor more.
const PREPARE_AFTER: Duration = Duration::from_millis(20);

/// Quarters that wait for workers.
const CELLS_READY: usize = 1;

/// How the processes of an app are confined.
#[derive(Clone)]
pub struct Confinement {
    pub means: Means,
    pub spec: Arc<BoxSpec>,
    /// Of one worker, and of what imports the app.
    pub limits: Limits,
    /// What functions may connect to, where they have a network of their own.
    pub rules: Option<Arc<Rules>>,
    /// Where their names come from.
    pub resolver: resolver::Configuration,
    /// Where functions write temporary files, if their box has no `/tmp` of its own.
    pub temporary: Option<Arc<Temporary>>,
}

impl Confinement {
    /// How much memory a worker may hold, where the system does not see to it.
    pub(crate) fn memory_to_watch(&self) -> Option<u64> {
        self.limits.memory.filter(|_| !self.means.strength.has(Protection::MemoryLimit))
    }

    /// A control group with the limits of one worker.
    pub(crate) fn group(&self) -> Option<Group> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let groups = self.means.groups.as_ref()?;
        let name = format!("worker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        match groups.leaf(&name, &self.limits) {
            Ok(leaf) => Some(Group(Arc::new(Grouped { leaf, manner: Manner::default() }))),
            Err(error) => {
                tracing::warn!(%error, "a worker has no limits of its own");
                None
            }
        }
    }
}

/// Answers the calls of a process, and of all that it forks, that want to leave the box.
pub(crate) fn supervise(listener: OwnedFd, maker: &Maker<'_>) -> Result<(), Error> {
    let rules = maker.options.confinement.as_ref().and_then(|confinement| confinement.rules.clone());
    let Some(rules) = rules else { return Ok(()) };
    let sink = maker.words.sink().clone();
    let told = Mutex::new(HashSet::new());
    let on_refused = move |refused: Refused| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever tries again and again is told once.
        if told.len() < REFUSALS_TOLD && told.insert(refused) {
            sink.line(refusal(&refused));
        }
    };
    let supervisor =
        Supervisor::new(listener, rules, on_refused).map_err(|source| Error::Network { source })?;
    let running = async move {
        if let Err(error) = supervisor.run().await {
            tracing::warn!(%error, "connections of a box are not answered any more");
        }
    };
    drop(maker.tasks.spawn(TaskKind::WorkerPort, "egress".to_owned(), running));
    Ok(())
}

fn refusal(refused: &Refused) -> LogLine {
    let hint = refused
        .hint()
        .map(|hint| format!("; {hint} in egress of [sandbox] in ingle.toml"))
        .unwrap_or_default();
    LogLine {
        worker: NO_WORKER,
        invocation: None,
        function: None,
        level: LogLevel::Warning,
        source: LogSource::Security(Refusal::Network),
        logger: String::new(),
        message: format!("{refused}{hint} (E0315)"),
        text: None,
    }
}

/// Different connections of one box whose refusal is logged.
const REFUSALS_TOLD: usize = 100;

/// The control group of a process and of all that it starts. Cheap to clone; the last one ends what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Group(Arc<Grouped>);

#[derive(Debug)]
struct Grouped {
    leaf: Leaf,
    manner: Manner,
}

impl Group {
    /// Moves a process in, with what it has forked meanwhile. It takes milliseconds in which the system forks nothing, so
    /// nobody waits for it: until then the process counts where its parent does, under the same limits.
    pub(crate) fn take(&self, worker: Arc<Worker>, from: Option<Residence>, tasks: &Tasks) {
        let group = self.clone();
        let moving = async move {
            // Behind its first call, which would have to wait, too: also threads are forked.
            tokio::time::sleep(JOIN_AFTER).await;
            group.join(worker, from).await;
        };
        drop(tasks.spawn(TaskKind::WorkerPort, "group".to_owned(), moving));
    }

    /// For a process that is to be in it from the beginning.
    pub(crate) fn entrance(&self) -> Entrance {
        self.0.leaf.entrance()
    }

    /// What all that is in it uses, if this machine tells.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.0.leaf.usage().memory_bytes
    }

    /// Moves a process in, now.
    async fn join(&self, worker: Arc<Worker>, from: Option<Residence>) {
        let (group, process) = (self.clone(), worker.group.leader());
        let moved = tokio::task::spawn_blocking(move || {
            // Its number may be another's when it is gone.
            if worker.speaker.has_ended() {
                return Ok(());
            }
            // Without a namespace of its own nothing tells what is its.
            let from = from.and_then(|from| from.group).filter(|_| worker.quarters.cell.is_some());
            if from.as_ref().is_some_and(|from| from.family(process).len() > FAMILY_MAX) {
                worker.quarters.stays_at_home.store(true, Ordering::Relaxed);
                return Ok(());
            }
            group.0.leaf.attach(process)?;
            from.iter().for_each(|from| group.take_family(process, from));
            Ok::<(), io::Error>(())
        });
        if let Ok(Err(error)) = moved.await {
            // Usually it has ended meanwhile.
            tracing::debug!(%error, process, "a process stays in the group of its parent");
        }
    }

    /// What of this group is in the namespace of a process: itself, and what it has forked.
    fn family(&self, leader: u32) -> Vec<i32> {
        let namespace = |process: i32| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let Some(home) = i32::try_from(leader).ok().and_then(namespace) else { return Vec::new() };
        let all = self.0.leaf.processes().into_iter();
        all.filter(|process| namespace(*process).as_ref() == Some(&home)).collect()
    }

    /// Moves in what a process has forked elsewhere.
    fn take_family(&self, leader: u32, from: &Self) {
        // What forks while it is moved leaves some behind, fewer each time; of what does nothing else, the rest stays.
        for _ in 0..FAMILY_PASSES {
            let left = from.family(leader);
            if left.len() > FAMILY_MAX {
                return;
            }
            // Those that have ended meanwhile are no error.
            if left.iter().filter(|process| self.0.leaf.attach(process.unsigned_abs()).is_ok()).count() == 0 {
                return;
            }
        }
    }

    /// Waits until the system has ended a process of it because it wanted more memory than it may have.
    pub(crate) async fn out_of_memory(&self) {
        self.0.leaf.oom_happened().await;
    }

    pub(crate) fn memory_shortage(&self) -> Option<OutOfMemory> {
        self.0.leaf.out_of_memory()
    }

    /// Ends all that is in it.
    pub(crate) fn kill(&self) {
        self.0.leaf.start_kill().ok();
    }

    /// It does not give way any more, whatever it does.
    pub(crate) fn leave_in_peace(&self) {
        self.0.manner.leave_in_peace(&self.0.leaf);
    }

    /// See [`Manner::look`].
    pub(crate) fn look(&self, work: Option<Work>) -> bool {
        self.0.manner.look(&self.0.leaf, work)
    }
}

/// Between two looks at the memory of a worker, where the system does not limit it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Ends a worker that holds more memory than it may, where there is no control group that would: the watchdog sees only what
/// is there when it looks.
pub(crate) async fn watch_memory(worker: Arc<Worker>, limit_bytes: u64) {
    let Ok(leader) = i32::try_from(worker.group.leader()) else { return };
    let mut watchdog = Watchdog::new(leader);
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let phase = worker.state().phase;
        if phase == Phase::Gone {
            return;
        }
        let looking = tokio::task::spawn_blocking(move || {
            // What a zygote forks has a watchdog of its own; else it would end for what its workers hold together.
            let over = if phase == Phase::Parent {
                watchdog.leader_over(limit_bytes)
            } else {
                watchdog.over(limit_bytes)
            };
            (watchdog, over)
        });
        let Ok((returned, over)) = looking.await else { return };
        watchdog = returned;
        if let Some(over) = over {
            let shortage =
                OutOfMemory { peak_bytes: over.memory_bytes, limit_bytes: Some(over.limit_bytes), kills: 1 };
            worker.state().shortage = Some(shortage);
            worker.kill();
            return;
        }
    }
}

/// What a worker has for itself: where it lives, and what it may use.
#[derive(Default, Debug)]
pub(crate) struct Quarters {
    pub(crate) cell: Option<Cell>,
    /// What stands for a cell where there are none.
    pub(crate) family: Option<Family>,
    pub(crate) group: Option<Group>,
    /// A machine under gVisor, of which the process that the server knows is a part.
    pub(crate) machine: Option<Machine>,
    /// It counts in the group of its box, as it had too many processes to be moved.
    stays_at_home: AtomicBool,
}

impl Quarters {
    /// For a worker under gVisor.
    pub(crate) fn of_machine(group: Option<Group>, machine: Option<Machine>) -> Self {
        Self { group, machine, ..Self::default() }
    }

    pub(crate) fn stays_at_home(&self) -> bool {
        self.stays_at_home.load(Ordering::Relaxed)
    }
}

/// The box of one revision, made when it is needed first, and made anew when it has died.
#[derive(Default)]
pub(crate) struct Home {
    /// Held while the box or its template is made.
    inside: AsyncMutex<Option<Inside>>,
    cells: Arc<Mutex<VecDeque<Quarters>>>,
}

struct Inside {
    residence: Residence,
    template: Option<Arc<Worker>>,
}

/// A box, and the group of template and zygote, and of a worker until it is in its own. With the last who holds it goes
/// what is in it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Residence {
    pub(crate) boxed: Boxed,
    group: Option<Group>,
}

impl Residence {
    /// How many processes the system has ended in the box for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        self.memory_shortage().map_or(0, |shortage| shortage.kills)
    }

    /// See [`Manner::look`]: of those that are not in a group of their own.
    pub(crate) fn look(&self, young: Option<Work>) -> bool {
        self.group.as_ref().is_some_and(|group| group.look(young))
    }

    /// For whoever is about to be forked in it.
    pub(crate) fn be_prompt(&self) {
        self.look(None);
    }

    /// A worker that has not joined its own group yet comes to its limit here.
    pub(crate) fn memory_shortage(&self) -> Option<OutOfMemory> {
        self.group.as_ref().and_then(Group::memory_shortage)
    }
}

impl Home {
    /// The template in the box; box and template are made if they are not there.
    pub(crate) async fn template(
        &self,
        confinement: &Confinement,
        maker: &Maker<'_>,
    ) -> Result<Arc<Worker>, Error> {
        let mut inside = self.inside.lock().await;
        if let Some(template) = inside.as_ref().and_then(|inside| inside.template.as_ref())
            && template.state().phase == Phase::Parent
        {
            return Ok(template.clone());
        }
        // A template that has died may have taken the box with it; a box costs little. The old one is there for as long as
        // a worker lives in it.
        let boxed = self.make(confinement, maker).await?;
        let group = confinement.group();
        let newborn = Newborn::start_in_box(&boxed, NO_WORKER, None, maker).await?;
        if let Some(group) = &group {
            // Before it forks: what it forks is in the group for nothing, and under its limits from the first moment.
            group.join(newborn.worker.clone(), None).await;
        }
        let template = newborn.into_worker(Phase::Parent);
        let residence = Residence { boxed, group };
        *inside = Some(Inside { residence, template: Some(template.clone()) });
        Ok(template)
    }

    /// Starts a process in a machine of its own; the box around it is made if it is not there.
    pub(crate) async fn start_machine(
        &self,
        confinement: &Confinement,
        id: WorkerId,
        maker: &Maker<'_>,
    ) -> Result<Newborn, Error> {
        let (boxed, is_new) = self.around_machines(confinement, maker).await?;
        match Newborn::start_in_box(&boxed, id, confinement.group(), maker).await {
            // Nothing tells when a box dies; a second one costs little.
            Err(Error::Box { source: BoxError::Gone }) if !is_new => {
                self.inside.lock().await.take();
                let (boxed, _) = self.around_machines(confinement, maker).await?;
                Newborn::start_in_box(&boxed, id, confinement.group(), maker).await
            }
            started => started,
        }
    }

    /// The box of the machines, and whether it was made for this.
    async fn around_machines(
        &self,
        confinement: &Confinement,
        maker: &Maker<'_>,
    ) -> Result<(Boxed, bool), Error> {
        let mut inside = self.inside.lock().await;
        if let Some(inside) = &*inside {
            return Ok((inside.residence.boxed.clone(), false));
        }
        let boxed = self.make(confinement, maker).await?;
        let residence = Residence { boxed: boxed.clone(), group: None };
        *inside = Some(Inside { residence, template: None });
        Ok((boxed, true))
    }

    async fn make(&self, confinement: &Confinement, maker: &Maker<'_>) -> Result<Boxed, Error> {
        self.forget_cells();
        let began = Instant::now();
        let made = confinement.means.boxes.make(&confinement.spec).await;
        tracing::debug!(took_ms = began.elapsed().as_secs_f64() * 1000.0, "a box was made");
        let (boxed, port) = made.map_err(|source| Error::Box { source })?;
        let relay = match (boxed.take_resolver(), &confinement.rules) {
            (Some((packets, connections)), Some(rules)) => {
                let relay = Relay::new(packets, connections, confinement.resolver.clone(), rules.clone());
                Some(relay.map_err(|source| Error::Network { source })?)
            }
            _ => None,
        };
        let hearing = async move {
            let Some(relay) = relay else { return port.run().await };
            // The relay's sockets are ours, so they would outlive the box.
            tokio::select! {
                () = port.run() => {}
                Err(error) = relay.run() => tracing::warn!(%error, "names are not answered in a box any more"),
            }
        };
        drop(maker.tasks.spawn(TaskKind::WorkerPort, "box".to_owned(), hearing));
        for shortfall in boxed.shortfalls() {
            tracing::warn!(
                protection = shortfall.protection.name(),
                reason = shortfall.reason,
                "a box has less"
            );
        }
        Ok(boxed)
    }

    /// Where those who are forked live; whoever does holds it.
    pub(crate) async fn residence(&self) -> Option<Residence> {
        self.inside.lock().await.as_ref().map(|inside| inside.residence.clone())
    }

    pub(crate) async fn boxed(&self) -> Option<Boxed> {
        self.residence().await.map(|residence| residence.boxed)
    }

    /// What the next worker has for itself.
    pub(crate) async fn quarters(&self, confinement: &Confinement) -> Result<Quarters, Error> {
        let ready = self.cells().pop_front();
        if let Some(quarters) = ready {
            return Ok(quarters);
        }
        let boxed = self.boxed().await.ok_or(Error::Box { source: BoxError::Gone })?;
        Self::make_quarters(&boxed, confinement).await.map_err(|source| Error::Box { source })
    }

    async fn make_quarters(boxed: &Boxed, confinement: &Confinement) -> Result<Quarters, BoxError> {
        let cell = if confinement.spec.has_namespaces { Some(boxed.cell().await?) } else { None };
        Ok(Quarters { cell, group: confinement.group(), ..Quarters::default() })
    }

    /// Sees to it that the next worker finds quarters. To be called when nobody waits.
    pub(crate) async fn prepare_cells(&self, confinement: &Confinement, maker: &Maker<'_>) {
        if self.cells().len() >= CELLS_READY {
            return;
        }
        if confinement.spec.gvisor.is_some() {
            return;
        }
        let Some(boxed) = self.boxed().await else { return };
        let (cells, confinement) = (self.cells.clone(), confinement.clone());
        let making = async move {
            tokio::time::sleep(PREPARE_AFTER).await;
            if !cells.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            match Self::make_quarters(&boxed, &confinement).await {
                Ok(made) => cells.lock().unwrap_or_else(PoisonError::into_inner).push_back(made),
                // Whoever needs them tries again, and is told.
                Err(error) => tracing::debug!(%error, "no cell"),
            }
        };
        drop(maker.tasks.spawn(TaskKind::WorkerPort, "cell".to_owned(), making));
    }

    /// Those that are ready have the `/tmp` of an import that is over.
    pub(crate) fn forget_cells(&self) {
        self.cells().clear();
    }

    fn cells(&self) -> MutexGuard<'_, VecDeque<Quarters>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the template. What was forked from it stays, and with the last of these the box goes.
    pub(crate) fn let_go(&self) {
        if let Ok(mut inside) = self.inside.try_lock()
            && let Some(inside) = inside.take()
        {
            self.forget_cells();
            inside.template.iter().for_each(|template| template.end());
        }
    }
}
