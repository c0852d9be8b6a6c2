//! Our own frames over a Unix socket (`proto/frames.md`): how they look, and what they say.

mod datum;
pub mod frame;
pub mod message;
