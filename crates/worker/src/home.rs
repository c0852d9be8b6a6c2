//! The box of one revision: where its template, zygote and workers live.
//!
//! Without confinement there is none, and a template is shared by the apps of a server. With it each revision has its own
//! box, and in it a template of its own: what an environment runs when an interpreter starts is code of the app's
//! packages, too. A cell is ready before a worker is needed, as making one takes longer than forking.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_sandbox::boxes::{BoxError, BoxSpec, Boxed, Boxes, Cell, Shortfall};
use ingle_tasks::TaskKind;
use tokio::sync::Mutex as AsyncMutex;

use crate::birth::{Maker, Newborn};
use crate::error::Error;
use crate::process::{Phase, Worker};
use crate::templates::NO_WORKER;

/// Cells that wait for workers.
const CELLS_READY: usize = 1;

/// How the processes of an app are confined.
#[derive(Clone, Debug)]
pub struct Confinement {
    pub boxes: Boxes,
    pub spec: Arc<BoxSpec>,
}

/// The box of one revision, made when it is needed first, and made anew when it has died.
#[derive(Default)]
pub(crate) struct Home {
    /// Held while the box or its template is made.
    inside: AsyncMutex<Option<Inside>>,
    cells: Arc<Mutex<VecDeque<Cell>>>,
    shortfalls: Mutex<Vec<Shortfall>>,
}

struct Inside {
    boxed: Boxed,
    template: Option<Arc<Worker>>,
}

impl Home {
    /// The template in the box; box and template are made if they are not there.
    pub(crate) async fn template(
        &self,
        confinement: &Confinement,
        maker: &Maker<'_>,
    ) -> Result<Arc<Worker>, Error> {
        let mut inside = self.inside.lock().await;
        if let Some(template) = inside.as_ref().and_then(|inside| inside.template.clone())
            && template.state().phase == Phase::Parent
        {
            return Ok(template);
        }
        // A template that has died may have taken the box with it; a box costs little.
        let boxed = self.make(confinement, maker).await?;
        let newborn = Newborn::start_in_box(&boxed, NO_WORKER, maker).await?;
        let template = newborn.into_worker(Phase::Parent);
        *inside = Some(Inside { boxed, template: Some(template.clone()) });
        Ok(template)
    }

    async fn make(&self, confinement: &Confinement, maker: &Maker<'_>) -> Result<Boxed, Error> {
        self.forget_cells();
        let made = confinement.boxes.make(&confinement.spec).await;
        let (boxed, port) = made.map_err(|source| Error::Box { source })?;
        drop(maker.tasks.spawn(TaskKind::WorkerPort, "box".to_owned(), port.run()));
        *self.shortfalls.lock().unwrap_or_else(PoisonError::into_inner) = boxed.shortfalls().to_vec();
        Ok(boxed)
    }

    pub(crate) async fn boxed(&self) -> Option<Boxed> {
        self.inside.lock().await.as_ref().map(|inside| inside.boxed.clone())
    }

    /// A cell for the next worker. `None` where boxes have none.
    pub(crate) async fn cell(&self, confinement: &Confinement) -> Result<Option<Cell>, Error> {
        if !confinement.spec.has_namespaces {
            return Ok(None);
        }
        let ready = self.cells().pop_front();
        match ready {
            Some(cell) => Ok(Some(cell)),
            None => match self.boxed().await {
                Some(boxed) => boxed.cell().await.map(Some).map_err(|source| Error::Box { source }),
                None => Err(Error::Box { source: BoxError::Gone }),
            },
        }
    }

    /// Sees to it that the next worker finds a cell. To be called when nobody waits.
    pub(crate) async fn prepare_cells(&self, confinement: &Confinement, maker: &Maker<'_>) {
        if !confinement.spec.has_namespaces || self.cells().len() >= CELLS_READY {
            return;
        }
        let Some(boxed) = self.boxed().await else { return };
        let cells = self.cells.clone();
        let making = async move {
            match boxed.cell().await {
                Ok(cell) => cells.lock().unwrap_or_else(PoisonError::into_inner).push_back(cell),
                // Whoever needs one tries again, and is told.
                Err(error) => tracing::debug!(%error, "no cell"),
            }
        };
        drop(maker.tasks.spawn(TaskKind::WorkerPort, "cell".to_owned(), making));
    }

    /// Those that are ready have the `/tmp` of an import that is over.
    pub(crate) fn forget_cells(&self) {
        self.cells().clear();
    }

    fn cells(&self) -> MutexGuard<'_, VecDeque<Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shortfalls(&self) -> Vec<Shortfall> {
        self.shortfalls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the template; what was forked from it stays, and so does the box.
    pub(crate) fn let_template_go(&self) {
        if let Ok(mut inside) = self.inside.try_lock()
            && let Some(template) = inside.as_mut().and_then(|inside| inside.template.take())
        {
            template.end();
        }
    }
}
