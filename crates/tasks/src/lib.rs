//! Room `tasks`.
