//! Boxes: what the processes of one app see, may call and may use.
//!
//! ```text
//! server ── maker          our own binary, started once; has no thread but one, so it may fork
//!             └ keeper       one for each box, process 1 in it; starts processes there, makes cells, reaps orphans
//!                 ├ template   Python, with nothing of the app
//!                 │   └ zygote   has imported the app
//!                 │       └ worker  forked into a cell
//!                 └ cell       process 1 of a worker's own process numbers: its /tmp, its /proc; made ahead
//! ```
//!
//! Where to look: `spec` says what a box is; `machine` is what each has of the host; `server` is the handle of the server; `maker`, `keeper`, `view`, `cell`,
//! `plain` and `enter` run in the other processes, each a straight list of steps; `mark` is how they find all that belongs to a worker where there are no namespaces; `run` runs one program to its end; `sys` has the system calls that no library wraps;
//! `entry/` is the native part of the worker, which forks into a cell; `wire` are the messages between all of them.

mod cell;
pub(crate) mod enter;
pub(crate) mod keeper;
pub mod machine;
mod maker;
pub(crate) mod mark;
mod plain;
mod run;
mod server;
mod spec;
pub(crate) mod sys;
pub(crate) mod view;
pub(crate) mod wire;

pub use maker::{ARGUMENT, serve};
pub use mark::Family;
pub use run::{Egress, run};
pub use server::{BoxError, Boxed, Boxes, Cell, Ended, Open, Port, Started};
pub use spec::{
    Access, BoxSpec, Identity, Mount, Network, Program, Protection, Role, Scratch, Shortfall, USER_INSIDE,
    View,
};

pub(crate) use sys::number_of;
pub(crate) use view::DEVICES;

/// The native part of the Python worker: a library that the interpreter loads as the module `ingle_entry`.
pub const ENTRY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ingle_entry.so"));
