//! Folders in, findings out.
