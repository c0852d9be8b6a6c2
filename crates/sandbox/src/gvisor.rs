//! gVisor: a program, `runsc`, that plays the kernel for what runs in it, so that a defect of the machine's kernel is out
//! of reach of functions.
//!
//! It runs inside a box of ours, as a user of the machine who is nobody else, and shows the box's view of files to what
//! runs in it. So what gets out of gVisor is in a box still, though in one whose system calls no filter restricts:
//! gVisor brings its own.
//!
//! ```text
//! keeper            process 1 of the box
//!   └ runsc run       waits, and passes on the exit status; with it the two others end
//!       ├ gofer         opens files of the view
//!       └ sandbox       the kernel, and in it the worker: process 1 of a machine of its own
//! ```
//!
//! Each worker has a machine of its own; nothing is forked over that border. Sockets that are sent over the control
//! socket do arrive in it, so lanes are as everywhere.

mod bundle;
mod enter;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::boxes::Scratch;

/// The file name of gVisor's program.
pub const PROGRAM: &str = "runsc";

/// Where Linux keeps programs for everybody; these folders are in the view of each box, too.
const FOLDERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"];

/// Room for the bundles of a box, and for what `runsc` writes down of each machine. Functions see none of it.
pub(crate) const STATE: Scratch = Scratch { bytes: 64 << 20, files: 16_384 };

/// Under this number a program finds its control socket: nothing but standard input, output and error is handed on.
pub const SOCKET_NUMBER: i32 = 0;

/// gVisor on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gvisor {
    program: PathBuf,
}

impl Gvisor {
    /// Looks for it where a box can see it. `None`: it is not installed.
    pub fn find() -> Option<Self> {
        let program =
            FOLDERS.iter().map(|folder| Path::new(folder).join(PROGRAM)).find(|path| path.is_file());
        program.map(|program| Self { program })
    }
}

/// Removes what is left of a machine whose `runsc` was this process of the box.
pub(crate) fn clean_after(process: i32) {
    // Most processes that end in a box are none.
    std::fs::remove_dir_all(folder_of(process)).ok();
}

/// Bundle and state of one machine: in the `/tmp` of the box, of which its processes see none.
fn folder_of(process: i32) -> PathBuf {
    PathBuf::from(format!("/tmp/.{PROGRAM}-{process}"))
}
