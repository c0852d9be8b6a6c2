//! Why an app can't run at all.

use ingle_types::outcome::Blame;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be read, or its environment can't be prepared.
    #[error(transparent)]
    App(#[from] ingle_apps::Error),
    /// The worker did not come to life.
    #[error(transparent)]
    Worker(#[from] ingle_worker::Error),
    /// It wants the full box, and this machine has less.
    #[error("the app is to run in strict isolation, and this machine lacks: {missing}")]
    NotStrict { missing: String },
    /// It wants a kernel of its own, and nothing here can play one.
    #[error("the app is to run under gVisor, and {lack}")]
    NoGvisor { lack: GvisorLack },
}

/// What gVisor lacks here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GvisorLack {
    #[error("its program `runsc` is not installed")]
    Program,
    /// It runs in a box of ours.
    #[error("this machine lacks: {missing}")]
    Box { missing: String },
}

impl GvisorLack {
    fn hint(&self) -> &'static str {
        match self {
            Self::Program => "on Debian: `apt-get install runsc`; isolation = \"strict\" needs no program",
            Self::Box { .. } => {
                "`ingle doctor --security` says why; isolation = \"default\" takes what there is"
            }
        }
    }
}

impl Error {
    pub fn code(&self) -> &'static str {
        match self {
            Self::App(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::NotStrict { .. } => "E0622",
            Self::NoGvisor { .. } => "E0623",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::App(error) => error.blame(),
            Self::Worker(error) => error.blame(),
            Self::NotStrict { .. } | Self::NoGvisor { .. } => Blame::Platform,
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::App(error) => error.hint(),
            Self::Worker(error) => error.hint().map(str::to_owned),
            Self::NotStrict { .. } => Some(
                "`ingle doctor --security` says why; isolation = \"default\" takes what there is".to_owned(),
            ),
            Self::NoGvisor { lack } => Some(lack.hint().to_owned()),
        }
    }

    /// More lines, e.g. the end of an installer's log.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::App(error) => error.detail(),
            Self::Worker(_) | Self::NotStrict { .. } | Self::NoGvisor { .. } => None,
        }
    }
}
