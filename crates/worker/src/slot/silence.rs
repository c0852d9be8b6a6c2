//! Why no answer came to a call.

use std::io;

use ingle_types::outcome::Failure;

use crate::stream::Broken;

/// Why no answer came.
pub(super) enum Silence {
    /// The socket was closed: the process is ending.
    Ended,
    /// The process is ending and has not read the call: no code of the user has run.
    NotRead,
    TimedOut,
    /// Something came that is no answer.
    Nonsense(String),
    /// The worker's answer is longer than it may be.
    TooLong,
    /// The function ended after whoever waited for its response had gone away.
    CallerGone,
    /// Its response can't be sent.
    Head(Box<Failure>),
}

impl Silence {
    /// Why nothing can be read from a lane.
    pub(super) fn of_lane(error: &io::Error) -> Self {
        match error.kind() {
            // Linux resets a Unix socket whose other end was closed before everything in it was read (unix(7)), and nothing
            // but this call is in it.
            io::ErrorKind::ConnectionReset => Self::NotRead,
            io::ErrorKind::FileTooLarge => Self::TooLong,
            io::ErrorKind::InvalidData => Self::Nonsense(error.to_string()),
            _ => Self::Ended,
        }
    }
}

impl From<Broken> for Silence {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Ended => Self::Ended,
            Broken::CallerGone => Self::CallerGone,
            Broken::Head(failure) => Self::Head(failure),
        }
    }
}
