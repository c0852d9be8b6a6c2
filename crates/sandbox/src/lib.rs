//! Make a box, start a process in it, account, end. Knows no app, and no protocol but that of names, as what a box may
//! ask for is a matter of what it may reach.
//!
//! The only room that starts processes. It sees nothing but `types`, so that it stays small enough to be reviewed
//! as the security boundary.

#![expect(clippy::disallowed_types, reason = "this is the room that starts processes")]

pub mod boxes;
pub mod cgroup;
pub mod command;
pub mod egress;
pub mod gvisor;
pub mod landlock;
pub mod means;
pub mod memory;
pub mod process;
pub mod read;
pub mod remove;
pub mod seccomp;
pub mod temporary;
