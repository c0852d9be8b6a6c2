//! Room `apps`.
