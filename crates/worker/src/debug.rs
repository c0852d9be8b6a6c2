//! What a worker under a debugger is told, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tokio::sync::watch;

use crate::hold::Hold;

/// How the processes of a pool are debugged. Clones are one.
#[derive(Clone, Debug)]
pub struct Debugging {
    /// The folder that has `debugpy`, if the app's environment has not.
    pub site: Option<PathBuf>,
    pub begin: Begin,
    /// Stops the time limits while a thread is at a breakpoint.
    pub hold: Hold,
    /// The port on which the newest process listens for the debug adapter protocol.
    port: watch::Sender<Option<u16>>,
    has_begun: Arc<AtomicBool>,
}

/// What happens before the app is imported. Only in the first process: later ones are attached to while they run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    Run,
    /// Waits for an editor.
    Wait,
    /// Waits for an editor, and stops at the app's first line.
    Break,
}

/// The `debugger` of a `load` frame.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct DebuggerToLoad {
    site: Option<PathBuf>,
    wait: bool,
    stop: bool,
}

impl Debugging {
    pub fn new(site: Option<PathBuf>, begin: Begin, hold: Hold) -> Self {
        Self { site, begin, hold, port: watch::Sender::new(None), has_begun: Arc::default() }
    }

    /// Tells the port of each process that is started.
    pub fn ports(&self) -> watch::Receiver<Option<u16>> {
        self.port.subscribe()
    }

    pub(crate) fn to_load(&self) -> DebuggerToLoad {
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        DebuggerToLoad {
            site: self.site.clone(),
            wait: is_first && self.begin != Begin::Run,
            stop: is_first && self.begin == Begin::Break,
        }
    }

    pub(crate) fn listens(&self, port: u16) {
        self.port.send_replace(Some(port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_waits() {
        let check = |begin, expected: [(bool, bool); 2]| {
            let debugging = Debugging::new(None, begin, Hold::default());
            let told = [(); 2].map(|()| debugging.clone().to_load()).map(|load| (load.wait, load.stop));
            assert_eq!(told, expected, "{begin:?}");
        };
        check(Begin::Run, [(false, false); 2]);
        check(Begin::Wait, [(true, false), (false, false)]);
        check(Begin::Break, [(true, true), (false, false)]);
    }
}
