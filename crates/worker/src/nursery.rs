//! Where workers come from: a template for each interpreter and environment, a zygote for each revision.
//!
//! ```text
//! template   interpreter and our files                        started once, kept over reloads, shared by apps
//!   └ zygote   has imported the app; told what it declares     forked once for each revision, ended to save memory
//!       └ worker  serves                                       forked when there is work
//! ```
//!
//! A zygote that holds what can't be in two processes (threads, connections) is given up; then workers are forked from
//! the template and import the app themselves ([`Way::BeforeImport`]). Each step that fails is made anew from the one
//! before, so a dead zygote or template costs time and nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_sandbox::boxes::BoxError;
use ingle_sandbox::means::Means;
use ingle_types::ids::WorkerId;
use ingle_types::problem::Severity;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::birth::{Maker, Newborn, Place};
use crate::error::Error;
use crate::home::{Home, Quarters, Residence};
use crate::pool::Options;
use crate::process::{Phase, Worker};
use crate::templates::{NO_WORKER, TemplateUse, Templates};
use crate::wire::message::{Loaded, Role};
use crate::zygotes::{Held, Zygotes};

/// How often a parent that dies while it is asked to fork is made anew before that is an error.
const PARENTS_TRIED: usize = 4;

/// How the app wants its workers to be made: `fork` of `ingle.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForkPolicy {
    /// After the import if that is safe, else before it.
    #[default]
    Auto,
    /// After the import, whatever it left behind.
    AfterImport,
    BeforeImport,
    Never,
}

/// How workers are in fact made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    AfterImport,
    /// With the reasons why not after it; none if the app wants it so.
    BeforeImport(Vec<String>),
    Never,
}

/// What the pools of a server share: their templates, and the memory of their zygotes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Parents {
    pub templates: Templates,
    pub zygotes: Zygotes,
    /// With what apps are confined; without it nothing is.
    pub means: Option<Means>,
}

/// Makes the workers of one revision.
pub(crate) struct Nursery {
    /// Shared with other apps; in a box there is one of its own.
    template: TemplateUse,
    home: Home,
    zygotes: Zygotes,
    policy: ForkPolicy,
    /// Known from the first import on.
    revision: Mutex<Option<Revision>>,
    zygote: Mutex<Option<Zygote>>,
    /// Held while a zygote is made or forks.
    parenting: AsyncMutex<()>,
    /// The zygote is not ended to save memory.
    is_pinned: AtomicBool,
}

/// What the first import told.
struct Revision {
    way: Way,
    functions: BTreeSet<String>,
}

struct Zygote {
    process: Arc<Worker>,
    bytes: u64,
    used_at: Instant,
}

impl Nursery {
    pub(crate) fn new(parents: &Parents, options: &Options) -> Self {
        // A debugger has threads and sockets of its own in the process, and gVisor's machines can't be forked.
        let starts_each = options.debugging.is_some() || options.is_under_gvisor();
        let policy = if starts_each { ForkPolicy::Never } else { options.fork };
        Self {
            template: parents.templates.used_by(options),
            home: Home::default(),
            zygotes: parents.zygotes.clone(),
            policy,
            revision: Mutex::default(),
            zygote: Mutex::default(),
            parenting: AsyncMutex::default(),
            is_pinned: AtomicBool::new(false),
        }
    }

    pub(crate) fn way(&self) -> Option<Way> {
        self.revision().as_ref().map(|revision| revision.way.clone())
    }

    fn revision(&self) -> MutexGuard<'_, Option<Revision>> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Imports the app for the first time and tells what it declares; afterwards workers can be made. Without a
    /// zygote the process that has imported it is the first worker.
    pub(crate) async fn begin(
        &self,
        maker: &Maker<'_>,
        id: WorkerId,
    ) -> Result<(Loaded, Option<Arc<Worker>>), Error> {
        let (loaded, first) = match self.policy {
            ForkPolicy::Never => {
                let (worker, loaded) = self.start(id, maker).await?;
                (loaded, Some(worker))
            }
            ForkPolicy::BeforeImport => {
                let (worker, loaded) = self.fork_template(id, Role::Worker, maker).await?;
                (loaded, Some(worker))
            }
            ForkPolicy::Auto | ForkPolicy::AfterImport => {
                let (zygote, loaded) = self.fork_template(NO_WORKER, Role::Zygote, maker).await?;
                if self.chosen_way(&loaded) == Way::AfterImport {
                    self.keep(zygote);
                } else {
                    zygote.end();
                }
                (loaded, None)
            }
        };
        self.resume(&loaded);
        self.prepare_cells(maker).await;
        Ok((loaded, first))
    }

