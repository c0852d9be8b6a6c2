//! Keys that the terminal understands while the server serves.

use std::io::{IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::printer::Style;

pub(crate) const HELP: &str = "r reload · q quit · h this help";
/// Key presses that may wait.
const WAITING_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Reload,
    Quit,
    Help,
}

impl Key {
    fn read(byte: u8) -> Option<Self> {
        match byte {
            b'r' => Some(Self::Reload),
            b'q' => Some(Self::Quit),
            b'h' | b'?' => Some(Self::Help),
            _ => None,
        }
    }
}

/// Listens to the keyboard; gives the terminal back as it was when dropped.
pub(crate) struct Keys {
    keys: Option<mpsc::Receiver<Key>>,
    before: Option<Termios>,
}

impl Keys {
    /// Only on a terminal, and not when the output is for programs.
    pub(crate) fn listen(style: Style) -> Self {
        let interactive = !style.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let before = if interactive { tcgetattr(std::io::stdin()).ok() } else { None };
        let Some(before) = before else { return Self { keys: None, before: None } };
        let mut modes = before.clone();
        // Keys at once and unseen; Ctrl-C still makes a signal.
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).is_err() {
            return Self { keys: None, before: None };
        }
        let (sender, keys) = mpsc::channel(WAITING_MAX);
        // A read from a terminal can't be given up, so it has a thread of its own, which ends with the program.
        std::thread::spawn(move || {
            let mut byte = [0];
            while let Ok(1) = std::io::stdin().lock().read(&mut byte) {
                if let Some(key) = Key::read(byte[0])
                    && sender.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
        Self { keys: Some(keys), before: Some(before) }
    }

    /// The next key that means something; never, without a terminal.
    pub(crate) async fn next(&mut self) -> Key {
        let key = match &mut self.keys {
            Some(keys) => keys.recv().await,
            None => None,
        };
        match key {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // At the end of the program there is nobody left to tell.
            tcsetattr(std::io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}
