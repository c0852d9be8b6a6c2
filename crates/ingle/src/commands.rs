//! One module per command.

pub(crate) mod blob;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod invoke;
pub(crate) mod keys;
pub(crate) mod log_level;
pub(crate) mod metrics;
pub(crate) mod new;
pub(crate) mod processes;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod topic;
pub(crate) mod traces;
