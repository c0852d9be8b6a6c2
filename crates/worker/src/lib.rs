//! Language processes from start to retirement: wire contracts, the pool, one process.
//!
//! The rest of the server sees [`Pool`]: it is asked for a [`Slot`], the slot runs one call, and the answer says
//! how it went. A slot is a *lane* (a socket and a thread of the worker) for a `def` function, or a place on the
//! worker's event loop for an `async def` function. `proto/frames.md` has the contract with the Python side.
//!
//! | to find | look in |
//! |---|---|
//! | who gets which worker | [`pool`] |
//! | how many workers there are, restarts, back-off | [`scale`], `supervise` |
//! | who waits for a worker; what runs in it first | `waits`, `warming` |
//! | how long a worker without work is kept | [`keep_alive`] |
//! | template, zygote, worker: where processes come from | [`nursery`], [`templates`], `birth` |
//! | the box of a revision, cells for its workers | `home` |
//! | how much memory zygotes may hold | [`zygotes`] |
//! | one process: sockets, logs; how it ended | [`process`], `ending` |
//! | how much an invocation may log and give back; the end of its log | `bounds`, `said` |
//! | how fast the words of an app are taken; who gives way to whom | `words`, `courtesy` |
//! | running one call, time-outs, callers who go away | [`slot`], `departure` |
//! | time limits that stand still at a breakpoint | [`hold`] |
//! | what a worker under a debugger is told | [`debug`] |
//! | large outputs as files | `spool` |
//! | HTTP bodies in pieces | `stream` |
//! | frames and messages | [`wire`] |
//! | the Python files | [`shim`] |

mod birth;
mod bounds;
mod control;
mod courtesy;
pub mod debug;
mod departure;
mod ending;
pub mod error;
pub mod hold;
mod home;
pub mod keep_alive;
mod machine;
pub mod nursery;
mod output;
pub mod pool;
pub mod process;
mod said;
pub mod scale;
pub mod shim;
pub mod slot;
mod spool;
mod stream;
mod supervise;
pub mod templates;
mod waits;
mod warming;
pub mod wire;
mod words;
pub mod zygotes;

pub use bounds::Bounds;
pub use departure::Departure;
pub use error::Error;
pub use home::Confinement;
pub use nursery::{ForkPolicy, Parents, Way};
pub use pool::{Options, Pool};
pub use slot::{Answer, Slot};
pub use templates::Templates;
pub use waits::{Starting, Waiting};
pub use warming::WarmupRun;
pub use wire::message::{Call, Loaded, Retry};
pub use zygotes::Zygotes;
