//! Room `gateway`.

pub mod cors;
pub mod limits;
pub mod route;