    /// Takes what an import has told for that of this revision.
    pub(crate) fn resume(&self, loaded: &Loaded) {
        let functions = loaded.functions.iter().map(|function| function.name.clone()).collect();
        *self.revision() = Some(Revision { way: self.chosen_way(loaded), functions });
    }

    /// Sees to it that the template is there when the app is to be imported.
    pub(crate) fn expect_import(&self, maker: &Maker<'_>) {
        if self.policy != ForkPolicy::Never
            && maker.options.confinement.is_none()
            && let Err(error) = self.template.get(maker)
        {
            // Whoever needs it tries again, and is told.
            tracing::debug!(%error, "no template");
        }
    }

    fn chosen_way(&self, loaded: &Loaded) -> Way {
        match self.policy {
            ForkPolicy::Never => Way::Never,
            ForkPolicy::BeforeImport => Way::BeforeImport(Vec::new()),
            ForkPolicy::Auto if !loaded.unsafe_to_fork.is_empty() => {
                Way::BeforeImport(loaded.unsafe_to_fork.clone())
            }
            ForkPolicy::Auto | ForkPolicy::AfterImport => Way::AfterImport,
        }
    }

    /// Makes one more worker.
    pub(crate) async fn make(&self, maker: &Maker<'_>, id: WorkerId) -> Result<Arc<Worker>, Error> {
        let made = match self.way() {
            Some(Way::Never) => self.start(id, maker).await?,
            Some(Way::BeforeImport(_)) => self.fork_template(id, Role::Worker, maker).await?,
            Some(Way::AfterImport) | None => return self.fork_zygote(id, maker).await,
        };
        self.checked(made)
    }

    /// Files may have changed since the first import, so that functions are missing which callers were promised.
    fn checked(&self, (process, loaded): (Arc<Worker>, Loaded)) -> Result<Arc<Worker>, Error> {
        let missing = self.revision().as_ref().and_then(|revision| revision.missing_in(&loaded));
        let Some(function) = missing else { return Ok(process) };
        process.end();
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let problems: Vec<String> = errors.map(|problem| format!("\n{problem}")).collect();
        Err(Error::Changed { function, problems: problems.concat() })
    }

    async fn fork_zygote(&self, id: WorkerId, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        let _nobody_ends_it = self.parenting.lock().await;
        for _ in 0..PARENTS_TRIED {
            let zygote = self.renewed(maker).await?;
            match Newborn::fork(id, &zygote, self.place(true, true, maker).await?, maker).await {
                Ok(newborn) => {
                    self.prepare_cells(maker).await;
                    return Ok(newborn.into_worker(Phase::Ready));
                }
                Err(error) if zygote.state().phase == Phase::Parent => return Err(error),
                // It died at it.
                Err(_) => {}
            }
        }
        let zygote = self.renewed(maker).await?;
        let place = self.place(true, true, maker).await?;
        Ok(Newborn::fork(id, &zygote, place, maker).await?.into_worker(Phase::Ready))
    }

    /// Starts a process for this app alone, which imports it.
    async fn start(&self, id: WorkerId, maker: &Maker<'_>) -> Result<(Arc<Worker>, Loaded), Error> {
        let newborn = match &maker.options.confinement {
            None => Newborn::start(id, maker)?,
            Some(confinement) if maker.options.is_under_gvisor() => {
                self.home.start_machine(confinement, id, maker).await?
            }
            Some(confinement) => {
                // Its box needs a process to be made for.
                self.home.template(confinement, maker).await?;
                let boxed = self.home.boxed().await.ok_or(Error::Box { source: BoxError::Gone })?;
                Newborn::start_in_box(&boxed, id, confinement.group(), maker).await?
            }
        };
        newborn.load(Role::Worker, maker).await
    }

    /// The template, and where its children live.
    async fn find_template(&self, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        match &maker.options.confinement {
            None => self.template.get(maker),
            Some(confinement) => self.home.template(confinement, maker).await,
        }
    }

    async fn place(&self, first_lane: bool, needs_cell: bool, maker: &Maker<'_>) -> Result<Place, Error> {
        let Some(confinement) = &maker.options.confinement else {
            return Ok(Place { first_lane, ..Place::default() });
        };
        let quarters = if needs_cell { self.home.quarters(confinement).await? } else { Quarters::default() };
        let residence = self.home.residence().await;
        residence.iter().for_each(Residence::be_prompt);
        Ok(Place { first_lane, residence, quarters })
    }

