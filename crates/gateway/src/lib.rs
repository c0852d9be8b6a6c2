//! Room `gateway`.

pub mod cors;
pub mod limits;
pub mod request;
pub mod response;
pub mod route;
