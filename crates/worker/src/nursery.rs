//! Where workers come from: a template for each interpreter and environment, a zygote for each revision.
//!
//! ```text
//! template   interpreter and our files                        started once, kept over reloads
//!   └ zygote   has imported the app; told what it declares     forked once for each revision
//!       └ worker  serves                                       forked when there is work
//! ```
//!
//! A zygote that holds what can't be in two processes (threads, connections) is given up; then workers are forked from
//! the template and import the app themselves ([`Way::BeforeImport`]). Each step that fails is made anew from the one
//! before, so a dead zygote or template costs time and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ingle_types::ids::WorkerId;
use tokio::sync::Mutex as AsyncMutex;

use crate::birth::{Maker, Newborn};
use crate::error::Error;
use crate::process::{Phase, Worker};
use crate::wire::message::{Loaded, Role};

/// Templates and zygotes are no workers; what they say while they import the app is under this number.
const NO_WORKER: WorkerId = WorkerId(0);

/// How often a parent that dies while it is asked to fork is made anew before that is an error.
const PARENTS_TRIED: usize = 2;

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

/// The templates of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Templates(Arc<TemplatesInner>);

#[derive(Default)]
struct TemplatesInner {
    kept: Mutex<Option<(Key, Arc<Worker>)>>,
}

/// What a process can't change once it runs.
#[derive(PartialEq, Eq)]
struct Key {
    python: PathBuf,
    shim: PathBuf,
    root: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Templates {
    /// The template for these options. One for other options is ended: what was forked from it stays.
    fn get(&self, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        let options = maker.options;
        let key = Key {
            python: options.python.clone(),
            shim: options.shim.clone(),
            root: options.app.root.clone(),
            environment: options.environment.clone(),
        };
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, template)) = &*kept {
            if *known == key && template.state().phase == Phase::Parent {
                return Ok(template.clone());
            }
            template.end();
        }
        let template = Newborn::start(NO_WORKER, maker)?.into_worker(Phase::Parent);
        *kept = Some((key, template.clone()));
        Ok(template)
    }

    /// Ends the template. What was forked from it stays.
    pub fn stop(&self) {
        if let Some((_, template)) = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).take() {
            template.end();
        }
    }
}

/// Makes the workers of one revision.
pub(crate) struct Nursery {
    templates: Templates,
    policy: ForkPolicy,
    /// Known from the first import on.
    way: Mutex<Option<Way>>,
    zygote: Mutex<Option<Arc<Worker>>>,
    renewing: AsyncMutex<()>,
}

impl Nursery {
    pub(crate) fn new(templates: Templates, policy: ForkPolicy) -> Self {
        Self {
            templates,
            policy,
            way: Mutex::default(),
            zygote: Mutex::default(),
            renewing: AsyncMutex::default(),
        }
    }

    pub(crate) fn way(&self) -> Option<Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Imports the app for the first time and tells what it declares; afterwards workers can be made. Without a
    /// zygote the process that has imported it is the first worker.
    pub(crate) async fn begin(
        &self,
        maker: &Maker<'_>,
        id: WorkerId,
    ) -> Result<(Loaded, Option<Arc<Worker>>), Error> {
        // A debugger has threads and sockets of its own in the process.
        let policy = if maker.options.debugging.is_some() { ForkPolicy::Never } else { self.policy };
        let (way, loaded, first) = match policy {
            ForkPolicy::Never => {
                let newborn = Newborn::start(id, maker)?;
                let (worker, loaded) = newborn.load(Role::Worker, maker.options).await?;
                (Way::Never, loaded, Some(worker))
            }
            ForkPolicy::BeforeImport => {
                let (worker, loaded) = self.fork_template(id, Role::Worker, maker).await?;
                (Way::BeforeImport(Vec::new()), loaded, Some(worker))
            }
            ForkPolicy::Auto | ForkPolicy::AfterImport => {
                let (zygote, loaded) = self.fork_template(NO_WORKER, Role::Zygote, maker).await?;
                if policy == ForkPolicy::Auto && !loaded.unsafe_to_fork.is_empty() {
                    zygote.end();
                    (Way::BeforeImport(loaded.unsafe_to_fork.clone()), loaded, None)
                } else {
                    self.keep(Some(zygote));
                    (Way::AfterImport, loaded, None)
                }
            }
        };
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        Ok((loaded, first))
    }

