//! For tests only: the real binary in a folder of its own, talked to as its users do.
//!
//! A story reads like prose because everything that is not its point is in here: a copy of the app, a state folder, a free
//! port, the events that the server prints as JSON, and a deadline on every wait. What goes wrong ends the test with
//! the last words of the server. Nothing sleeps and hopes: waits end when what they wait for has happened.
//!
//! | to find | look in |
//! |---|---|
//! | the app of a story | [`App`] |
//! | how it is started, with which arguments and faults | [`Launch`] |
//! | the running server | [`Server`] |
//! | what it printed | [`Events`] |
//! | HTTP, also broken | [`Request`], [`Response`], [`Client`], [`raw`], [`raw_cut`] |
//! | an editor that debugs the app | [`Editor`] |
//! | the emulator of Azure Storage | [`azurite`] |
//! | one command of the command line | [`Call`] |
//! | interpreters, and one test for each | [`Python`], [`on_each_python`] |
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, read their environment and measure real time"
)]

mod app;
pub mod azurite;
mod call;
mod editor;
mod events;
mod http;
mod launch;
mod machine;
mod python;
mod server;
mod several;
mod whoami;

pub use app::App;
pub use call::{Call, Done};
pub use editor::Editor;
pub use events::Events;
pub use http::{Client, NoAnswer, Request, Response, raw, raw_cut};
pub use launch::Launch;
pub use machine::{DEADLINE, binary, cache, workspace};
pub use python::Python;
pub use server::{Ended, Server};
pub use whoami::whoami_of;
