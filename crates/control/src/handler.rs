//! What is otherwise for handlers of AWS Lambda and for web apps than for functions of Azure.

mod places;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ingle_apps::AppFolder;
use ingle_types::spec::{Dialect, ScalePlan, WorkerOptions};
use ingle_worker::Bounds;

pub(crate) use places::links;

use crate::confine;
use crate::load::{Prepared, is_read_at_start};

/// A worker of a handler gets one event at a time, so there are as many of them as there are events, up to the processors.
pub(crate) fn worker_options(folder: &AppFolder) -> WorkerOptions {
    let wished = folder.workers.clone();
    match folder.dialect {
        Dialect::Lambda => WorkerOptions {
            plan: wished.plan.or(Some(ScalePlan::Consumption)),
            concurrency: Some(1),
            ..wished
        },
        Dialect::AzureV1 | Dialect::AzureV2 | Dialect::Web => wished,
    }
}

pub(crate) fn bounds(folder: &AppFolder) -> Bounds {
    let mut bounds = confine::bounds(&folder.sandbox);
    if folder.dialect == Dialect::Lambda && folder.sandbox.response_bytes.is_none() {
        bounds.response_bytes = ingle_apps::PAYLOAD_BYTES_MAX;
    }
    bounds
}

/// What a handler finds in its environment: what is inherited, its own, and what AWS's runtime sets. A web app finds what is
/// inherited and its own.
pub(crate) fn environment(
    prepared: &Prepared,
    inherited: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut variables: BTreeMap<String, String> = inherited
        .iter()
        .filter(|(name, _)| !name.starts_with("INGLE_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let own = prepared.folder.settings.clone().into_iter();
    let of_runtime = match prepared.folder.dialect {
        Dialect::Lambda => ingle_apps::lambda_variables(&prepared.folder, prepared.interpreter.version),
        Dialect::AzureV1 | Dialect::AzureV2 | Dialect::Web => Vec::new(),
    };
    let (early, settings) =
        own.chain(of_runtime).partition::<BTreeMap<_, _>, _>(|(name, _)| is_read_at_start(name));
    for (name, below) in [("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")] {
        if let Some(folders) = of_layers(&prepared.folder.lambda.layers, below) {
            let before = variables.get(name).map(|paths| format!("{paths}:")).unwrap_or_default();
            variables.insert(name.to_owned(), format!("{before}{folders}"));
        }
    }
    variables.extend(early);
    (variables, settings)
}

/// Where programs and libraries of layers are found, the last layer first.
fn of_layers(layers: &[PathBuf], below: &str) -> Option<String> {
    let folders = layers.iter().rev().map(|layer| layer.join(below)).filter(|folder| folder.is_dir());
    let folders: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
    (!folders.is_empty()).then(|| folders.join(":"))
}
