//! Why a folder can't be read at all, or can't be prepared to run. What is wrong *inside* the files of an app is a
//! [`ingle_types::problem::Problem`] instead, so that everything is reported at once.

use std::io;
use std::path::PathBuf;

use ingle_types::outcome::Blame;

use crate::archive::ArchiveError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the folder {} does not exist", .0.display())]
    FolderMissing(PathBuf),
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("{} holds no app: there is neither {looked_for} nor a folder with a function.json", root.display())]
    NoApp {
        root: PathBuf,
        /// The script that decorators would stand in.
        looked_for: String,
        /// What looks like the app that was meant; one hint a line.
        near_misses: Vec<String>,
    },
    #[error("the app is written in two models at once: {script} (decorators) and {function_json}")]
    BothModels { script: String, function_json: String },
    /// A handler was named that can't be one.
    #[error("the handler {name:?} is no module.function")]
    NoHandler {
        name: String,
        /// Where it is named.
        named_by: String,
    },
    /// The file that describes the functions of a project is no tree of keys and values.
    #[error("{file}:{line}: {what}")]
    Project { file: String, line: u32, what: String },
    /// A project has stages, and it is not known which one is meant.
    #[error("{file}:{line}: {}", no_stage(wanted.as_deref()))]
    Stage {
        file: String,
        line: u32,
        wanted: Option<String>,
        /// Those that there are.
        stages: Vec<String>,
    },
    /// It is not known which function of a folder serves.
    #[error("{what}")]
    Target {
        what: String,
        /// Names that could be meant.
        found: Vec<String>,
        /// What to write into ingle.toml.
        setting: &'static str,
    },
    #[error("{} can't be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}", no_interpreter(found))]
    NoInterpreter {
        /// Each Python that was looked at, and why it does not serve.
        found: Vec<String>,
    },
    #[error("the packages of the app could not be installed")]
    Install {
        /// Where the whole output is kept.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
        blame: Blame,
        hint: String,
    },
    #[error("the packages of the app are not installed yet, and the network does not answer")]
    NoNetwork { log: PathBuf, tail: String },
    #[error("{} has no debugpy, and it can't be installed", python.display())]
    NoDebugger {
        python: PathBuf,
        /// The last lines of the installer.
        tail: String,
    },
    /// A ready zip with code is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the environment {} can't be prepared", path.display())]
    Cache { path: PathBuf, source: io::Error },
    #[error("a program that prepares the environment failed")]
    Program {
        #[from]
        source: ingle_sandbox::command::Error,
    },
}

fn no_interpreter(found: &[String]) -> String {
    match found {
        [] => "no Python was found".to_owned(),
        found => format!("no Python that can be used was found ({})", found.join("; ")),
    }
}

fn no_stage(wanted: Option<&str>) -> String {
    match wanted {
        Some(wanted) => format!("there is no stage {wanted}"),
        None => "there is not just one stage, and none was named".to_owned(),
    }
}

impl Error {
    pub fn code(&self) -> &'static str {
        match self {
            Self::FolderMissing(_) => "E0101",
            Self::NotAFolder(_) => "E0102",
            Self::NoApp { .. } => "E0103",
            Self::BothModels { .. } => "E0104",
            Self::NoHandler { .. } => "E0215",
            Self::Project { .. } => "E0115",
            Self::Archive(error) => error.code(),
            Self::Stage { .. } => "E0248",
            Self::Target { .. } => "E0249",
            Self::Unreadable { .. } => "E0106",
            Self::NoInterpreter { .. } => "E0601",
            Self::Install { .. } | Self::Cache { .. } | Self::Program { .. } => "E0603",
            Self::NoNetwork { .. } => "E0604",
            Self::NoDebugger { .. } => "E0607",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::FolderMissing(_) | Self::NotAFolder(_) | Self::NoApp { .. } => Blame::Caller,
            Self::Archive(ArchiveError::Io { .. }) => Blame::Platform,
            Self::Archive(_) => Blame::App,
            Self::Stage { .. } => Blame::Caller,
            Self::BothModels { .. } | Self::NoHandler { .. } | Self::Project { .. } | Self::Target { .. } => {
                Blame::App
            }
            Self::Install { blame, .. } => *blame,
            Self::Unreadable { .. }
            | Self::NoInterpreter { .. }
            | Self::NoNetwork { .. }
            | Self::NoDebugger { .. }
            | Self::Cache { .. }
            | Self::Program { .. } => Blame::Platform,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::FolderMissing(_) | Self::NotAFolder(_) => Some("name the folder that holds host.json".to_owned()),
            Self::NoApp { near_misses, .. } if near_misses.is_empty() => {
                Some("run it in the folder that holds host.json, or name that folder".to_owned())
            }
            Self::NoApp { near_misses, .. } => Some(near_misses.join("\n")),
            Self::BothModels { script, function_json } => Some(format!(
                "move the functions of one model into the other, or into a folder of their own; then delete {script} \
                 or {function_json}"
            )),
            Self::NoHandler { named_by, .. } => Some(format!(
                "write {named_by} as \"lambda_function.lambda_handler\", for lambda_handler in lambda_function.py"
            )),
            Self::Project { file, .. } => {
                Some(format!("mend {file}; AWS's own tools would refuse it, too"))
            }
            Self::Archive(error) => Some(error.hint()),
            Self::Stage { stages, .. } => {
                Some(format!("name one with --stage or INGLE_STAGE: {}", stages.join(", ")))
            }
            Self::Target { found, setting, .. } => {
                let names = match found.as_slice() {
                    [] => String::new(),
                    found => format!(" (there are: {})", found.join(", ")),
                };
                Some(format!("write into ingle.toml{names}:\n{setting}"))
            }
            Self::Unreadable { .. } => Some("check the permissions of the file".to_owned()),
            Self::NoInterpreter { .. } => {
                Some("install Python 3.9 to 3.13, or name one: --python /path/to/python3".to_owned())
            }
            Self::Install { hint, .. } => Some(hint.clone()),
            Self::NoNetwork { .. } => Some(
                "start once with a network, or install the requirements into .venv of the app, which is then used"
                    .to_owned(),
            ),
            Self::NoDebugger { python, .. } => Some(format!(
                "start once with a network, or install it yourself: {} -m pip install debugpy",
                python.display()
            )),
            Self::Cache { .. } => Some("check the free space and the permissions of the cache folder".to_owned()),
            Self::Program { source } => source.hint(),
        }
    }

    /// More lines, e.g. the end of a log.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Install { log, tail, .. } | Self::NoNetwork { log, tail } => {
                Some(format!("{tail}\nthe whole log: {}", log.display()))
            }
            Self::NoDebugger { tail, .. } => Some(tail.clone()),
            _ => None,
        }
    }
}
