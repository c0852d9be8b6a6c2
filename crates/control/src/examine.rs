//! Looking into an app without serving it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingle_tasks::Tasks;
use ingle_types::clock::SystemClock;
use ingle_types::log::LogSinkHandle;
use ingle_types::spec::{AppSpec, DeclaredFunction, Isolation};
use ingle_worker::{Loaded, Parents};

use crate::error::Error;
use crate::load::{Importing, Prepared, import_as_found};

/// How long the worker of an examined app may take to exit.
pub(crate) const EXAMINED_EXIT: Duration = Duration::from_secs(2);

/// What is found in an app, without serving it.
pub struct Examined {
    pub app: AppSpec,
    /// Without its functions: they have become those of `app`.
    pub loaded: Loaded,
    /// Its functions, as they were declared.
    pub declared: Vec<DeclaredFunction>,
}

/// How an app is examined, besides what its own files say.
#[derive(Clone, Debug, Default)]
pub struct Examining {
    /// As the command line has it.
    pub isolation: Option<Isolation>,
    /// Variables of the process that the app sees, besides those that it names.
    pub named: Vec<String>,
    /// The folder in which Ingle keeps something of the app, if it is not in the app's own.
    pub state: Option<PathBuf>,
}

/// Imports the app in a worker, resolves what it declares, and ends the worker.
///
/// # Errors
/// [`Error::Worker`].
pub async fn examine(
    prepared: &Prepared,
    cache: &Path,
    variables: &BTreeMap<String, String>,
    (tasks, parents): (&Tasks, &Parents),
    (sink, how): (LogSinkHandle, Examining),
) -> Result<Examined, Error> {
    let state = how.state.unwrap_or_else(|| prepared.folder.root.join(".ingle"));
    let with = |prepared: &Prepared| Importing {
        cache,
        variables,
        hostname: "localhost",
        tasks,
        clock: Arc::new(SystemClock),
        sink: sink.clone(),
        parents,
        spool: None,
        handed: None,
        state: Some(state.clone()),
        isolation: how.isolation,
        named: &how.named,
        debug_lines: prepared.folder.logs_debug_lines(),
        debugging: None,
        index: None,
    };
    let imported = import_as_found(&mut prepared.clone(), with).await?;
    imported.pool.stop(EXAMINED_EXIT).await;
    parents.templates.stop();
    Ok(Examined { app: imported.app, loaded: imported.loaded, declared: imported.declared })
}
