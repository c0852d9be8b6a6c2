//! What should run: one app in the version that its folder has now.
//!
//! A *generation* is one version of an app at work: its workers, its dispatcher, its listeners. When files change, the
//! next generation is started beside the old one and takes over only when it has imported the app without new errors;
//! the old one finishes what it has in work. An error changes nothing but what is told: the last good generation keeps
//! serving.
//!
//! | to find | look in |
//! |---|---|
//! | reload: start, compare, swap, drain | [`control`] |
//! | from a folder to a loaded app | [`load`] |
//! | what an app declares, kept for the next start | `index` |
//! | which changed files matter, and when | [`watch`] |
//! | which lines get into the log | [`log_filter`] |
//! | one port for the editor's debugger | [`debug`] |
//! | tests: has the app come to rest, moving its clock | [`rest`] |

pub mod confine;
pub mod control;
pub mod debug;
mod error;
mod examine;
mod handler;
mod index;
pub mod load;
pub mod log_filter;
pub mod rest;
pub mod watch;

pub use confine::Confined;
pub use control::{Control, Event, Generation, Options, Rooms};
pub use error::Error;
pub use examine::{Examined, Examining, examine};
pub use load::{Prepared, absolute, prepare, prepare_debugger};