    async fn prepare_cells(&self, maker: &Maker<'_>) {
        if let Some(confinement) = &maker.options.confinement {
            self.home.prepare_cells(confinement, maker).await;
        }
    }

    /// The zygote, which is about to be used; a new one if it is gone. The caller holds `parenting`.
    async fn renewed(&self, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        let died = match &mut *self.slot() {
            Some(zygote) if zygote.process.state().phase == Phase::Parent => {
                zygote.used_at = Instant::now();
                return Ok(zygote.process.clone());
            }
            zygote => zygote.is_some(),
        };
        if died {
            tracing::warn!("the zygote is gone; it is made anew");
        } else {
            tracing::debug!(app = %maker.options.app.root.display(), "a zygote is made");
        }
        let made = self.checked(self.fork_template(NO_WORKER, Role::Zygote, maker).await?)?;
        self.keep(made.clone());
        self.home.forget_cells();
        Ok(made)
    }

    /// Makes a zygote anew that has died, so that the next worker need not wait for it. One that was ended to save
    /// memory stays away.
    pub(crate) async fn mend(&self, maker: &Maker<'_>) -> Result<(), Error> {
        let has_died = || self.zygote().is_some_and(|zygote| zygote.state().phase == Phase::Gone);
        if has_died() {
            let _nobody_ends_it = self.parenting.lock().await;
            self.renewed(maker).await?;
        }
        Ok(())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Zygote>> {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, process: Arc<Worker>) {
        let bytes = process.group.proportional_bytes();
        *self.slot() = Some(Zygote { process, bytes, used_at: Instant::now() });
        self.zygotes.tell();
    }

    async fn fork_template(
        &self,
        id: WorkerId,
        role: Role,
        maker: &Maker<'_>,
    ) -> Result<(Arc<Worker>, Loaded), Error> {
        for _ in 0..PARENTS_TRIED {
            let template = self.find_template(maker).await?;
            let place = self.place(false, role == Role::Worker, maker).await?;
            match Newborn::fork(id, &template, place, maker).await {
                Ok(newborn) => return newborn.load(role, maker).await,
                // It died before or at it; another one will tell what is wrong, if anything is.
                Err(_) if template.state().phase == Phase::Gone => {}
                Err(error) => return Err(error),
            }
        }
        let template = self.find_template(maker).await?;
        let place = self.place(false, role == Role::Worker, maker).await?;
        Newborn::fork(id, &template, place, maker).await?.load(role, maker).await
    }

    pub(crate) fn zygote(&self) -> Option<Arc<Worker>> {
        self.slot().as_ref().map(|zygote| zygote.process.clone())
    }

    /// Where those who are forked live, if they are confined.
    pub(crate) async fn residence(&self) -> Option<Residence> {
        self.home.residence().await
    }

    /// What the zygote holds, if there is one.
    pub(crate) fn held(&self) -> Option<Held> {
        let slot = self.slot();
        let zygote = slot.as_ref().filter(|zygote| zygote.process.state().phase == Phase::Parent)?;
        Some(Held { bytes: zygote.bytes, used_at: zygote.used_at })
    }

    /// From now on the zygote is not ended to save memory.
    pub(crate) fn pin(&self) {
        self.is_pinned.store(true, Ordering::Relaxed);
    }

    /// Ends the zygote to save memory, unless it is in use just now. The next worker that is needed makes it anew.
    pub(crate) fn let_go(&self) -> bool {
        let Ok(_nobody_uses_it) = self.parenting.try_lock() else { return false };
        if self.is_pinned.load(Ordering::Relaxed) {
            return false;
        }
        let zygote = self.slot().take();
        // Nobody shares the template of a box.
        self.home.let_go();
        zygote.inspect(|zygote| zygote.process.end()).is_some()
    }

    /// Ends the zygote; its workers stay.
    pub(crate) async fn stop(&self) {
        let _not_while_it_is_made = self.parenting.lock().await;
        if let Some(zygote) = self.slot().take() {
            zygote.process.end();
        }
    }
}

impl Revision {
    /// A function that the first import had found and this one has not.
    fn missing_in(&self, loaded: &Loaded) -> Option<String> {
        let has = |name: &String| loaded.functions.iter().any(|function| function.name == *name);
        self.functions.iter().find(|name| !has(name)).cloned()
    }
}
