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
}

impl Error {
    pub fn code(&self) -> &'static str {
        match self {
            Self::App(error) => error.code(),
            Self::Worker(error) => error.code(),
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::App(error) => error.blame(),
            Self::Worker(error) => error.blame(),
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::App(error) => error.hint(),
            Self::Worker(error) => error.hint().map(str::to_owned),
        }
    }

    /// More lines, e.g. the end of an installer's log.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::App(error) => error.detail(),
            Self::Worker(_) => None,
        }
    }
}
