//! What the terminal understands while the server serves: keys at once, and lines where one is asked for.

use std::io::{IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::printer::Style;

pub(crate) const HELP: &str = "r reload · t try a function · l show less in the log · o open in a browser · p pause timers · q quit · h this help";
/// Bytes that may wait.
const WAITING_MAX: usize = 64 * 1024;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Reload,
    Try,
    ShowOnly,
    Open,
    PauseTimers,
    Quit,
    Help,
}

impl Key {
    fn read(byte: u8) -> Option<Self> {
        match byte {
            b'r' => Some(Self::Reload),
            b't' => Some(Self::Try),
            b'l' => Some(Self::ShowOnly),
            b'o' => Some(Self::Open),
            b'p' => Some(Self::PauseTimers),
            b'q' => Some(Self::Quit),
            b'h' | b'?' => Some(Self::Help),
            _ => None,
        }
    }
}

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Typed {
    Key(Key),
    /// The line that was asked for, without its end.
    Line(String),
}

/// Listens to the keyboard; gives the terminal back as it was when dropped.
pub(crate) struct Keys {
    bytes: Option<mpsc::Receiver<u8>>,
    before: Option<Termios>,
    /// The line so far, while one is asked for.
    line: Option<Vec<u8>>,
}

impl Keys {
    /// Whether keys are read: only on a terminal, and not when the output is for programs.
    pub(crate) fn are_read(style: Style) -> bool {
        !style.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    pub(crate) fn listen(style: Style) -> Self {
        let before = if Self::are_read(style) { tcgetattr(std::io::stdin()).ok() } else { None };
        let mut keys = Self { bytes: None, before, line: None };
        if keys.before.is_none() || !keys.take_keys(true) {
            return keys;
        }
        let (sender, bytes) = mpsc::channel(WAITING_MAX);
        keys.bytes = Some(bytes);
        // A read from a terminal can't be given up, so it has a thread of its own, which ends with the program.
        std::thread::spawn(move || {
            let mut byte = [0];
            while let Ok(1) = std::io::stdin().lock().read(&mut byte) {
                if sender.blocking_send(byte[0]).is_err() {
                    return;
                }
            }
        });
        keys
    }

    /// Keys at once and unseen, or whole lines that the terminal lets be edited. Ctrl-C makes a signal in both.
    fn take_keys(&self, at_once: bool) -> bool {
        let Some(before) = &self.before else { return false };
        let mut modes = before.clone();
        if at_once {
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        }
        tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).is_ok()
    }

    /// What is typed next is a line.
    pub(crate) fn ask_line(&mut self) {
        if self.take_keys(false) {
            self.line = Some(Vec::new());
        }
    }

    /// The next key that means something, or the line that was asked for; never, without a terminal.
    pub(crate) async fn next(&mut self) -> Typed {
        loop {
            let Some(bytes) = &mut self.bytes else { return std::future::pending().await };
            let Some(byte) = bytes.recv().await else {
                self.bytes = None;
                continue;
            };
            let Some(line) = &mut self.line else {
                match Key::read(byte) {
                    Some(key) => return Typed::Key(key),
                    None => continue,
                }
            };
            if byte != b'\n' {
                if line.len() < LINE_BYTES_MAX {
                    line.push(byte);
                }
                continue;
            }
            let text = String::from_utf8_lossy(line).trim().to_owned();
            self.line = None;
            self.take_keys(true);
            return Typed::Line(text);
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