    /// Makes one more worker.
    pub(crate) async fn make(&self, maker: &Maker<'_>, id: WorkerId) -> Result<Arc<Worker>, Error> {
        match self.way() {
            Some(Way::Never) => {
                let newborn = Newborn::start(id, maker)?;
                Ok(newborn.load(Role::Worker, maker.options).await?.0)
            }
            Some(Way::BeforeImport(_)) => Ok(self.fork_template(id, Role::Worker, maker).await?.0),
            Some(Way::AfterImport) | None => self.fork_zygote(id, maker).await,
        }
    }

    async fn fork_zygote(&self, id: WorkerId, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        for _ in 0..PARENTS_TRIED {
            let zygote = self.renew(maker).await?;
            match Newborn::fork(id, &zygote, true, maker).await {
                Ok(newborn) => return Ok(newborn.into_worker(Phase::Ready)),
                Err(error) if zygote.state().phase == Phase::Parent => return Err(error),
                // It died at it.
                Err(_) => {}
            }
        }
        let zygote = self.renew(maker).await?;
        Ok(Newborn::fork(id, &zygote, true, maker).await?.into_worker(Phase::Ready))
    }

    fn living_zygote(&self) -> Option<Arc<Worker>> {
        self.zygote().filter(|zygote| zygote.state().phase == Phase::Parent)
    }

    /// The zygote; a new one if it is gone.
    async fn renew(&self, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        if let Some(zygote) = self.living_zygote() {
            return Ok(zygote);
        }
        let _one_at_a_time = self.renewing.lock().await;
        if let Some(zygote) = self.living_zygote() {
            return Ok(zygote);
        }
        tracing::warn!("the zygote is gone; it is made anew");
        let (made, _) = self.fork_template(NO_WORKER, Role::Zygote, maker).await?;
        self.keep(Some(made.clone()));
        Ok(made)
    }

    /// Makes a zygote anew that is gone, so that the next worker need not wait for it.
    pub(crate) async fn mend(&self, maker: &Maker<'_>) -> Result<(), Error> {
        let is_gone = self.zygote().is_some_and(|zygote| zygote.state().phase == Phase::Gone);
        if is_gone {
            self.renew(maker).await?;
        }
        Ok(())
    }

    fn keep(&self, zygote: Option<Arc<Worker>>) -> Option<Arc<Worker>> {
        std::mem::replace(&mut *self.zygote.lock().unwrap_or_else(PoisonError::into_inner), zygote)
    }

    async fn fork_template(
        &self,
        id: WorkerId,
        role: Role,
        maker: &Maker<'_>,
    ) -> Result<(Arc<Worker>, Loaded), Error> {
        for _ in 0..PARENTS_TRIED {
            let template = self.templates.get(maker)?;
            match Newborn::fork(id, &template, false, maker).await {
                Ok(newborn) => return newborn.load(role, maker.options).await,
                // It died before or at it; another one will tell what is wrong, if anything is.
                Err(_) if template.state().phase == Phase::Gone => {}
                Err(error) => return Err(error),
            }
        }
        let newborn = Newborn::fork(id, &self.templates.get(maker)?, false, maker).await?;
        newborn.load(role, maker.options).await
    }

    pub(crate) fn zygote(&self) -> Option<Arc<Worker>> {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the zygote; its workers stay.
    pub(crate) async fn stop(&self) {
        let _not_while_it_is_made = self.renewing.lock().await;
        if let Some(zygote) = self.keep(None) {
            zygote.end();
        }
    }
}
