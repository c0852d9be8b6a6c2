//! Make a box, start a process in it, account, end. Knows no app and no protocol.
//!
//! The only room that starts processes. It sees nothing but `types`, so that it stays small enough to be reviewed
//! as the security boundary.

pub mod command;
pub mod process;
